"""Subresources that do something else than change a stored field: binding, eviction, scale, and streams.

One table, filled by the modules that own them: `register` from the module that handles it, looked up once per
request. `status`, and subresources whose row has a strategy, are not here: they are writes, which the registry does
itself.
"""

from __future__ import annotations

from timonel.apiserver.requests import Handler

HANDLERS: dict[tuple[str, str, str], Handler] = {}
"""(group, plural, subresource) -> handler. With "" as subresource: resources never stored, such as reviews."""

"""Fields that a JSON text sets twice: which ones, where they stand, and the value that counts.

Looked for only in texts that have some. Costs are linear in the text, whatever it says: a second for 6 MB.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from timonel.api.field_errors import quote

DUPLICATE = "duplicate field "

_MAX_FOUND = 100
_MAX_PATH = 512
"""Characters of a path that are kept to name what lies below: a name can be as long as the text."""
_MAX_PLACES = 50_000


class _Pairs(list[Any]):
    """The fields of a JSON object as they stand in the text, repeated ones too."""


@dataclass(slots=True)
class Repeated:
    """`found`: messages such as 'duplicate field "spec.foo"', in the order of the text, the first hundred of them.

    `places` says where in the text each field stands, "spec.foo" -> 7, and each message.
    """

    found: dict[str, None] = field(default_factory=dict)
    places: dict[str, int] = field(default_factory=dict)

    def read(self, body: bytes) -> Any:
        """The value. Of a repeated field the last one counts; objects among its values become one."""
        return self._merged(json.loads(body, object_pairs_hook=_Pairs), "")

    def _merged(self, value: Any, path: str) -> Any:
        if isinstance(value, _Pairs):
            made: dict[str, Any] = {}
            stem = f"{path[:_MAX_PATH]}." if path else ""
            for name, item in value:
                below = stem + name
                if name not in made:
                    self._place(below)
                    made[name] = self._merged(item, below)
                    continue
                if len(self.found) < _MAX_FOUND:
                    message = f"{DUPLICATE}{quote(below)}"
                    self.found[message] = None
                    self._place(message)
                made[name] = _joined(made[name], self._merged(item, below))
            return made
        if isinstance(value, list):
            stem = path[:_MAX_PATH]
            return [self._merged(item, f"{stem}[{index}]") for index, item in enumerate(value)]
        return value

    def _place(self, text: str) -> None:
        if len(self.places) < _MAX_PLACES:
            self.places.setdefault(text, len(self.places))


def _joined(first: Any, second: Any) -> Any:
    """Both are this module's own: `first` grows, for copying it once for every repetition would take minutes."""
    if not isinstance(first, dict) or not isinstance(second, dict):
        return second
    for name, item in second.items():
        first[name] = _joined(first.get(name), item)
    return first

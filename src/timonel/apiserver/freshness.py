"""What a request may not miss, where several servers share a store.

Answers come from this server's caches. Alone, it has every commit there before its writer hears of it. Beside others, a
read must first catch up with what they acknowledged, as far as its resourceVersion asks for: unset means the most
recent, a number at least that one, "0" whatever there is. Source: kubernetes.io/docs/reference/using-api/api-concepts
("Semantics for get and list", "Semantics for watch"), KEP-2340 "Consistent reads from cache".
"""

from __future__ import annotations

from timonel.apiserver.registry.listing import parse_revision
from timonel.apiserver.routing import Route
from timonel.storage.protocol import Store

_READS = frozenset({"get", "list", "watch"})


async def catch_up(store: Store, route: Route) -> None:
    """Returns when the caches are as new as the request needs. Raises Invalid, StoreError.

    A write, too, begins with what is there: it builds on it, or says why it may not be done.
    """
    if route.verb not in _READS or not route.query:
        await store.catch_up()
        return
    wanted = route.text("resourceVersion")
    if wanted != "0" and not route.text("continue"):  # a further page is read from the store itself
        await store.catch_up(parse_revision(wanted))

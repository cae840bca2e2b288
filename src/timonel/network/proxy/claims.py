"""Who holds an address and port of the table when several want it: whoever came first.

The API gives every cluster address and node port to one Service, but nothing keeps two pods from the same host port
(nodeName set by hand), or two Services from one external address. Such a clash must cost the second only, not the
transaction, and the second gets its turn when the first goes.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace

from timonel.api.objects import ObjectKey
from timonel.network.proxy.fragments import Element, Fragment

logger = logging.getLogger(__name__)

Identity = tuple[str, ObjectKey]
"""Kind, and key of the Service or pod a fragment belongs to."""


class Claims:
    def __init__(self) -> None:
        self._owner: dict[Element, Identity] = {}
        self._held: dict[Identity, frozenset[Element]] = {}
        self._refused: dict[Element, set[Identity]] = {}
        self._in_vain: dict[Identity, set[Element]] = {}
        """The same by who was refused: who wants it no more, or is gone, is not kept waiting."""

    def settle(
        self, wanted: dict[Identity, Fragment], fragment_of: Callable[[Identity], Fragment]
    ) -> dict[Identity, Fragment]:
        """Fragments without elements that others hold. Adds those whose turn has come, asked of `fragment_of`."""
        wanted = dict(wanted)
        pending = list(wanted)
        while pending:
            identity = pending.pop()
            for element in self._held.get(identity, frozenset()) - wanted[identity].elements.keys():
                del self._owner[element]
                for other in self._refused.get(element, ()):
                    if other not in wanted:
                        wanted[other] = fragment_of(other)
                        pending.append(other)
        return {identity: self._grant(identity, wanted[identity]) for identity in sorted(wanted)}

    def _grant(self, identity: Identity, fragment: Fragment) -> Fragment:
        refused = {item for item in fragment.elements if self._owner.setdefault(item, identity) != identity}
        for element in self._in_vain.pop(identity, set()) - refused:
            self._refused[element].discard(identity)
            if not self._refused[element]:
                del self._refused[element]
        if refused:
            self._in_vain[identity] = refused
        for element in refused:
            self._refused.setdefault(element, set()).add(identity)
            logger.warning(
                "address or port is another's kind=%s key=%s wanted=%s holder=%s",
                *(*identity, " ".join(element), self._owner[element]),
            )
        held = frozenset(fragment.elements.keys() - refused)
        if held:
            self._held[identity] = held
        else:
            self._held.pop(identity, None)
        if not refused:
            return fragment
        return replace(
            fragment, elements={key: value for key, value in fragment.elements.items() if key not in refused}
        )

"""The authorisers in order: the first that allows wins; reasons of those that do not are joined."""

from __future__ import annotations

from collections.abc import Sequence

from timonel.apiserver.authn.user import MASTERS_GROUP
from timonel.apiserver.authz.attributes import Attributes, Decider, Decision

_MASTERS = Decision(True)


class UnionAuthorizer:
    """Members of system:masters may do everything and are not asked about (a lost RBAC policy can be mended)."""

    def __init__(self, deciders: Sequence[Decider]) -> None:
        self._deciders = tuple(deciders)

    async def authorize(self, a: Attributes) -> Decision:
        return self.decide(a)

    def decide(self, a: Attributes) -> Decision:
        if MASTERS_GROUP in a.user.groups:
            return _MASTERS
        reasons = []
        for decider in self._deciders:
            decision = decider.decide(a)
            if decision.allowed:
                return decision
            if decision.reason:
                reasons.append(decision.reason)
        return Decision(False, "\n".join(reasons))

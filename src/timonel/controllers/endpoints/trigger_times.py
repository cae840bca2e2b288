"""When what a Service's endpoints say today came about, for whoever measures how long it takes to take effect.

Source: kubernetes.io/docs/reference/labels-annotations-taints/#endpoints-kubernetes-io-last-change-trigger-time
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from timonel.api.objects import Object, ObjectKey, name_of
from timonel.controllers.pods import condition_of

TRIGGER_TIME = "endpoints.kubernetes.io/last-change-trigger-time"


@dataclass(slots=True)
class _Known:
    service: str = ""
    pods: dict[str, str] = field(default_factory=dict)


class TriggerTimes:
    """Times are RFC 3339 in UTC, as in the objects: their order is that of the texts."""

    def __init__(self) -> None:
        self._known: dict[ObjectKey, _Known] = {}

    def next(self, key: ObjectKey, service: Object, pods: Iterable[Object]) -> str:
        """Of all that changed since the last call, the earliest; "" when nothing did.

        Of a Service that was unknown, its creation.
        """
        created = service["metadata"].get("creationTimestamp") or ""
        known = self._known.get(key)
        changed = []
        times: dict[str, str] = {}
        for pod in pods:
            moment = (condition_of(pod, "Ready") or {}).get("lastTransitionTime")
            if moment:
                times[name_of(pod)] = moment
                if known is not None and moment > known.pods.get(name_of(pod), ""):
                    changed.append(moment)
        if known is not None and created > known.service:
            changed.append(created)
        self._known[key] = _Known(created, times)
        return created if known is None else min(changed, default="")

    def forget(self, key: ObjectKey) -> None:
        self._known.pop(key, None)

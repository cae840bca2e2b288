"""Which devices there are and who has them. Opens nothing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from timonel.api.objects import Object, uid_of
from timonel.kubelet.containers.resources import amount
from timonel.kubelet.pods.spec import Kind, containers_of

Ids = frozenset[str]


class NotEnoughDevices(Exception):
    """The message is upstream's."""


@dataclass(slots=True)
class Pool:
    """Devices by resource name, "example.com/gpu", and what each container was given of them."""

    _healthy: dict[str, dict[str, bool]] = field(default_factory=dict)
    _given: dict[str, dict[str, dict[str, Ids]]] = field(default_factory=dict)
    """Pod uid -> container -> resource -> ids."""

    def offer(self, resource: str, devices: Mapping[str, bool]) -> None:
        """All devices of a resource now: id -> whether it is healthy."""
        self._healthy[resource] = dict(devices)

    def lose(self, resource: str) -> None:
        """The plugin went: none of its devices can be given for now."""
        self._healthy[resource] = dict.fromkeys(self._healthy.get(resource, {}), False)

    def forget(self, resource: str) -> None:
        """It did not come back."""
        self._healthy[resource] = {}

    def resources(self) -> dict[str, tuple[int, int]]:
        """Resource -> how many there are, and how many are healthy; zeros for what there was once."""
        return {name: (len(devices), sum(devices.values())) for name, devices in self._healthy.items()}

    def of(self, uid: str, container: str) -> Mapping[str, Ids]:
        return self._given.get(uid, {}).get(container, {})

    def keep(self, uid: str, container: str, given: Mapping[str, Iterable[str]]) -> None:
        """What a container was given before this kubelet began."""
        self._given.setdefault(uid, {})[container] = {name: frozenset(ids) for name, ids in given.items()}

    def release(self, uid: str) -> None:
        self._given.pop(uid, None)

    def admit(self, pod: Object) -> None:
        """Gives a new pod's containers what they ask for, or nothing at all. Raises NotEnoughDevices.

        What an init container had, those after it may have. Resources that no plugin ever offered are not looked at:
        somebody else may have announced them.
        """
        uid = uid_of(pod)
        if uid in self._given:
            return
        planned: dict[str, dict[str, Ids]] = {}
        reusable: dict[str, Ids] = {}
        for kind, container in containers_of(pod):
            for resource in self._healthy:
                count = amount(container.get("resources") or {}, "limits", resource) or 0
                if not count or kind is Kind.EPHEMERAL:
                    continue
                again = reusable.get(resource, frozenset())
                taken = frozenset().union(*(each.get(resource, frozenset()) for each in planned.values()))
                chosen = frozenset(sorted(again)[:count])
                if len(chosen) < count:
                    chosen |= self._choose(resource, count, count - len(chosen), taken)
                planned.setdefault(container["name"], {})[resource] = chosen
                reusable[resource] = again | chosen if kind is Kind.INIT else again - chosen
        if planned:
            self._given[uid] = planned

    def _choose(self, resource: str, wanted: int, missing: int, taken: Ids) -> Ids:
        healthy = frozenset(name for name, is_healthy in self._healthy[resource].items() if is_healthy)
        if not healthy:
            raise NotEnoughDevices(f"no healthy devices present; cannot allocate unhealthy devices {resource}")
        in_use = [
            given.get(resource, frozenset()) for containers in self._given.values() for given in containers.values()
        ]
        free = healthy - taken - frozenset().union(*in_use)
        if len(free) < missing:
            raise NotEnoughDevices(
                f"requested number of devices unavailable for {resource}. Requested: {wanted}, Available: {len(free)}"
            )
        return frozenset(sorted(free)[:missing])

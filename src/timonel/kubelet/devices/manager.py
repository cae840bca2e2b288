"""Devices for containers: chosen when the pod is taken, prepared by their plugins when a container starts.

What a container was given is written on it, in an annotation of the runtime's, and read from there by a new kubelet.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import orjson

from timonel.api.clock import Clock
from timonel.api.objects import Object, uid_of
from timonel.kubelet.containers.config import Device, MountPoint
from timonel.kubelet.containers.labels import CONTAINER_NAME, POD_UID
from timonel.kubelet.cri.runtime import Runtime
from timonel.kubelet.devices.plugins import PluginFailure, Plugins
from timonel.kubelet.devices.pool import NotEnoughDevices, Pool

ANNOTATION = "timonel.dev/devices"


@dataclass(slots=True)
class Given:
    """What a container is made with because of its devices."""

    environment: dict[str, str] = field(default_factory=dict)
    mounts: list[MountPoint] = field(default_factory=list)
    devices: list[Device] = field(default_factory=list)
    annotations: dict[str, str] = field(default_factory=dict)
    cdi_names: list[str] = field(default_factory=list)


class Devices:
    """`changed` hears when the node has more or fewer devices than before."""

    def __init__(self, *, folder: str, runtime: Runtime, clock: Clock, changed: Callable[[], None]) -> None:
        self._runtime = runtime
        self._pool = Pool()
        self._plugins = Plugins(folder=folder, pool=self._pool, clock=clock, changed=changed)

    async def run(self) -> None:
        await self._plugins.run()

    async def recover(self) -> None:
        """What containers that run have already; before any pod is admitted. Raises RuntimeFailure."""
        self._plugins.recover()
        for container in await self._runtime.list_containers():
            text = container.annotations.get(ANNOTATION)
            if not text:
                continue
            try:
                given = {str(name): [str(each) for each in ids] for name, ids in orjson.loads(text).items()}
            except (ValueError, TypeError, AttributeError):
                continue
            self._pool.keep(container.labels.get(POD_UID, ""), container.labels.get(CONTAINER_NAME, ""), given)

    def resources(self) -> Mapping[str, tuple[int, int]]:
        """Resource -> how many the node has, and how many of them work."""
        return self._pool.resources()

    def admit(self, pod: Object) -> str:
        """Gives a new pod its devices; "" when it has them, else why not. May be called again and again."""
        try:
            self._pool.admit(pod)
        except NotEnoughDevices as exc:
            return str(exc)
        return ""

    def release(self, uid: str) -> None:
        self._pool.release(uid)

    async def prepare(self, pod: Object, container: Object) -> Given:
        """Has the plugins prepare what the container was given. Raises PluginFailure."""
        made = Given()
        given = self._pool.of(uid_of(pod), container["name"])
        asked = (container.get("resources") or {}).get("limits") or {}
        for resource in asked.keys() & self._pool.resources().keys() - given.keys():
            if str(asked[resource]) != "0":
                raise PluginFailure(f"the container was given no {resource}")
        for resource, ids in sorted(given.items()):
            answer = await self._plugins.allocate(resource, ids)
            made.environment |= dict(answer.envs)
            made.annotations |= dict(answer.annotations)
            made.mounts += [MountPoint(each.host_path, each.container_path, each.read_only) for each in answer.mounts]
            made.devices += [Device(each.host_path, each.container_path, each.permissions) for each in answer.devices]
            made.cdi_names += [each.name for each in answer.cdi_devices]
        if given:
            told = {name: sorted(ids) for name, ids in given.items()}
            made.annotations[ANNOTATION] = orjson.dumps(told, option=orjson.OPT_SORT_KEYS).decode()
        return made

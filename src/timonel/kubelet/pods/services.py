"""What every pod worker shares: the node's parts, handed over once."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from timonel.api.clock import Clock
from timonel.api.objects import Object
from timonel.client.events import EventRecorder
from timonel.client.protocol import ApiClient
from timonel.kubelet.cgroups.manager import Cgroups
from timonel.kubelet.config import KubeletConfig
from timonel.kubelet.containers.names import Resolver
from timonel.kubelet.cpus.manager import Cpus
from timonel.kubelet.cri.runtime import Runtime
from timonel.kubelet.devices.manager import Devices
from timonel.kubelet.images.puller import ImagePuller
from timonel.kubelet.images.volumes import ImageVolumes
from timonel.kubelet.objects import ReferencedObjects
from timonel.kubelet.pods.admission import PodAdmission
from timonel.kubelet.pods.allocation import Allocations
from timonel.kubelet.pods.backoff import BackOff
from timonel.kubelet.pods.host_ports import HostPorts
from timonel.kubelet.pods.lifecycle import Hooks
from timonel.kubelet.pods.reader import ViewReader
from timonel.kubelet.pods.spec import Kind, field_path
from timonel.kubelet.pods.statuses import Statuses
from timonel.kubelet.probes.manager import Probes
from timonel.kubelet.volumes.manager import Volumes


class NotAdmitted(Exception):
    """The network does not let the pod in yet; `str()` says why. It is asked again later."""


Admission = Callable[[Object, Sequence[str]], Awaitable[None]]
"""Pod and the addresses it was given: returns when its containers may send and receive. Raises NotAdmitted."""


async def admit_all(pod: Object, addresses: Sequence[str]) -> None:
    """Where nobody judges what pods send."""


@dataclass(frozen=True, slots=True)
class PodServices:
    config: KubeletConfig
    client: ApiClient
    clock: Clock
    runtime: Runtime
    reader: ViewReader
    statuses: Statuses
    probes: Probes
    hooks: Hooks
    volumes: Volumes
    objects: ReferencedObjects
    puller: ImagePuller
    image_volumes: ImageVolumes
    cgroups: Cgroups
    back_off: BackOff
    recorder: EventRecorder
    services: Callable[[], Sequence[Object]]
    """Every Service of the cluster, for environment variables."""
    host_resolver: Callable[[], Resolver]
    network_error: Callable[[], str]
    """Why pods cannot get a network now; "" when they can."""
    runtime_name: Callable[[], str]
    memory_capacity: int
    """Of the node, bytes."""
    allocations: Allocations
    cpus: Cpus
    devices: Devices
    host_ports: HostPorts
    admission: PodAdmission
    """Asked once, whether the node takes the pod at all."""
    admit: Admission = admit_all
    """Asked before each container of a pod with a network of its own starts."""

    def tell(self, pod: Object, kind: Kind, container: Object, event: str, reason: str, message: str) -> None:
        """An event about a container."""
        self.recorder.event(pod, event, reason, message, field_path=field_path(kind, container["name"]))

    def tell_pod(self, pod: Object, event: str, reason: str, message: str) -> None:
        self.recorder.event(pod, event, reason, message)

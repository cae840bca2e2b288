"""What the streaming server asks of the kubelet, and nothing more.

The kubelet implements `StreamingBackend` over its pod cache and CRI; tests implement it over plain values. The server
decides from a pod's `status` which container's log is meant (see `logs.choice`), so the pods given here must carry the
status the kubelet itself knows, which may be newer than what the API server has.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from timonel.api.objects import Object


@dataclass(frozen=True, slots=True)
class ContainerLog:
    """Where a container's log is. The container may have ended."""

    path: str
    """Absolute path of the file containerd writes now; rotated ones lie beside it as `<path>.<timestamp>[.gz]`."""


@dataclass(frozen=True, slots=True)
class FoundContainer:
    """A container that runs, by its CRI id (without "containerd://")."""

    id: str
    sandbox_id: str
    tty: bool
    stdin: bool


@dataclass(frozen=True, slots=True)
class StreamRequest:
    """Which streams a client wants; with `tty` there is no separate stderr."""

    stdin: bool = False
    stdout: bool = False
    stderr: bool = False
    tty: bool = False


@dataclass(frozen=True, slots=True)
class ExecResult:
    stdout: bytes
    stderr: bytes
    exit_code: int


class StreamingBackend(Protocol):
    """Every method may raise any `timonel.api.errors.ApiError`; its code and message go to the client."""

    @property
    def node_name(self) -> str: ...

    def pods(self) -> Sequence[Object]:
        """All pods bound to this node, static ones too, with the status the kubelet knows. Read-only."""
        ...

    def pod(self, namespace: str, name: str) -> Object | None:
        """One of `pods()`."""
        ...

    async def running_pods(self) -> Sequence[Object]:
        """What runs by the container runtime's account: pods with metadata and, in spec, containers' name and image."""
        ...

    async def find_container(self, namespace: str, pod: str, container: str, *, uid: str = "") -> FoundContainer:
        """The running container of that name (init and ephemeral ones too). `uid` "" means whatever pod has the name.

        Raises NotFound: `container not found ("x")` when the pod has none running of this name.
        """
        ...

    def has_ended(self, container_id: str) -> bool:
        """Whether its process is known to be gone, which may be some time before the runtime calls it EXITED."""
        ...

    async def find_sandbox(self, namespace: str, pod: str, *, uid: str = "") -> str:
        """CRI id of the pod's ready sandbox. Raises NotFound."""
        ...

    async def container_log(self, container_id: str) -> ContainerLog:
        """By CRI id, whether it runs or has ended. Raises NotFound when the runtime no longer has it."""
        ...

    async def wait_ended(self, container_id: str) -> None:
        """Returns once the container does not run and its log is complete (at once if so already, or unknown).

        Complete is when the runtime says EXITED, a moment after the process has gone. Driven by events, no polling.
        """
        ...

    async def exec_url(self, container_id: str, command: Sequence[str], streams: StreamRequest) -> str:
        """CRI Exec: the http URL of the runtime's streaming server, good for one connection."""
        ...

    async def attach_url(self, container_id: str, streams: StreamRequest) -> str:
        """CRI Attach."""
        ...

    async def port_forward_url(self, sandbox_id: str) -> str:
        """CRI PortForward; the ports are named later, inside the stream."""
        ...

    async def exec_sync(self, container_id: str, command: Sequence[str], *, timeout_seconds: float = 0) -> ExecResult:
        """CRI ExecSync, for /run. 0: no timeout."""
        ...

    async def stats_summary(self, *, only_cpu_and_memory: bool = False) -> Object:
        """stats/v1alpha1 Summary."""
        ...

    async def metrics_page(self, name: str) -> bytes | None:
        """What Prometheus scrapes at /metrics/<name>: "resource", "cadvisor", "probes"; None for another name.

        "" is what follows the registry's own figures at /metrics.
        """
        ...

    def health(self) -> str:
        """ "" when the sync loop works, else why not; answers /healthz."""
        ...

"""What the kubelet asks of a container runtime. Messages are CRI's own; the real client is `grpc_runtime`, the fake
`timonel.testing.fake_runtime`.

RuntimeFailure
├── RuntimeNotFound      the sandbox, container or image is gone
└── RuntimeUnavailable   the runtime is away or did not answer in time: retry, decide nothing from it
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from timonel.kubelet.cri import runtime_pb2 as cri


class RuntimeFailure(Exception):
    """A refused call. `str()` reads as users know it from events: `rpc error: code = … desc = …`."""

    def __init__(self, code: str, description: str) -> None:
        super().__init__(f"rpc error: code = {code} desc = {description}")
        self.code = code
        self.description = description


class RuntimeNotFound(RuntimeFailure):
    def __init__(self, description: str) -> None:
        super().__init__("NotFound", description)


class RuntimeUnavailable(RuntimeFailure):
    pass


@dataclass(frozen=True, slots=True)
class RuntimeEvent:
    """Something changed in a container or sandbox, by CRI id. `kind`: "exit", "oom" or "other"."""

    id: str
    kind: str


class RuntimeEvents(Protocol):
    def subscribe(self) -> AsyncIterator[RuntimeEvent | None]:
        """Yields None once the stream stands (look at everything then: changes before it were not told), then events.

        Raises RuntimeFailure when the stream breaks; code "Unimplemented" when this runtime has no such stream.
        """
        ...


class Runtime(Protocol):
    """Every call may raise RuntimeFailure; none blocks longer than its own time limit."""

    async def version(self) -> cri.VersionResponse: ...

    async def status(self) -> cri.StatusResponse:
        """Conditions, RuntimeReady and NetworkReady at least, and what newer runtimes tell of their abilities."""
        ...

    async def run_pod_sandbox(self, config: cri.PodSandboxConfig, runtime_handler: str = "") -> str: ...

    async def stop_pod_sandbox(self, sandbox_id: str) -> None:
        """Stops what still runs in it and gives its network back; no error when it is gone."""
        ...

    async def remove_pod_sandbox(self, sandbox_id: str) -> None:
        """With all its containers; no error when it is gone."""
        ...

    async def pod_sandbox_status(self, sandbox_id: str) -> cri.PodSandboxStatus: ...

    async def list_pod_sandboxes(self, pod_uid: str = "") -> Sequence[cri.PodSandbox]: ...

    async def create_container(
        self, sandbox_id: str, config: cri.ContainerConfig, sandbox_config: cri.PodSandboxConfig
    ) -> str: ...

    async def start_container(self, container_id: str) -> None: ...

    async def stop_container(self, container_id: str, timeout_seconds: int) -> None:
        """SIGTERM (or the image's signal), then SIGKILL after the time; returns when it has ended."""
        ...

    async def remove_container(self, container_id: str) -> None: ...

    async def list_containers(self, pod_uid: str = "") -> Sequence[cri.Container]: ...

    async def container_status(self, container_id: str) -> cri.ContainerStatus: ...

    async def container_info(self, container_id: str) -> dict[str, str]:
        """The runtime's verbose details; keys and content are its own."""
        ...

    async def list_container_stats(self) -> Sequence[cri.ContainerStats]: ...

    async def update_container_resources(self, container_id: str, resources: cri.LinuxContainerResources) -> None:
        """Changes a container that runs; 0 leaves a value as it is, -1 takes a limit away."""
        ...

    async def reopen_container_log(self, container_id: str) -> None: ...

    async def exec_sync(
        self, container_id: str, command: Sequence[str], timeout_seconds: float = 0
    ) -> cri.ExecSyncResponse:
        """Raises RuntimeFailure with code "DeadlineExceeded" when the command took too long. 0: no limit."""
        ...

    async def exec_url(self, request: cri.ExecRequest) -> str: ...

    async def attach_url(self, request: cri.AttachRequest) -> str: ...

    async def port_forward_url(self, request: cri.PortForwardRequest) -> str: ...

    async def list_images(self) -> Sequence[cri.Image]: ...

    async def image_status(self, image: str) -> cri.Image | None: ...

    async def image_info(self, image: str) -> dict[str, str]:
        """The runtime's verbose details; keys and content are its own. {} when there is no such image."""
        ...

    async def pull_image(
        self, image: str, auth: cri.AuthConfig | None = None, sandbox_config: cri.PodSandboxConfig | None = None
    ) -> str:
        """Returns the image's reference (its digest or id)."""
        ...

    async def remove_image(self, image: str) -> None: ...

    async def image_fs_info(self) -> cri.ImageFsInfoResponse: ...

    async def close(self) -> None: ...

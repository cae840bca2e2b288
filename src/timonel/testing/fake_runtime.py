"""A container runtime in memory, for tests of the kubelet and for hollow nodes. It says what it is: runtime "fake"."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from itertools import count

from timonel.api.clock import Clock, SystemClock
from timonel.kubelet.cri import runtime_pb2 as cri
from timonel.kubelet.cri.runtime import RuntimeEvent, RuntimeFailure, RuntimeNotFound


class FakeRuntime:
    """Implements `Runtime` and `RuntimeEvents`.

    `failures[method]` raises before the call does anything; `delays[method]` are seconds on the clock; `calls` counts.
    Containers run until `exit_container` or a stop; `on_exec` answers exec_sync.
    """

    def __init__(self, *, clock: Clock | None = None, images: Sequence[str] = ()) -> None:
        self.clock: Clock = clock or SystemClock()
        self.images: dict[str, str] = {image: f"sha256:{number:064x}" for number, image in enumerate(images, 1)}
        self.pullable: set[str] = set()
        self.sandboxes: dict[str, cri.PodSandboxStatus] = {}
        self.sandbox_configs: dict[str, cri.PodSandboxConfig] = {}
        self.containers: dict[str, cri.ContainerStatus] = {}
        self.container_configs: dict[str, cri.ContainerConfig] = {}
        self.container_sandbox: dict[str, str] = {}
        self.failures: dict[str, RuntimeFailure] = {}
        self.delays: dict[str, float] = {}
        self.calls: Counter[str] = Counter()
        self.log: list[tuple[str, str]] = []
        """Every changing call in order: (method, container or sandbox name)."""
        self.ignores_sigterm: set[str] = set()
        """Names of containers that only die of SIGKILL."""
        self.on_exec: Callable[[str, Sequence[str]], cri.ExecSyncResponse] = lambda container, command: (
            cri.ExecSyncResponse(exit_code=0)
        )
        self.conditions = {"RuntimeReady": True, "NetworkReady": True}
        self.abilities = cri.StatusResponse()
        """Handlers and features, beside the conditions."""
        self._ids = count(1)
        self._subscribers: list[asyncio.Queue[RuntimeEvent | None]] = []

    async def _enter(self, method: str) -> None:
        self.calls[method] += 1
        delay = self.delays.get(method, 0)
        if delay:
            await self.clock.sleep(delay)
        failure = self.failures.get(method)
        if failure is not None:
            raise failure

    def _now(self) -> int:
        return int(self.clock.now().timestamp() * 1e9)

    def _emit(self, event: RuntimeEvent) -> None:
        for queue in self._subscribers:
            queue.put_nowait(event)

    async def subscribe(self) -> AsyncIterator[RuntimeEvent | None]:
        queue: asyncio.Queue[RuntimeEvent | None] = asyncio.Queue()
        self._subscribers.append(queue)
        try:
            yield None
            while True:
                yield await queue.get()
        finally:
            self._subscribers.remove(queue)

    # What tests do to it

    def exit_container(self, name: str, exit_code: int = 0, *, reason: str = "", message: str = "") -> str:
        """Ends the running container of that name; returns its id."""
        for container_id, status in self.containers.items():
            if status.metadata.name == name and status.state == cri.CONTAINER_RUNNING:
                self._end(container_id, exit_code, reason, message)
                return container_id
        raise KeyError(name)

    def running(self) -> list[str]:
        """Names of running containers, in order of their creation."""
        return [s.metadata.name for s in self.containers.values() if s.state == cri.CONTAINER_RUNNING]

    def _end(self, container_id: str, exit_code: int, reason: str = "", message: str = "") -> None:
        status = self.containers[container_id]
        status.state = cri.CONTAINER_EXITED
        status.exit_code = exit_code
        status.finished_at = self._now()
        status.reason = reason or ("Completed" if exit_code == 0 else "Error")
        status.message = message
        self._emit(RuntimeEvent(container_id, "exit"))

    # Runtime

    async def close(self) -> None:
        return None

    async def version(self) -> cri.VersionResponse:
        await self._enter("version")
        return cri.VersionResponse(
            version="0.1.0", runtime_name="fake", runtime_version="0.0.0", runtime_api_version="v1"
        )

    async def status(self) -> cri.StatusResponse:
        await self._enter("status")
        conditions = [
            cri.RuntimeCondition(type=kind, status=ok, reason="" if ok else f"{kind}Not", message="" if ok else "away")
            for kind, ok in self.conditions.items()
        ]
        answer = cri.StatusResponse(status=cri.RuntimeStatus(conditions=conditions))
        answer.MergeFrom(self.abilities)
        return answer

    async def run_pod_sandbox(self, config: cri.PodSandboxConfig, runtime_handler: str = "") -> str:
        await self._enter("run_pod_sandbox")
        for status in self.sandboxes.values():
            if status.metadata == config.metadata:
                raise RuntimeFailure("Unknown", f'name "{config.metadata.name}" is reserved')
        number = next(self._ids)
        sandbox_id = f"sandbox{number}"
        status = cri.PodSandboxStatus(
            id=sandbox_id,
            metadata=config.metadata,
            state=cri.SANDBOX_READY,
            created_at=self._now() + number,
            network=cri.PodSandboxNetworkStatus(ip=f"10.244.0.{number}"),
            labels=config.labels,
            annotations=config.annotations,
        )
        status.linux.namespaces.options.CopyFrom(config.linux.security_context.namespace_options)
        self.sandboxes[sandbox_id] = status
        self.sandbox_configs[sandbox_id] = config
        self.log.append(("run_pod_sandbox", config.metadata.name))
        return sandbox_id

    async def stop_pod_sandbox(self, sandbox_id: str) -> None:
        await self._enter("stop_pod_sandbox")
        status = self.sandboxes.get(sandbox_id)
        if status is None:
            return
        for container_id, owner in self.container_sandbox.items():
            if owner == sandbox_id and self.containers[container_id].state == cri.CONTAINER_RUNNING:
                self._end(container_id, 137)
        status.state = cri.SANDBOX_NOTREADY
        self.log.append(("stop_pod_sandbox", status.metadata.name))

    async def remove_pod_sandbox(self, sandbox_id: str) -> None:
        await self._enter("remove_pod_sandbox")
        for container_id in [c for c, owner in self.container_sandbox.items() if owner == sandbox_id]:
            self._forget(container_id)
        status = self.sandboxes.pop(sandbox_id, None)
        if status is not None:
            self.log.append(("remove_pod_sandbox", status.metadata.name))

    async def pod_sandbox_status(self, sandbox_id: str) -> cri.PodSandboxStatus:
        await self._enter("pod_sandbox_status")
        if sandbox_id not in self.sandboxes:
            raise RuntimeNotFound(f'sandbox "{sandbox_id}"')
        return self.sandboxes[sandbox_id]

    async def list_pod_sandboxes(self, pod_uid: str = "") -> Sequence[cri.PodSandbox]:
        await self._enter("list_pod_sandboxes")
        return [
            cri.PodSandbox(
                id=s.id,
                metadata=s.metadata,
                state=s.state,
                created_at=s.created_at,
                labels=s.labels,
                annotations=s.annotations,
            )
            for s in self.sandboxes.values()
            if not pod_uid or s.metadata.uid == pod_uid
        ]

    async def create_container(
        self, sandbox_id: str, config: cri.ContainerConfig, sandbox_config: cri.PodSandboxConfig
    ) -> str:
        await self._enter("create_container")
        if sandbox_id not in self.sandboxes:
            raise RuntimeNotFound(f'sandbox "{sandbox_id}"')
        number = next(self._ids)
        container_id = f"container{number}"
        self.containers[container_id] = cri.ContainerStatus(
            id=container_id,
            metadata=config.metadata,
            state=cri.CONTAINER_CREATED,
            created_at=self._now() + number,
            image=config.image,
            image_ref=self.images.get(config.image.image, config.image.image),
            labels=config.labels,
            annotations=config.annotations,
            mounts=config.mounts,
            log_path=f"{sandbox_config.log_directory}/{config.log_path}",
        )
        self.container_configs[container_id] = config
        self.container_sandbox[container_id] = sandbox_id
        self.log.append(("create_container", config.metadata.name))
        return container_id

    async def start_container(self, container_id: str) -> None:
        status = self._container(container_id)
        try:
            await self._enter("start_container")
        except RuntimeFailure as failure:
            status.started_at = 0
            self._end(container_id, 128, "StartError", failure.description)
            raise
        status.state = cri.CONTAINER_RUNNING
        status.started_at = self._now()
        self.log.append(("start_container", status.metadata.name))

    async def stop_container(self, container_id: str, timeout_seconds: int) -> None:
        await self._enter("stop_container")
        status = self.containers.get(container_id)
        if status is None or status.state != cri.CONTAINER_RUNNING:
            return
        stubborn = status.metadata.name in self.ignores_sigterm
        if stubborn:
            await self.clock.sleep(timeout_seconds)
        if status.state == cri.CONTAINER_RUNNING:
            self._end(container_id, 137 if stubborn else 143)
        self.log.append(("stop_container", status.metadata.name))

    def _container(self, container_id: str) -> cri.ContainerStatus:
        status = self.containers.get(container_id)
        if status is None:
            raise RuntimeNotFound(f'an error occurred when try to find container "{container_id}": not found')
        return status

    def _forget(self, container_id: str) -> None:
        self.containers.pop(container_id, None)
        self.container_configs.pop(container_id, None)
        self.container_sandbox.pop(container_id, None)

    async def remove_container(self, container_id: str) -> None:
        await self._enter("remove_container")
        self._forget(container_id)

    async def list_containers(self, pod_uid: str = "") -> Sequence[cri.Container]:
        await self._enter("list_containers")
        return [
            cri.Container(
                id=s.id,
                pod_sandbox_id=self.container_sandbox[s.id],
                metadata=s.metadata,
                image=s.image,
                image_ref=s.image_ref,
                state=s.state,
                created_at=s.created_at,
                labels=s.labels,
                annotations=s.annotations,
            )
            for s in self.containers.values()
            if not pod_uid or s.labels["io.kubernetes.pod.uid"] == pod_uid
        ]

    async def container_status(self, container_id: str) -> cri.ContainerStatus:
        await self._enter("container_status")
        copy = cri.ContainerStatus()
        copy.CopyFrom(self._container(container_id))
        return copy

    async def container_info(self, container_id: str) -> dict[str, str]:
        self._container(container_id)
        return {}

    async def list_container_stats(self) -> Sequence[cri.ContainerStats]:
        await self._enter("list_container_stats")
        return []

    async def update_container_resources(self, container_id: str, resources: cri.LinuxContainerResources) -> None:
        await self._enter("update_container_resources")
        config = self.container_configs[container_id]
        config.linux.resources.MergeFrom(resources)
        self.log.append(("update_container_resources", config.metadata.name))

    async def reopen_container_log(self, container_id: str) -> None:
        await self._enter("reopen_container_log")

    async def exec_sync(
        self, container_id: str, command: Sequence[str], timeout_seconds: float = 0
    ) -> cri.ExecSyncResponse:
        await self._enter("exec_sync")
        status = self._container(container_id)
        self.log.append(("exec_sync", status.metadata.name))
        return self.on_exec(status.metadata.name, command)

    async def exec_url(self, request: cri.ExecRequest) -> str:
        return f"http://127.0.0.1:1/exec/{request.container_id}"

    async def attach_url(self, request: cri.AttachRequest) -> str:
        return f"http://127.0.0.1:1/attach/{request.container_id}"

    async def port_forward_url(self, request: cri.PortForwardRequest) -> str:
        return f"http://127.0.0.1:1/portforward/{request.pod_sandbox_id}"

    def _image(self, name: str, image_id: str) -> cri.Image:
        return cri.Image(id=image_id, repo_tags=[name], size=1000)

    async def list_images(self) -> Sequence[cri.Image]:
        await self._enter("list_images")
        return [self._image(name, image_id) for name, image_id in self.images.items()]

    async def image_status(self, image: str) -> cri.Image | None:
        await self._enter("image_status")
        for name, image_id in self.images.items():
            if image in (name, image_id):
                return self._image(name, image_id)
        return None

    async def image_info(self, image: str) -> dict[str, str]:
        await self._enter("image_info")
        found = await self.image_status(image)
        return {} if found is None else {"info": f'{{"chainID": "chain-of-{found.id}"}}'}

    async def pull_image(
        self, image: str, auth: cri.AuthConfig | None = None, sandbox_config: cri.PodSandboxConfig | None = None
    ) -> str:
        await self._enter("pull_image")
        if image not in self.images and image not in self.pullable:
            raise RuntimeNotFound(f'failed to pull and unpack image "{image}": not found')
        return self.images.setdefault(image, f"sha256:{len(self.images) + 1:064x}")

    async def remove_image(self, image: str) -> None:
        await self._enter("remove_image")
        for name in [name for name, image_id in self.images.items() if image in (name, image_id)]:
            del self.images[name]

    async def image_fs_info(self) -> cri.ImageFsInfoResponse:
        return cri.ImageFsInfoResponse()

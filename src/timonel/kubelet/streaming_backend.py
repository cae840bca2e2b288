"""What the streaming server asks of the kubelet, answered from its caches and by CRI."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from prometheus_client.exposition import generate_latest

from timonel.api.errors import InternalError, NotFound
from timonel.api.objects import Object, uid_of
from timonel.kubelet.containers.labels import CONTAINER_NAME, POD_NAME, POD_NAMESPACE, POD_UID
from timonel.kubelet.cri import runtime_pb2 as cri
from timonel.kubelet.cri.runtime import Runtime, RuntimeFailure, RuntimeNotFound
from timonel.kubelet.kubelet import Kubelet
from timonel.kubelet.pods.spec import find_container
from timonel.kubelet.pods.view import RUNNING
from timonel.kubelet.streaming.backend import ContainerLog, ExecResult, FoundContainer, StreamRequest


class KubeletBackend:
    """Implements `StreamingBackend`. `neighbours`: lines for /metrics of who else runs in the agent."""

    def __init__(
        self,
        *,
        kubelet: Kubelet,
        runtime: Runtime,
        node_name: str,
        neighbours: Callable[[], Awaitable[str]] | None = None,
    ) -> None:
        self._kubelet = kubelet
        self._runtime = runtime
        self._node_name = node_name
        self._neighbours = neighbours

    @property
    def node_name(self) -> str:
        return self._node_name

    def _with_status(self, pod: Object) -> Object:
        status = self._kubelet.statuses.get(uid_of(pod))
        return pod if status is None else {**pod, "status": status}

    def pods(self) -> Sequence[Object]:
        return [self._with_status(worker.pod) for worker in self._kubelet.workers]

    def pod(self, namespace: str, name: str) -> Object | None:
        worker = self._kubelet.workers.find(namespace, name)
        return None if worker is None else self._with_status(worker.pod)

    async def running_pods(self) -> Sequence[Object]:
        pods: dict[str, Object] = {}
        try:
            listed = await self._runtime.list_containers()
        except RuntimeFailure as exc:
            raise InternalError(str(exc)) from exc
        for container in listed:
            if container.state != cri.CONTAINER_RUNNING:
                continue
            labels = container.labels
            pod = pods.setdefault(
                labels[POD_UID],
                {
                    "metadata": {
                        "name": labels[POD_NAME],
                        "namespace": labels[POD_NAMESPACE],
                        "uid": labels[POD_UID],
                    },
                    "spec": {"containers": []},
                    "status": {},
                },
            )
            pod["spec"]["containers"].append({"name": labels[CONTAINER_NAME], "image": container.image.image})
        return list(pods.values())

    def _uid(self, namespace: str, pod: str, uid: str) -> str:
        worker = self._kubelet.workers.find(namespace, pod)
        if worker is None or (uid and worker.uid != uid):
            raise NotFound(f'pod "{pod}" not found')
        return worker.uid

    async def find_container(self, namespace: str, pod: str, container: str, *, uid: str = "") -> FoundContainer:
        worker = self._kubelet.workers.find(namespace, pod)
        if worker is None or (uid and worker.uid != uid):
            raise NotFound(f'pod "{pod}" not found')
        view = self._kubelet.reader.known(worker.uid)
        running = next((c for c in view.instances(container) if c.state == RUNNING), None)
        if running is None or self.has_ended(running.id):
            try:
                view = await self._kubelet.reader.read(worker.uid)
            except RuntimeFailure as exc:
                raise InternalError(str(exc)) from exc
            running = next((c for c in view.instances(container) if c.state == RUNNING), None)
        found = find_container(worker.pod, container)
        if running is None or found is None:
            raise NotFound(f'container not found ("{container}")')
        spec = found[1]
        return FoundContainer(running.id, running.sandbox_id, bool(spec.get("tty")), bool(spec.get("stdin")))

    async def find_sandbox(self, namespace: str, pod: str, *, uid: str = "") -> str:
        view = self._kubelet.reader.known(self._uid(namespace, pod, uid))
        if view.sandbox is None or not view.sandbox.ready:
            raise NotFound(f'pod "{pod}" has no running sandbox')
        return view.sandbox.id

    async def container_log(self, container_id: str) -> ContainerLog:
        uid = self._kubelet.reader.owner(container_id)
        if uid is not None:
            for container in self._kubelet.reader.known(uid).containers:
                if container.id == container_id:
                    return ContainerLog(container.log_path)
        try:
            status = await self._runtime.container_status(container_id)
        except RuntimeNotFound as exc:
            raise NotFound(f'container "{container_id}" not found') from exc
        except RuntimeFailure as exc:
            raise InternalError(str(exc)) from exc
        return ContainerLog(status.log_path)

    def has_ended(self, container_id: str) -> bool:
        return self._kubelet.reader.told_end(container_id) or not self._kubelet.reader.is_running(container_id)

    async def wait_ended(self, container_id: str) -> None:
        await self._kubelet.reader.wait_ended(container_id)

    async def exec_url(self, container_id: str, command: Sequence[str], streams: StreamRequest) -> str:
        request = cri.ExecRequest(
            container_id=container_id,
            cmd=list(command),
            tty=streams.tty,
            stdin=streams.stdin,
            stdout=streams.stdout,
            stderr=streams.stderr and not streams.tty,
        )
        try:
            return await self._runtime.exec_url(request)
        except RuntimeFailure as exc:
            raise InternalError(str(exc)) from exc

    async def attach_url(self, container_id: str, streams: StreamRequest) -> str:
        request = cri.AttachRequest(
            container_id=container_id,
            tty=streams.tty,
            stdin=streams.stdin,
            stdout=streams.stdout,
            stderr=streams.stderr and not streams.tty,
        )
        try:
            return await self._runtime.attach_url(request)
        except RuntimeFailure as exc:
            raise InternalError(str(exc)) from exc

    async def port_forward_url(self, sandbox_id: str) -> str:
        try:
            return await self._runtime.port_forward_url(cri.PortForwardRequest(pod_sandbox_id=sandbox_id))
        except RuntimeFailure as exc:
            raise InternalError(str(exc)) from exc

    async def exec_sync(self, container_id: str, command: Sequence[str], *, timeout_seconds: float = 0) -> ExecResult:
        try:
            result = await self._runtime.exec_sync(container_id, command, timeout_seconds)
        except RuntimeFailure as exc:
            raise InternalError(str(exc)) from exc
        return ExecResult(result.stdout, result.stderr, result.exit_code)

    async def stats_summary(self, *, only_cpu_and_memory: bool = False) -> Object:
        return await self._kubelet.stats.summary(only_cpu_and_memory=only_cpu_and_memory)

    async def metrics_page(self, name: str) -> bytes | None:
        match name:
            case "":
                others = await self._neighbours() if self._neighbours else ""
                return (await self._kubelet.stats.volume_metrics() + others).encode()
            case "resource":
                return (await self._kubelet.stats.resource_metrics()).encode()
            case "cadvisor":
                return (await self._kubelet.stats.cadvisor_metrics()).encode()
            case "probes":
                return generate_latest(self._kubelet.probe_metrics.registry)
        return None

    def health(self) -> str:
        return self._kubelet.node.health.runtime_error

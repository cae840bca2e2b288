"""The CRI client: one gRPC channel over a Unix socket, which reconnects by itself when the runtime comes back."""

from __future__ import annotations

import asyncio
import logging
import re
import time
from collections.abc import Callable, Sequence
from typing import Any

import grpc
import grpc.aio

from timonel.kubelet.cri import containerd_pb2 as containerd
from timonel.kubelet.cri import runtime_pb2 as cri
from timonel.kubelet.cri.runtime import RuntimeFailure, RuntimeNotFound, RuntimeUnavailable

log = logging.getLogger(__name__)

_RUNTIME = "/runtime.v1.RuntimeService/"
_IMAGES = "/runtime.v1.ImageService/"

# A sandbox waits for CNI plugins, a pull for the network; the rest is local work of containerd.
CALL_SECONDS = 120.0
SANDBOX_SECONDS = 240.0
PULL_SECONDS = 3600.0
STATUS_SECONDS = 10.0

CHANNEL_OPTIONS = [
    ("grpc.max_receive_message_length", 16 * 1024 * 1024),
    ("grpc.max_send_message_length", 16 * 1024 * 1024),
    # containerd comes back within seconds of a crash; the default back-off of two minutes would outlast it by far.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 2000),
    ("grpc.enable_retries", 0),
    # On a Unix socket the authority would be the path, which Go's HTTP/2 server refuses as malformed.
    ("grpc.default_authority", "localhost"),
    ("grpc.use_local_subchannel_pool", 1),
]

_TASKS = "/containerd.services.tasks.v1.Tasks/"
_LOST_TASK = re.compile(r"cannot delete running task ([0-9a-f]{64})")
_KILL_SECONDS = 0.1

_CODE_NAMES = {
    "OK": "OK", "CANCELLED": "Canceled", "UNKNOWN": "Unknown", "INVALID_ARGUMENT": "InvalidArgument",
    "DEADLINE_EXCEEDED": "DeadlineExceeded", "NOT_FOUND": "NotFound", "ALREADY_EXISTS": "AlreadyExists",
    "PERMISSION_DENIED": "PermissionDenied", "RESOURCE_EXHAUSTED": "ResourceExhausted",
    "FAILED_PRECONDITION": "FailedPrecondition", "ABORTED": "Aborted", "OUT_OF_RANGE": "OutOfRange",
    "UNIMPLEMENTED": "Unimplemented", "INTERNAL": "Internal", "UNAVAILABLE": "Unavailable", "DATA_LOSS": "DataLoss",
    "UNAUTHENTICATED": "Unauthenticated",
}  # fmt: skip


def open_channel(endpoint: str) -> grpc.aio.Channel:
    """`endpoint` is a path or a unix:// URL."""
    path = endpoint.removeprefix("unix://").removeprefix("unix:")
    return grpc.aio.insecure_channel(f"unix:{path}", options=CHANNEL_OPTIONS)


def failure_from(error: grpc.aio.AioRpcError) -> RuntimeFailure:
    code = _CODE_NAMES.get(error.code().name, error.code().name)
    description = error.details() or ""
    if code == "NotFound":
        return RuntimeNotFound(description)
    if code in ("Unavailable", "DeadlineExceeded"):
        return RuntimeUnavailable(code, description)
    return RuntimeFailure(code, description)


class GrpcRuntime:
    """Implements `Runtime`. Calls fail at once while the socket is away: callers retry, nothing piles up here."""

    def __init__(self, *, endpoint: str, observe: Callable[[str, float, bool], None] | None = None) -> None:
        """`observe` is told of each call: method, seconds, and whether it failed."""
        self._channel = open_channel(endpoint)
        self._methods: dict[str, Any] = {}
        self._observe = observe

    async def close(self) -> None:
        await self._channel.close()

    async def _call(self, method: str, request: Any, answer: Any, seconds: float | None = CALL_SECONDS) -> Any:
        call = self._methods.get(method)
        if call is None:
            call = self._methods[method] = self._channel.unary_unary(
                method, request_serializer=type(request).SerializeToString, response_deserializer=answer.FromString
            )
        began, failed = time.monotonic(), True
        try:
            result = await call(request, timeout=seconds)
            failed = False
            return result
        except grpc.aio.AioRpcError as exc:
            raise failure_from(exc) from exc
        finally:
            if self._observe is not None:
                self._observe(method, time.monotonic() - began, failed)

    async def _whole(self, method: str, request: Any, answer: Any, seconds: float = CALL_SECONDS) -> Any:
        """A call that is not cut off when its caller is cancelled: containerd 1.6 leaves half-made things behind then.

        The cancellation goes on once the call has ended.
        """
        call = asyncio.ensure_future(self._call(method, request, answer, seconds))
        try:
            return await asyncio.shield(call)
        except asyncio.CancelledError:
            await asyncio.wait((call,))
            if not call.cancelled():
                call.exception()  # read, so that nobody complains that it was not
            raise

    async def _remove(self, method: str, request: Any, answer: Any) -> None:
        """No error when it is gone. A task that a cut-off start left behind, unknown to CRI, is ended first."""
        try:
            await self._whole(method, request, answer, SANDBOX_SECONDS)
        except RuntimeNotFound:
            pass
        except RuntimeFailure as failure:
            lost = _LOST_TASK.search(failure.description)
            if lost is None:
                raise
            await self._end_task(lost.group(1))
            await self._whole(method, request, answer, SANDBOX_SECONDS)

    async def _end_task(self, container_id: str) -> None:
        log.warning("lost task ended container_id=%s", container_id)
        kill = containerd.KillTaskRequest(container_id=container_id, signal=9, all=True)
        for method, request in (
            ("Kill", kill),
            ("Delete", containerd.DeleteTaskRequest(container_id=container_id)),
        ):
            call = self._channel.unary_unary(
                _TASKS + method,
                request_serializer=type(request).SerializeToString,
                response_deserializer=containerd.Ignored.FromString,
            )
            try:
                await call(request, timeout=STATUS_SECONDS, metadata=(("containerd-namespace", "k8s.io"),))
            except grpc.aio.AioRpcError as exc:
                log.info("lost task not ended method=%s error=%s", method, failure_from(exc))
            await asyncio.sleep(_KILL_SECONDS)

    async def version(self) -> cri.VersionResponse:
        request = cri.VersionRequest(version="v1")
        answer: cri.VersionResponse = await self._call(
            _RUNTIME + "Version", request, cri.VersionResponse, STATUS_SECONDS
        )
        return answer

    async def status(self) -> cri.StatusResponse:
        answer: cri.StatusResponse = await self._call(
            _RUNTIME + "Status", cri.StatusRequest(), cri.StatusResponse, STATUS_SECONDS
        )
        return answer

    async def run_pod_sandbox(self, config: cri.PodSandboxConfig, runtime_handler: str = "") -> str:
        request = cri.RunPodSandboxRequest(config=config, runtime_handler=runtime_handler)
        answer = await self._whole(_RUNTIME + "RunPodSandbox", request, cri.RunPodSandboxResponse, SANDBOX_SECONDS)
        return str(answer.pod_sandbox_id)

    async def stop_pod_sandbox(self, sandbox_id: str) -> None:
        request = cri.StopPodSandboxRequest(pod_sandbox_id=sandbox_id)
        try:
            await self._call(_RUNTIME + "StopPodSandbox", request, cri.StopPodSandboxResponse, SANDBOX_SECONDS)
        except RuntimeNotFound:
            pass

    async def remove_pod_sandbox(self, sandbox_id: str) -> None:
        request = cri.RemovePodSandboxRequest(pod_sandbox_id=sandbox_id)
        await self._remove(_RUNTIME + "RemovePodSandbox", request, cri.RemovePodSandboxResponse)

    async def pod_sandbox_status(self, sandbox_id: str) -> cri.PodSandboxStatus:
        request = cri.PodSandboxStatusRequest(pod_sandbox_id=sandbox_id)
        answer = await self._call(_RUNTIME + "PodSandboxStatus", request, cri.PodSandboxStatusResponse)
        status: cri.PodSandboxStatus = answer.status
        return status

    async def list_pod_sandboxes(self, pod_uid: str = "") -> Sequence[cri.PodSandbox]:
        selector = cri.PodSandboxFilter(label_selector={"io.kubernetes.pod.uid": pod_uid} if pod_uid else {})
        request = cri.ListPodSandboxRequest(filter=selector)
        answer = await self._call(_RUNTIME + "ListPodSandbox", request, cri.ListPodSandboxResponse)
        items: Sequence[cri.PodSandbox] = answer.items
        return items

    async def create_container(
        self, sandbox_id: str, config: cri.ContainerConfig, sandbox_config: cri.PodSandboxConfig
    ) -> str:
        request = cri.CreateContainerRequest(pod_sandbox_id=sandbox_id, config=config, sandbox_config=sandbox_config)
        answer = await self._whole(_RUNTIME + "CreateContainer", request, cri.CreateContainerResponse)
        return str(answer.container_id)

    async def start_container(self, container_id: str) -> None:
        request = cri.StartContainerRequest(container_id=container_id)
        await self._whole(_RUNTIME + "StartContainer", request, cri.StartContainerResponse)

    async def stop_container(self, container_id: str, timeout_seconds: int) -> None:
        request = cri.StopContainerRequest(container_id=container_id, timeout=timeout_seconds)
        try:
            await self._call(
                _RUNTIME + "StopContainer", request, cri.StopContainerResponse, timeout_seconds + CALL_SECONDS
            )
        except RuntimeNotFound:
            pass

    async def remove_container(self, container_id: str) -> None:
        request = cri.RemoveContainerRequest(container_id=container_id)
        await self._remove(_RUNTIME + "RemoveContainer", request, cri.RemoveContainerResponse)

    async def list_containers(self, pod_uid: str = "") -> Sequence[cri.Container]:
        selector = cri.ContainerFilter(label_selector={"io.kubernetes.pod.uid": pod_uid} if pod_uid else {})
        request = cri.ListContainersRequest(filter=selector)
        answer = await self._call(_RUNTIME + "ListContainers", request, cri.ListContainersResponse)
        containers: Sequence[cri.Container] = answer.containers
        return containers

    async def container_status(self, container_id: str) -> cri.ContainerStatus:
        request = cri.ContainerStatusRequest(container_id=container_id)
        answer = await self._call(_RUNTIME + "ContainerStatus", request, cri.ContainerStatusResponse)
        status: cri.ContainerStatus = answer.status
        return status

    async def container_info(self, container_id: str) -> dict[str, str]:
        request = cri.ContainerStatusRequest(container_id=container_id, verbose=True)
        answer = await self._call(_RUNTIME + "ContainerStatus", request, cri.ContainerStatusResponse)
        return dict(answer.info)

    async def list_container_stats(self) -> Sequence[cri.ContainerStats]:
        request = cri.ListContainerStatsRequest()
        answer = await self._call(_RUNTIME + "ListContainerStats", request, cri.ListContainerStatsResponse)
        stats: Sequence[cri.ContainerStats] = answer.stats
        return stats

    async def update_container_resources(self, container_id: str, resources: cri.LinuxContainerResources) -> None:
        request = cri.UpdateContainerResourcesRequest(container_id=container_id, linux=resources)
        await self._call(_RUNTIME + "UpdateContainerResources", request, cri.UpdateContainerResourcesResponse)

    async def reopen_container_log(self, container_id: str) -> None:
        request = cri.ReopenContainerLogRequest(container_id=container_id)
        await self._call(_RUNTIME + "ReopenContainerLog", request, cri.ReopenContainerLogResponse)

    async def exec_sync(
        self, container_id: str, command: Sequence[str], timeout_seconds: float = 0
    ) -> cri.ExecSyncResponse:
        # CRI counts whole seconds; the call itself gets a little longer, so that the runtime's own answer arrives.
        whole = max(1, round(timeout_seconds)) if timeout_seconds else 0
        request = cri.ExecSyncRequest(container_id=container_id, cmd=list(command), timeout=whole)
        limit = whole + 5.0 if whole else None
        answer: cri.ExecSyncResponse = await self._call(_RUNTIME + "ExecSync", request, cri.ExecSyncResponse, limit)
        return answer

    async def exec_url(self, request: cri.ExecRequest) -> str:
        return str((await self._call(_RUNTIME + "Exec", request, cri.ExecResponse)).url)

    async def attach_url(self, request: cri.AttachRequest) -> str:
        return str((await self._call(_RUNTIME + "Attach", request, cri.AttachResponse)).url)

    async def port_forward_url(self, request: cri.PortForwardRequest) -> str:
        return str((await self._call(_RUNTIME + "PortForward", request, cri.PortForwardResponse)).url)

    async def list_images(self) -> Sequence[cri.Image]:
        answer = await self._call(_IMAGES + "ListImages", cri.ListImagesRequest(), cri.ListImagesResponse)
        images: Sequence[cri.Image] = answer.images
        return images

    async def image_status(self, image: str) -> cri.Image | None:
        request = cri.ImageStatusRequest(image=cri.ImageSpec(image=image))
        answer = await self._call(_IMAGES + "ImageStatus", request, cri.ImageStatusResponse)
        return answer.image if answer.HasField("image") and answer.image.id else None

    async def image_info(self, image: str) -> dict[str, str]:
        request = cri.ImageStatusRequest(image=cri.ImageSpec(image=image), verbose=True)
        answer = await self._call(_IMAGES + "ImageStatus", request, cri.ImageStatusResponse)
        return dict(answer.info)

    async def pull_image(
        self, image: str, auth: cri.AuthConfig | None = None, sandbox_config: cri.PodSandboxConfig | None = None
    ) -> str:
        request = cri.PullImageRequest(image=cri.ImageSpec(image=image), auth=auth, sandbox_config=sandbox_config)
        return str((await self._call(_IMAGES + "PullImage", request, cri.PullImageResponse, PULL_SECONDS)).image_ref)

    async def remove_image(self, image: str) -> None:
        request = cri.RemoveImageRequest(image=cri.ImageSpec(image=image))
        await self._call(_IMAGES + "RemoveImage", request, cri.RemoveImageResponse)

    async def image_fs_info(self) -> cri.ImageFsInfoResponse:
        answer: cri.ImageFsInfoResponse = await self._call(
            _IMAGES + "ImageFsInfo", cri.ImageFsInfoRequest(), cri.ImageFsInfoResponse
        )
        return answer

"""Event streams of the runtime: containerd's own, which every version has, else CRI's GetContainerEvents, which other
runtimes have. Both only say which container changed; what it is now is always asked for.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

import grpc
import grpc.aio

from timonel.kubelet.cri import containerd_pb2 as containerd
from timonel.kubelet.cri import runtime_pb2 as cri
from timonel.kubelet.cri.grpc_runtime import failure_from, open_channel
from timonel.kubelet.cri.runtime import RuntimeEvent, RuntimeEvents, RuntimeFailure

_SUBSCRIBE = "/containerd.services.events.v1.Events/Subscribe"
# CRI containers live in containerd's namespace k8s.io. Filters of one stream are alternatives.
_FILTERS = [
    'namespace=="k8s.io",topic=="/tasks/exit"',
    'namespace=="k8s.io",topic=="/tasks/oom"',
]


class CriEvents:
    """Implements `RuntimeEvents` by CRI's GetContainerEvents."""

    def __init__(self, *, endpoint: str) -> None:
        self._endpoint = endpoint

    async def subscribe(self) -> AsyncIterator[RuntimeEvent | None]:
        async with open_channel(self._endpoint) as channel:
            call = channel.unary_stream(
                "/runtime.v1.RuntimeService/GetContainerEvents",
                request_serializer=cri.GetEventsRequest.SerializeToString,
                response_deserializer=cri.ContainerEventResponse.FromString,
            )
            try:
                await channel.channel_ready()
                stream = call(cri.GetEventsRequest())
                yield None
                async for event in stream:
                    ended = event.container_event_type == cri.CONTAINER_STOPPED_EVENT
                    yield RuntimeEvent(event.container_id, "exit" if ended else "other")
            except grpc.aio.AioRpcError as exc:
                raise failure_from(exc) from exc


class ContainerdEvents:
    """Implements `RuntimeEvents` by containerd's own event service, on the same socket as CRI."""

    def __init__(self, *, endpoint: str) -> None:
        self._endpoint = endpoint

    async def subscribe(self) -> AsyncIterator[RuntimeEvent | None]:
        async with open_channel(self._endpoint) as channel:
            call = channel.unary_stream(
                _SUBSCRIBE,
                request_serializer=containerd.SubscribeRequest.SerializeToString,
                response_deserializer=containerd.Envelope.FromString,
            )
            try:
                await channel.channel_ready()
                stream = call(
                    containerd.SubscribeRequest(filters=_FILTERS), metadata=(("containerd-namespace", "k8s.io"),)
                )
                yield None
                async for envelope in stream:
                    task = containerd.TaskEvent.FromString(envelope.event.value)
                    if envelope.topic == "/tasks/exit" and task.id != task.container_id:
                        continue  # an exec's process ended, not the container
                    yield RuntimeEvent(task.container_id, "exit" if envelope.topic == "/tasks/exit" else "oom")
            except grpc.aio.AioRpcError as exc:
                raise failure_from(exc) from exc


class SocketEvents:
    """Implements `RuntimeEvents` by whichever stream the runtime behind the socket has."""

    def __init__(self, *, endpoint: str) -> None:
        self._streams: list[RuntimeEvents] = [ContainerdEvents(endpoint=endpoint), CriEvents(endpoint=endpoint)]

    async def subscribe(self) -> AsyncIterator[RuntimeEvent | None]:
        try:
            async for event in self._streams[0].subscribe():
                yield event
        except RuntimeFailure as failure:
            if failure.code == "Unimplemented":
                self._streams.reverse()
            raise

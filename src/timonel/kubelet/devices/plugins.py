"""The plugins of this node: they register at the kubelet's socket, and are followed for as long as they live.

The socket is made anew at each start, which tells plugins to register again. Source: kubernetes.io/docs/concepts/
extend-kubernetes/compute-storage-net/device-plugins
"""

from __future__ import annotations

import asyncio
import logging
import os
import re
from collections.abc import Callable, Iterable
from typing import Any

import grpc
import grpc.aio

from timonel.api.clock import Clock
from timonel.kubelet.cri.grpc_runtime import open_channel
from timonel.kubelet.devices import deviceplugin_pb2 as messages
from timonel.kubelet.devices.pool import Pool
from timonel.kubelet.tasks import Tasks

log = logging.getLogger(__name__)

VERSION = "v1beta1"
_SERVICE = "/v1beta1.DevicePlugin/"
_CALL_SECONDS = 30.0
_GRACE_SECONDS = 300.0
"""How long the devices of a plugin that went are still counted, as unhealthy: it may just be restarting."""
_RESOURCE = re.compile(r"[a-z0-9]([-a-z0-9.]*[a-z0-9])?/[A-Za-z0-9]([-\w.]*[A-Za-z0-9])?", re.ASCII)


class PluginFailure(Exception):
    """A plugin did not do what it was asked for."""


class Plugins:
    """`pool` is told what there is; `changed` hears of it. `folder` holds the sockets, ours `kubelet.sock`."""

    def __init__(self, *, folder: str, pool: Pool, clock: Clock, changed: Callable[[], None]) -> None:
        self._folder = folder
        self._names = f"{folder}.known"
        """File with a line for each resource that was ever offered here."""
        self._pool = pool
        self._clock = clock
        self._changed = changed
        self._tasks = Tasks()
        self._plugins: dict[str, tuple[str, messages.DevicePluginOptions, asyncio.Task[None]]] = {}
        """Resource -> socket, options, and who follows it."""

    async def run(self) -> None:
        """Until cancelled."""
        await asyncio.to_thread(self._prepare)
        server = grpc.aio.server()
        handler = grpc.unary_unary_rpc_method_handler(
            self._register,
            request_deserializer=messages.RegisterRequest.FromString,
            response_serializer=messages.Empty.SerializeToString,
        )
        server.add_generic_rpc_handlers(
            (grpc.method_handlers_generic_handler("v1beta1.Registration", {"Register": handler}),)
        )
        try:
            server.add_insecure_port(f"unix:{self._folder}/kubelet.sock")
        except RuntimeError as exc:
            # A path of more than 107 bytes, say: no reason not to run pods.
            log.warning("device plugins cannot register folder=%s error=%s", self._folder, exc)
            return
        await server.start()
        try:
            await self._tasks.run()
        finally:
            await server.stop(None)

    def recover(self) -> None:
        """What plugins offered before this kubelet began is known, and none of it there, until they register again.

        A pod that asks for it must not run without it meanwhile.
        """
        try:
            with open(self._names, encoding="utf-8") as file:
                names = file.read().split()
        except OSError:
            return
        for name in names:
            self._pool.forget(name)

    def _remember(self, resource: str) -> None:
        if resource not in self._pool.resources():
            with open(self._names, "a", encoding="utf-8") as file:
                file.write(f"{resource}\n")

    def _prepare(self) -> None:
        os.makedirs(self._folder, mode=0o750, exist_ok=True)
        with os.scandir(self._folder) as found:
            for entry in found:
                if not entry.is_dir(follow_symlinks=False):
                    os.unlink(entry.path)  # sockets of plugins that will register again

    async def _register(self, request: messages.RegisterRequest, context: Any) -> messages.Empty:
        problem = ""
        if request.version != VERSION:
            problem = f'requested API version "{request.version}" is not supported by kubelet, which knows "{VERSION}"'
        elif not _RESOURCE.fullmatch(request.resource_name):
            problem = f"the ResourceName {request.resource_name!r} is invalid"
        elif not request.endpoint or "/" in request.endpoint:
            problem = f"the endpoint {request.endpoint!r} is no socket of the kubelet's folder"
        if problem:
            log.warning("device plugin refused problem=%s", problem)
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, problem)
        known = self._plugins.get(request.resource_name)
        if known is not None:
            known[2].cancel()
        self._remember(request.resource_name)
        log.info("device plugin registered resource=%s endpoint=%s", request.resource_name, request.endpoint)
        path = f"{self._folder}/{request.endpoint}"
        follow = self._follow(request.resource_name, path)
        task = self._tasks.start(follow, name=f"devices {request.resource_name}")
        self._plugins[request.resource_name] = path, request.options, task
        return messages.Empty()

    async def _follow(self, resource: str, path: str) -> None:
        try:
            async with open_channel(path) as channel:
                call = channel.unary_stream(
                    f"{_SERVICE}ListAndWatch",
                    request_serializer=messages.Empty.SerializeToString,
                    response_deserializer=messages.ListAndWatchResponse.FromString,
                )
                async for answer in call(messages.Empty()):
                    devices = {device.ID: device.health == "Healthy" for device in answer.devices}
                    log.info(
                        "devices told resource=%s all=%d healthy=%d", resource, len(devices), sum(devices.values())
                    )
                    self._pool.offer(resource, devices)
                    self._changed()
        except grpc.aio.AioRpcError as exc:
            log.info("device plugin went resource=%s error=%s", resource, exc.details())
        except Exception:
            log.exception("device plugin broke resource=%s", resource)
        self._pool.lose(resource)
        self._changed()
        await self._clock.sleep(_GRACE_SECONDS)
        log.info("device plugin forgotten resource=%s", resource)
        self._pool.forget(resource)
        self._plugins.pop(resource, None)
        self._changed()

    async def allocate(self, resource: str, ids: Iterable[str]) -> messages.ContainerAllocateResponse:
        """Has the plugin prepare devices for a container that is about to start. Raises PluginFailure."""
        plugin = self._plugins.get(resource)
        if plugin is None:
            raise PluginFailure(f"no device plugin offers {resource} now")
        path, options, _ = plugin
        asked = messages.ContainerAllocateRequest(devicesIDs=sorted(ids))
        async with open_channel(path) as channel:
            request = messages.AllocateRequest(container_requests=[asked])
            answer = await _call(channel, "Allocate", request, messages.AllocateResponse)
            if options.pre_start_required:
                before = messages.PreStartContainerRequest(devicesIDs=sorted(ids))
                await _call(channel, "PreStartContainer", before, messages.Empty)
        if len(answer.container_responses) != 1:
            raise PluginFailure(
                f"device plugin of {resource} answered for {len(answer.container_responses)} containers"
            )
        made: messages.ContainerAllocateResponse = answer.container_responses[0]
        return made


async def _call(channel: grpc.aio.Channel, method: str, request: Any, answer: Any) -> Any:
    call = channel.unary_unary(
        _SERVICE + method,
        request_serializer=type(request).SerializeToString,
        response_deserializer=answer.FromString,
    )
    try:
        return await call(request, timeout=_CALL_SECONDS)
    except grpc.aio.AioRpcError as exc:
        raise PluginFailure(f"{method}: {exc.details()}") from exc

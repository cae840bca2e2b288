"""Ends containers: preStop hooks, then the signal, within the grace period; sidecars last, in reverse order.

Source: kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle, "Termination of Pods";
kubernetes.io/docs/concepts/workloads/pods/sidecar-containers.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Callable, Sequence

from timonel.api.clock import Clock
from timonel.api.objects import Object
from timonel.kubelet.cri.runtime import Runtime
from timonel.kubelet.pods.lifecycle import Hooks
from timonel.kubelet.pods.spec import MINIMUM_GRACE_SECONDS, Kind, find_container, is_sidecar
from timonel.kubelet.pods.view import ContainerView
from timonel.kubelet.waiting import wait_event

log = logging.getLogger(__name__)

Tell = Callable[[Kind, Object, str, str, str], None]
"""(kind, container, event type, reason, message)."""


class Terminator:
    """Of one pod. It remembers which hooks ran, so that a termination taken up again does not repeat them."""

    def __init__(self, *, runtime: Runtime, hooks: Hooks, clock: Clock, tell: Tell) -> None:
        self._runtime = runtime
        self._hooks = hooks
        self._clock = clock
        self._tell = tell
        self._told: set[str] = set()
        self._hooked: set[str] = set()

    async def stop_all(self, pod: Object, running: Sequence[ContainerView], pod_ip: str, grace: int) -> None:
        """Ends all of them, together, but each sidecar only after all that may need it. Raises RuntimeFailure."""
        ended = {container.name: asyncio.Event() for container in running}
        sidecars = [c["name"] for c in pod["spec"].get("initContainers") or () if is_sidecar(c)]

        async def stop(container: ContainerView) -> None:
            try:
                before: list[str] = []
                if container.name in sidecars:
                    later = sidecars[sidecars.index(container.name) + 1 :]
                    before = [name for name in ended if name in later or name not in sidecars]
                await self.stop(pod, container, pod_ip, grace, wait_for=[ended[name] for name in before], message="")
            finally:
                ended[container.name].set()

        # Not a task group: one container that cannot be stopped must not keep the others from being stopped.
        results = await asyncio.gather(*(stop(container) for container in running), return_exceptions=True)
        for result in results:
            if isinstance(result, BaseException):
                raise result

    async def stop(
        self,
        pod: Object,
        container: ContainerView,
        pod_ip: str,
        grace: int,
        *,
        message: str,
        wait_for: Sequence[asyncio.Event] = (),
    ) -> None:
        kind, spec = find_container(pod, container.name) or (Kind.MAIN, _unknown(container.name))
        if container.id not in self._told:
            self._told.add(container.id)
            self._tell(kind, spec, "Normal", "Killing", message or f"Stopping container {container.name}")
        deadline = self._clock.monotonic() + grace
        handler = (spec.get("lifecycle") or {}).get("preStop")
        if handler and grace > 0 and container.id not in self._hooked:
            self._hooked.add(container.id)
            failure = await self._hooks.run(handler, pod, spec, container.id, pod_ip, timeout=grace)
            if failure is not None:
                log.warning("preStop hook failed container=%s error=%s", container.name, failure)
                self._tell(kind, spec, "Warning", "FailedPreStopHook", "PreStopHook failed")
        for event in wait_for:
            left = deadline - self._clock.monotonic()
            if left <= 0:
                break
            await wait_event(event, left, self._clock)
        left = max(MINIMUM_GRACE_SECONDS if grace else 1, math.ceil(deadline - self._clock.monotonic()))
        await self._runtime.stop_container(container.id, left)


def _unknown(name: str) -> Object:
    return {"name": name}

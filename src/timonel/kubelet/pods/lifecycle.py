"""postStart and preStop hooks. Source: kubernetes.io/docs/concepts/containers/container-lifecycle-hooks"""

from __future__ import annotations

import asyncio

from timonel.api.clock import Clock
from timonel.api.objects import Object
from timonel.kubelet.pods.spec import full_name
from timonel.kubelet.probes.actions import Actions, http_target
from timonel.kubelet.probes.http import HttpError, http_get

_HTTP_SECONDS = 30.0


class Hooks:
    def __init__(self, *, actions: Actions, clock: Clock) -> None:
        self._actions = actions
        self._clock = clock

    async def run(
        self, handler: Object, pod: Object, container: Object, container_id: str, pod_ip: str, *, timeout: float = 0
    ) -> str | None:
        """Why it failed, or None. It is given up after `timeout` seconds; 0: never."""
        task = asyncio.ensure_future(self._run(handler, pod, container, container_id, pod_ip, timeout))
        if not timeout:
            return await task
        timer = asyncio.ensure_future(self._clock.sleep(timeout))
        try:
            await asyncio.wait((task, timer), return_when=asyncio.FIRST_COMPLETED)
            return task.result() if task.done() else "the grace period was over before the hook"
        finally:
            task.cancel()
            timer.cancel()

    async def _run(
        self, handler: Object, pod: Object, container: Object, container_id: str, pod_ip: str, timeout: float
    ) -> str | None:
        where = f'for Container "{container["name"]}" in Pod "{full_name(pod)}" failed - error:'
        if handler.get("sleep"):
            await self._clock.sleep(handler["sleep"].get("seconds") or 0)
            return None
        if handler.get("httpGet"):
            # Any answer will do: the hook's point is that the request was made.
            try:
                url, headers = http_target(handler["httpGet"], container, pod_ip)
                await http_get(url, headers, timeout or _HTTP_SECONDS)
            except (ValueError, HttpError, TimeoutError) as exc:
                why = str(exc) or "no answer in time"
                return f"HTTP lifecycle hook ({handler['httpGet'].get('path', '')}) {where} {why}"
            return None
        outcome = await self._actions.run(handler, container, container_id, pod_ip, timeout)
        if outcome.passed:
            return None
        command = " ".join((handler.get("exec") or {}).get("command") or ())
        return f'Exec lifecycle hook ([{command}]) {where} command failed, message: "{outcome.output}"'

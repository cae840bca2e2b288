"""Ends containerd's helper processes that belong to nothing any more.

When an agent is killed while containerd starts something for it, containerd 1.6 may forget the shim it had just
launched. Such a process holds memory for ever. It can only come from an agent's death, so it is looked for once, after
the start of the next one.
"""

from __future__ import annotations

import logging
import os
import signal
from itertools import pairwise

from timonel.api.clock import Clock
from timonel.kubelet.cri.runtime import Runtime, RuntimeFailure

log = logging.getLogger(__name__)

_FIRST_LOOK_SECONDS = 30.0
_SECOND_LOOK_SECONDS = 60.0
"""What is still unknown to the runtime after this long is not just being started."""


def find_shims(socket: str, proc: str = "/proc") -> dict[int, str]:
    """Process id -> id of the sandbox or container it was launched for, of this containerd's shims."""
    found = {}
    for name in os.listdir(proc):
        if not name.isdigit():
            continue
        try:
            with open(f"{proc}/{name}/cmdline", "rb") as file:
                words = file.read().decode(errors="replace").split("\0")
        except OSError:
            continue
        if os.path.basename(words[0]).startswith("containerd-shim") and "-address" in words and "-id" in words:
            options = dict(pairwise(words))
            if options.get("-address") == socket and options.get("-namespace") == "k8s.io":
                found[int(name)] = options.get("-id", "")
    return found


class LostShims:
    """`run` ends by itself when it has looked twice."""

    def __init__(self, *, runtime: Runtime, endpoint: str, clock: Clock) -> None:
        self._runtime = runtime
        self._socket = endpoint.removeprefix("unix://").removeprefix("unix:")
        self._clock = clock

    async def run(self) -> None:
        await self._clock.sleep(_FIRST_LOOK_SECONDS)
        suspects = await self._unknown()
        if not suspects:
            return
        await self._clock.sleep(_SECOND_LOOK_SECONDS)
        for pid, owner in (await self._unknown()).items():
            if suspects.get(pid) == owner:
                log.warning("lost shim ended pid=%d id=%s", pid, owner)
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    continue

    async def _unknown(self) -> dict[int, str]:
        shims = find_shims(self._socket)
        try:
            known = {sandbox.id for sandbox in await self._runtime.list_pod_sandboxes()}
            known |= {container.id for container in await self._runtime.list_containers()}
        except RuntimeFailure:
            return {}
        return {pid: owner for pid, owner in shims.items() if owner not in known}

"""Ends pods whose emptyDir on disk has outgrown its sizeLimit.

Source: kubernetes.io/docs/concepts/storage/volumes, "emptyDir"; messages are upstream's. In memory the kernel
itself keeps the limit.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator

from timonel.api.clock import Clock
from timonel.api.objects import Object
from timonel.api.quantity import int_value
from timonel.kubelet.volumes.trees import used_bytes

_CHECK_SECONDS = 30.0


def limited_volumes(pod: Object) -> Iterator[tuple[Object, int]]:
    """Volumes to measure, with their limit in bytes."""
    for volume in pod.get("spec", {}).get("volumes") or ():
        source = volume.get("emptyDir") or {}
        if source.get("sizeLimit") and not source.get("medium"):
            yield volume, int_value(str(source["sizeLimit"]))


class EmptyDirLimits:
    """`pods` are those that run; `path` is where a pod's volume is; `evict(pod, message)` ends one."""

    def __init__(
        self,
        *,
        clock: Clock,
        pods: Callable[[], Iterable[Object]],
        path: Callable[[Object, Object], str],
        evict: Callable[[Object, str], None],
    ) -> None:
        self._clock = clock
        self._pods = pods
        self._path = path
        self._evict = evict

    async def run(self) -> None:
        while True:
            await self._clock.sleep(_CHECK_SECONDS)
            for pod in self._pods():
                for volume, limit in limited_volumes(pod):
                    used = await asyncio.to_thread(used_bytes, self._path(pod, volume))
                    if used > limit:
                        text = f'Usage of EmptyDir volume "{volume["name"]}" exceeds the limit '
                        self._evict(pod, f'{text}"{volume["emptyDir"]["sizeLimit"]}". ')
                        break

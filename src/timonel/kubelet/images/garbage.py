"""Images that nobody uses go when the disk fills up, or when they have not been used for long enough.

When an image was last used is known since the kubelet's start and not remembered beyond it: images are only younger to
a new agent than they are. Source: kubernetes.io/docs/concepts/architecture/garbage-collection, "Garbage collection of
unused containers and images".
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterable, Set
from dataclasses import dataclass

from timonel.api.clock import Clock
from timonel.kubelet.cri import runtime_pb2 as cri
from timonel.kubelet.cri.runtime import Runtime, RuntimeFailure

log = logging.getLogger(__name__)

PERIOD_SECONDS = 300.0


@dataclass(frozen=True, slots=True)
class ImagePolicy:
    high_percent: int = 85
    """Of the disk that is used: from here on images go. 100: they never do."""
    low_percent: int = 80
    """They go until so much is used."""
    minimum_age_seconds: float = 120.0
    """Younger ones stay: they may have been pulled for a pod that is about to start."""
    maximum_age_seconds: float = 0.0
    """Unused for longer, they go in any case; 0: they do not."""


@dataclass(slots=True)
class ImageRecord:
    id: str
    size: int
    first_seen: float
    last_used: float
    """As `first_seen`, when it has not been used since."""
    is_used: bool = False


def in_order_of_removal(records: Iterable[ImageRecord], now: float, minimum_age_seconds: float) -> list[ImageRecord]:
    """Those that may go, the longest unused first. Pure."""
    free = [each for each in records if not each.is_used and now - each.first_seen >= minimum_age_seconds]
    return sorted(free, key=lambda each: (each.last_used, each.first_seen, each.id))


def bytes_to_free(available: int, capacity: int, policy: ImagePolicy) -> int:
    """0: there is room enough. Pure."""
    used_percent = 100 - min(available, capacity) * 100 // capacity
    if policy.high_percent >= 100 or used_percent < policy.high_percent:
        return 0
    return max(0, capacity * (100 - policy.low_percent) // 100 - available)


class ImageGarbage:
    """`in_use` are references (ids, tags, digests) that pods here name; `disk` is (available, capacity) in bytes."""

    def __init__(
        self,
        *,
        runtime: Runtime,
        clock: Clock,
        policy: ImagePolicy,
        in_use: Callable[[], Set[str]],
        disk: Callable[[], Awaitable[tuple[int, int]]],
        tell_node: Callable[[str, str, str], None],
    ) -> None:
        self._runtime = runtime
        self._clock = clock
        self._policy = policy
        self._in_use = in_use
        self._disk = disk
        self._tell_node = tell_node
        self._records: dict[str, ImageRecord] = {}
        self._began = clock.monotonic()

    async def run(self) -> None:
        while True:
            try:
                await self.collect()
            except (RuntimeFailure, OSError) as exc:
                log.warning("images not collected error=%s", exc)
                self._tell_node("Warning", "ImageGCFailed", str(exc))
            await self._clock.sleep(PERIOD_SECONDS)

    async def collect(self) -> None:
        """One round. Raises RuntimeFailure, OSError."""
        await self._look()
        await self._remove_old()
        available, capacity = await self._disk()
        if capacity <= 0:
            self._tell_node("Warning", "InvalidDiskCapacity", "invalid capacity 0 on image filesystem")
            return
        wanted = bytes_to_free(available, capacity, self._policy)
        if not wanted:
            return
        freed = await self._remove(wanted)
        if freed < wanted:
            used = 100 - min(available, capacity) * 100 // capacity
            self._tell_node(
                "Warning",
                "FreeDiskSpaceFailed",
                f"Insufficient free disk space on the node's image filesystem ({used}% of {_size(capacity)} used). "
                f"Failed to free sufficient space by deleting unused images (freed {freed} bytes). "
                "Investigate disk usage, as it could be used by active images, logs, volumes, or other data.",
            )

    async def remove_unused(self) -> None:
        """All that may go: the node is short of disk. Raises RuntimeFailure."""
        await self._look()
        await self._remove(None)

    async def _look(self) -> None:
        now = self._clock.monotonic()
        used = set(self._in_use())
        for container in await self._runtime.list_containers():
            used |= {container.image_ref, container.image.image, container.image_id}
        found = {}
        for image in await self._runtime.list_images():
            if image.pinned:
                continue
            record = self._records.get(image.id) or ImageRecord(image.id, 0, now, now)
            record.size, record.is_used = image.size, bool(used & _names(image))
            if record.is_used:
                record.last_used = now
            found[image.id] = record
        self._records = found

    async def _remove_old(self) -> None:
        now, most = self._clock.monotonic(), self._policy.maximum_age_seconds
        if not most or now - self._began <= most:
            return
        for record in in_order_of_removal(self._records.values(), now, 0):
            if now - record.last_used > most:
                await self._remove_one(record, "age")

    async def _remove(self, wanted: int | None) -> int:
        """Bytes that were freed; None: all that can be."""
        freed = 0
        failure: RuntimeFailure | None = None
        now = self._clock.monotonic()
        for record in in_order_of_removal(self._records.values(), now, self._policy.minimum_age_seconds):
            if wanted is not None and freed >= wanted:
                break
            try:
                await self._remove_one(record, "space")
            except RuntimeFailure as exc:
                failure = exc  # the others may go all the same
                continue
            freed += record.size
        if failure is not None:
            raise failure
        return freed

    async def _remove_one(self, record: ImageRecord, reason: str) -> None:
        log.info("image removed id=%s bytes=%d reason=%s", record.id, record.size, reason)
        await self._runtime.remove_image(record.id)
        self._records.pop(record.id, None)


def _names(image: cri.Image) -> set[str]:
    return {image.id, *image.repo_tags, *image.repo_digests}


def _size(value: int) -> str:
    """As people read it: 1536 -> "1.5 KiB"."""
    if value < 1024:
        return f"{value} B"
    size = value / 1024
    for unit in ("KiB", "MiB", "GiB", "TiB"):
        if size < 1024 or unit == "TiB":
            return f"{size:.1f} {unit}"
        size /= 1024
    raise AssertionError

"""When a node is under pressure: thresholds as people write them, and as they are compared. Pure.

Source: kubernetes.io/docs/concepts/scheduling-eviction/node-pressure-eviction
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from timonel.api.durations import parse_duration
from timonel.api.quantity import InvalidQuantity, parse_quantity

MEMORY, ALLOCATABLE_MEMORY = "memory.available", "allocatableMemory.available"
NODE_BYTES, NODE_INODES = "nodefs.available", "nodefs.inodesFree"
IMAGE_BYTES, IMAGE_INODES = "imagefs.available", "imagefs.inodesFree"
CONTAINER_BYTES, CONTAINER_INODES = "containerfs.available", "containerfs.inodesFree"
PROCESSES = "pid.available"

CONDITIONS = {
    MEMORY: "MemoryPressure", ALLOCATABLE_MEMORY: "MemoryPressure",
    NODE_BYTES: "DiskPressure", NODE_INODES: "DiskPressure", IMAGE_BYTES: "DiskPressure", IMAGE_INODES: "DiskPressure",
    CONTAINER_BYTES: "DiskPressure", CONTAINER_INODES: "DiskPressure",
    PROCESSES: "PIDPressure",
}  # fmt: skip
"""Signal -> condition of the node."""
RESOURCES = {
    MEMORY: "memory", ALLOCATABLE_MEMORY: "memory",
    NODE_BYTES: "ephemeral-storage", IMAGE_BYTES: "ephemeral-storage", CONTAINER_BYTES: "ephemeral-storage",
    NODE_INODES: "inodes", IMAGE_INODES: "inodes", CONTAINER_INODES: "inodes",
    PROCESSES: "pids",
}  # fmt: skip
"""Signal -> what runs short."""

DEFAULT_HARD = {
    MEMORY: "100Mi", NODE_BYTES: "10%", NODE_INODES: "5%", IMAGE_BYTES: "15%", IMAGE_INODES: "5%",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Amount:
    """So many units, or a share of what there is."""

    units: int = 0
    share: float = 0.0

    def of(self, capacity: int) -> int:
        return int(capacity * self.share) if self.share else self.units


@dataclass(frozen=True, slots=True)
class Threshold:
    """Met while less than `value` is available: hard without `grace_seconds`, soft with them."""

    signal: str
    value: Amount
    grace_seconds: float = 0.0
    minimum_reclaim: Amount = Amount()
    """Once met, it is over only when so much more than `value` is available."""

    @property
    def condition(self) -> str:
        return CONDITIONS[self.signal]

    @property
    def resource(self) -> str:
        return RESOURCES[self.signal]

    @property
    def is_hard(self) -> bool:
        return self.grace_seconds == 0


@dataclass(frozen=True, slots=True)
class Observation:
    """Bytes, inodes or process ids."""

    available: int
    capacity: int


def parse_thresholds(
    hard: Mapping[str, str],
    soft: Mapping[str, str] | None = None,
    soft_grace: Mapping[str, str] | None = None,
    minimum_reclaim: Mapping[str, str] | None = None,
    *,
    for_pods_as_well: bool = True,
) -> tuple[Threshold, ...]:
    """evictionHard, evictionSoft, evictionSoftGracePeriod and evictionMinimumReclaim of KubeletConfiguration.

    `for_pods_as_well`: what all pods together have of memory is held to the hard threshold of the node's too.
    Raises ValueError, whose text names the signal.
    """
    reclaims = {signal: _parse_reclaim(signal, text) for signal, text in (minimum_reclaim or {}).items()}
    graces = {signal: _parse_grace(signal, text) for signal, text in (soft_grace or {}).items()}
    made = []
    for signal, text in hard.items():
        value = _parse_value(signal, text)
        if value is not None:
            made.append(Threshold(signal, value, 0.0, reclaims.get(signal, Amount())))
    for signal, text in (soft or {}).items():
        value = _parse_value(signal, text)
        if value is None:
            continue
        if signal not in graces:
            raise ValueError(f"grace period must be specified for the soft eviction threshold {signal}")
        made.append(Threshold(signal, value, graces[signal], reclaims.get(signal, Amount())))
    if for_pods_as_well:
        made += [
            Threshold(ALLOCATABLE_MEMORY, each.value, 0.0, each.minimum_reclaim)
            for each in made
            if each.signal == MEMORY and each.is_hard
        ]
    return tuple(made)


def _check_signal(signal: str) -> None:
    if signal not in CONDITIONS or signal == ALLOCATABLE_MEMORY:
        raise ValueError(f"unsupported eviction signal {signal}")


def _parse_value(signal: str, text: str) -> Amount | None:
    """None for what never is met: 0% and 100%."""
    _check_signal(signal)
    if text in ("0%", "100%"):
        return None
    made = _parse_amount(signal, text)
    if made.share > 1:
        raise ValueError(f"eviction percentage threshold {signal} must be <= 100%: {text}")
    if made.share < 0:
        raise ValueError(f"eviction percentage threshold {signal} must be >= 0%: {text}")
    if not made.share and made.units <= 0:
        raise ValueError(f"eviction threshold {signal} must be positive: {text}")
    return made


def _parse_reclaim(signal: str, text: str) -> Amount:
    _check_signal(signal)
    made = _parse_amount(signal, text)
    if text.endswith("%") and made.share <= 0:
        raise ValueError(f"eviction percentage minimum reclaim {signal} must be positive: {text}")
    if made.units < 0:
        raise ValueError(f"negative eviction minimum reclaim specified for {signal}")
    return made


def _parse_amount(signal: str, text: str) -> Amount:
    try:
        if text.endswith("%"):
            return Amount(share=float(text[:-1]) / 100)
        return Amount(units=int(parse_quantity(text)))
    except (InvalidQuantity, ValueError, OverflowError):
        raise ValueError(f"eviction threshold {signal}: {text!r} is neither a quantity nor a percentage") from None


def _parse_grace(signal: str, text: str) -> float:
    _check_signal(signal)
    seconds = float(parse_duration(text))
    if seconds < 0:
        raise ValueError(f"invalid eviction grace period specified: {text}, must be a positive value")
    return seconds

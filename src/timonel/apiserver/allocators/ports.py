"""Node ports that are taken: one guarded object in the store, upstream's own, that every change of node ports rewrites.

It is changed in the same commit as the Service, so that neither is ever without the other. One writer of this process
at a time holds the lock, for two could only refuse each other. Source: v1 RangeAllocation (k8s.io/api/core/v1).
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import logging
import random
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass

import orjson

from timonel.apiserver.allocators.pool import NumberRange, RangeFull, static_band
from timonel.apiserver.allocators.tries import Tries
from timonel.storage.protocol import Change, Entry, Event, KeyExists, RevisionMismatch, Store, StoreError

log = logging.getLogger(__name__)

KEY = "/registry/ranges/servicenodeports"
TAKEN = "provided port is already allocated"
_TRIES = 100


class NodePorts:
    """Follows the object. `in_services` lists the ports that the Services in the caches have."""

    def __init__(
        self, store: Store, *, low: int, high: int, in_services: Callable[[], Collection[int]], rng: random.Random
    ) -> None:
        self.numbers = NumberRange(low, high, static_band(high - low + 1, low=16, high=128, step=32))
        self.lock = asyncio.Lock()
        """Held from looking which ports are taken until the commit."""
        self._store = store
        self._in_services = in_services
        self._random = rng
        self._taken: PortSet | None = None
        """None: the object is missing, unreadable or of another range, and what it should hold is in the Services."""
        self._revision = 0
        self._reserved: set[int] = set()
        self.tries = Tries()
        self._unsubscribe: Callable[[], None] | None = None

    # Life

    async def start(self) -> None:
        """Reads the object, or makes it; the Services are in the cache by now. Raises StoreError."""
        self._unsubscribe = self._store.subscribe(KEY, self._hear, self._read)
        await self._read()
        if self._taken is None:
            async with self.lock:
                await self.write(set(), set())

    def close(self) -> None:
        if self._unsubscribe is not None:
            self._unsubscribe()

    async def _read(self) -> None:
        entry = await self._store.get(KEY)
        if entry is None:
            self._taken, self._revision = None, 0
        elif entry.mod_revision >= self._revision:
            self._see(entry)

    def _hear(self, events: Sequence[Event]) -> None:
        for event in events:
            if event.key == KEY and event.revision > self._revision:
                if event.value is None:
                    self._taken, self._revision = None, 0
                else:
                    self._see(Entry(KEY, event.value, event.create_revision, event.revision))

    def _see(self, entry: Entry) -> None:
        self._revision = entry.mod_revision
        self._taken = decode_ports(entry.value, self.numbers)

    # Reserving

    @property
    def taken(self) -> PortSet:
        if self._taken is None:
            return PortSet.of(self._in_services(), self.numbers)
        return self._taken

    def reserve(self, number: int) -> str:
        """Why not; "" when it is reserved."""
        if not self.numbers.covers(number):
            low, high = self.numbers.low, self.numbers.high
            return f"provided port is not in the valid range. The range of valid ports is {low}-{high}"
        taken = not self._is_free(number)
        self.tries.count("static", refused=taken)
        if taken:
            return TAKEN
        self._reserved.add(number)
        return ""

    def reserve_any(self) -> int:
        """Raises RangeFull."""
        try:
            number = self.numbers.pick(self._is_free, self._random)
        except RangeFull:
            self.tries.count("dynamic", refused=True)
            raise
        self.tries.count("dynamic")
        self._reserved.add(number)
        return number

    def use(self) -> tuple[int, int]:
        """How many are taken, and how many there are."""
        return self.taken.bits.bit_count(), self.numbers.high - self.numbers.low + 1

    def unreserve(self, number: int) -> None:
        self._reserved.discard(number)

    def _is_free(self, number: int) -> bool:
        return number not in self._reserved and number not in self.taken

    # Writing, with the lock held

    def change(self, add: Collection[int], remove: Collection[int]) -> Change:
        wanted = self.taken.bits | PortSet.of(add, self.numbers).bits
        wanted &= ~PortSet.of(remove, self.numbers).bits
        return Change(KEY, encode_ports(PortSet(wanted, self.numbers)), self._revision)

    async def write(self, add: Collection[int], remove: Collection[int]) -> None:
        """A write of its own, for repairs. Raises StoreError."""
        for _ in range(_TRIES):
            change = self.change(add, remove)
            assert change.value is not None
            try:
                if change.expected:
                    await self._store.update(KEY, change.value, change.expected)
                else:
                    await self._store.create(KEY, change.value)
                return
            except (KeyExists, RevisionMismatch):
                continue  # another server was faster, and we have heard of it
        raise StoreError(f"{KEY} changed {_TRIES} times while it was written")


@dataclass(frozen=True, slots=True)
class PortSet(Collection[int]):
    """Ports of a range, as the bits of one number: what a change of it costs does not depend on how many there are."""

    bits: int
    numbers: NumberRange

    @classmethod
    def of(cls, ports: Iterable[int], numbers: NumberRange) -> PortSet:
        """Those of `ports` that are in the range."""
        bits = 0
        for port in ports:
            if numbers.covers(port):
                bits |= 1 << (port - numbers.low)
        return cls(bits, numbers)

    def __contains__(self, port: object) -> bool:
        return isinstance(port, int) and self.numbers.covers(port) and bool(self.bits >> (port - self.numbers.low) & 1)

    def __iter__(self) -> Iterator[int]:
        return (self.numbers.low + place for place in range(self.bits.bit_length()) if self.bits >> place & 1)

    def __len__(self) -> int:
        return self.bits.bit_count()


def encode_ports(ports: PortSet) -> bytes:
    """A RangeAllocation: bit n of the big-endian data stands for the n-th port of the range."""
    bits, numbers = ports.bits, ports.numbers
    data = base64.b64encode(bits.to_bytes((bits.bit_length() + 7) // 8, "big")).decode()
    return orjson.dumps({
        "kind": "RangeAllocation", "apiVersion": "v1", "metadata": {},
        "range": f"{numbers.low}-{numbers.high}", "data": data,
    })  # fmt: skip


def decode_ports(value: bytes, numbers: NumberRange) -> PortSet | None:
    """None when it is none, or of another range."""
    try:
        stored = orjson.loads(value)
        if stored["range"] != f"{numbers.low}-{numbers.high}":
            log.warning("node ports in the store are of another range, counting anew range=%s", stored["range"])
            return None
        bits = int.from_bytes(base64.b64decode(stored["data"], validate=True), "big")
    except (ValueError, KeyError, TypeError, binascii.Error) as exc:
        log.warning("node ports in the store could not be read, counting anew error=%s", exc)
        return None
    return PortSet(bits & ((1 << (numbers.high - numbers.low + 1)) - 1), numbers)

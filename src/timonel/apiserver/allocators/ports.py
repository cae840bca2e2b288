"""Node ports that are taken: one guarded object in the store, upstream's own, that every change of node ports rewrites.

It is changed in the same commit as the Service, so that neither is ever without the other. In a store of our own,
changes are submitted one after the other without waiting, each building on the one before, and share a commit; when one
fails, those after it are refused and try again. In a shared store one writer of this process at a time has its turn,
for two could only refuse each other. Source: v1 RangeAllocation (k8s.io/api/core/v1).
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from contextlib import asynccontextmanager

from timonel.apiserver.allocators.pool import NumberRange, RangeFull, static_band
from timonel.apiserver.allocators.port_set import PortSet, decode_ports, encode_ports
from timonel.apiserver.allocators.tries import Tries
from timonel.storage.protocol import Change, Entry, Event, KeyExists, Link, RevisionMismatch, Store, StoreError

KEY = "/registry/ranges/servicenodeports"
TAKEN = "provided port is already allocated"
_TRIES = 100


class NodePorts:
    """Follows the object. `in_services` lists the ports that the Services in the caches have."""

    def __init__(
        self, store: Store, *, low: int, high: int, in_services: Callable[[], Collection[int]], rng: random.Random
    ) -> None:
        self.numbers = NumberRange(low, high, static_band(high - low + 1, low=16, high=128, step=32))
        self._lock = asyncio.Lock()
        """Held while nobody else may change anything."""
        self._writers = 0
        self._none_writes = asyncio.Event()
        self._none_writes.set()
        self._links: set[Link] = set()
        """Of changes under way that build on each other; `_tip` is what the last of them makes of the ports."""
        self._tip: PortSet | None = None
        self._last = Link()
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
        """With what is being written."""
        if self._tip is not None:
            return self._tip
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

    # Writing

    @asynccontextmanager
    async def writing(self) -> AsyncIterator[None]:
        """The turn of one writer, who may call `change` in it: from looking which ports are taken to the commit."""
        if self._store.is_shared:
            async with self._lock:
                yield
            return
        async with self._lock:
            self._writers += 1
            self._none_writes.clear()
        try:
            yield
        finally:
            self._writers -= 1
            if not self._writers:
                self._none_writes.set()

    @asynccontextmanager
    async def alone(self) -> AsyncIterator[None]:
        """Nothing is being written: what is taken is what the store has."""
        async with self._lock:
            await self._none_writes.wait()
            yield

    def change(self, add: Collection[int], remove: Collection[int]) -> Change:
        """To be submitted before anybody calls this again, and its end told by `ended`."""
        wanted = PortSet(
            (self.taken.bits | PortSet.of(add, self.numbers).bits) & ~PortSet.of(remove, self.numbers).bits,
            self.numbers,
        )
        value = encode_ports(wanted)
        if self._store.is_shared:
            return Change(KEY, value, self._revision)
        change = Change(KEY, value, self._revision, after=self._last if self._links else None, link=Link())
        assert change.link is not None
        self._last, self._tip = change.link, wanted
        self._links.add(change.link)
        return change

    def ended(self, change: Change, *, committed: bool) -> None:
        """What builds on a change that failed will be refused: what comes now begins with what the store has."""
        if change.link in self._links:
            self._links.remove(change.link)
            if not committed:
                self._links.clear()
            if not self._links:
                self._tip = None

    async def write(self, add: Collection[int], remove: Collection[int]) -> None:
        """A write of its own, for repairs, by whoever is alone. Raises StoreError."""
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
            finally:
                self.ended(change, committed=False)
        raise StoreError(f"{KEY} changed {_TRIES} times while it was written")

"""A set of node ports in one number, and as the store has it: v1 RangeAllocation, upstream's own."""

from __future__ import annotations

import base64
import binascii
import logging
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass

import orjson

from timonel.apiserver.allocators.pool import NumberRange

log = logging.getLogger(__name__)


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

"""Who has which device: by what claims say, and by what was decided and is not in the API yet.

Source: kubernetes.io/docs/reference/kubernetes-api/resource/resource-claim-v1/#ResourceClaimStatus
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal

from timonel.api.objects import Object, ObjectKey, annotations_of, controller_of, key_of, resource_version_of, uid_of
from timonel.api.quantity import parse_quantity
from timonel.scheduler.core.devices.catalogue import DeviceId, PoolId
from timonel.scheduler.core.devices.extended import ANNOTATION

MOST_CONSUMERS = 256


class Ledger:
    """`touched` collects the pools of which something was taken or given back."""

    def __init__(self) -> None:
        self.claims: dict[ObjectKey, Object] = {}
        self.touched: set[PoolId] = set()
        self._made_for: dict[str, ObjectKey] = {}
        """Pod's uid -> claim that was made for its extended resources."""
        self._promised: dict[str, Object] = {}
        """Claim's uid -> allocation that is being written."""
        self._counted: dict[str, Object] = {}
        """Claim's uid -> allocation that is counted."""
        self._in_pool: dict[PoolId, int] = {}
        """Of how many devices, or parts of them, somebody has."""
        self._taken: dict[DeviceId, int] = {}
        self._parts: dict[DeviceId, dict[str, list[Decimal]]] = {}
        """Shareable device -> share -> amounts; summed up when asked for."""
        self._sums: dict[DeviceId, dict[str, Decimal]] = {}

    # Claims as the API tells of them, or will

    def put_claim(self, obj: Object) -> bool:
        """False for an older state than the one that the scheduler wrote itself."""
        known = self.claims.get(key_of(obj))
        if known is not None and uid_of(known) == uid_of(obj) and _version(obj) < _version(known):
            return False
        if known is not None and uid_of(known) != uid_of(obj):
            self.remove_claim(key_of(obj))
        self.claims[key_of(obj)] = obj
        if pod := _pod_it_was_made_for(obj):
            self._made_for[pod] = key_of(obj)
        self._recount(uid_of(obj), obj)
        return True

    def remove_claim(self, key: ObjectKey) -> None:
        known = self.claims.pop(key, None)
        if known is not None:
            self._made_for.pop(_pod_it_was_made_for(known), None)
            self._recount(uid_of(known), None)

    def made_for(self, pod_uid: str) -> Object | None:
        key = self._made_for.get(pod_uid)
        return self.claims.get(key) if key is not None else None

    def promise(self, uid: str, allocation: Object) -> None:
        """The devices are the claim's from now on, though it does not say so yet."""
        self._promised[uid] = allocation
        self._count(uid, allocation)

    def is_promised(self, uid: str) -> bool:
        return uid in self._promised

    def settle(self, uid: str, key: ObjectKey) -> None:
        """It does say so, or will not."""
        if self._promised.pop(uid, None) is not None:
            claim = self.claims.get(key)
            self._recount(uid, claim if claim is not None and uid_of(claim) == uid else None)

    # What is in use (`allocator.InUse`)

    def is_untouched(self, pool: PoolId) -> bool:
        """Nobody has any of its devices."""
        return pool not in self._in_pool

    def is_taken(self, device: DeviceId) -> bool:
        return device in self._taken

    def capacity_of(self, device: DeviceId) -> Mapping[str, Decimal] | None:
        parts = self._parts.get(device)
        if parts is None:
            return None
        total = self._sums.get(device)
        if total is None:
            total = self._sums[device] = {name: sum(amounts, Decimal(0)) for name, amounts in parts.items()}
        return total

    # Parts

    def _recount(self, uid: str, claim: Object | None) -> None:
        allocation = self._promised.get(uid) or ((claim or {}).get("status") or {}).get("allocation")
        self._count(uid, allocation)

    def _count(self, uid: str, allocation: Object | None) -> None:
        known = self._counted.get(uid)
        if known is allocation or known == allocation:
            return
        if known is not None:
            del self._counted[uid]
            self._add(known, -1)
        if allocation is not None:
            self._counted[uid] = allocation
            self._add(allocation, 1)

    def _add(self, allocation: Object, sign: int) -> None:
        for result in (allocation.get("devices") or {}).get("results") or ():
            if result.get("adminAccess"):
                continue  # it only looks on
            device = DeviceId(result.get("driver", ""), result.get("pool", ""), result.get("device", ""))
            pool = PoolId(device.driver, device.pool)
            self.touched.add(pool)
            in_pool = self._in_pool.get(pool, 0) + sign
            if in_pool > 0:
                self._in_pool[pool] = in_pool
            else:
                self._in_pool.pop(pool, None)
            if result.get("shareID"):
                self._add_part(device, result.get("consumedCapacity") or {}, sign)
                continue
            left = self._taken.get(device, 0) + sign
            if left > 0:
                self._taken[device] = left
            else:
                self._taken.pop(device, None)

    def _add_part(self, device: DeviceId, consumed: Mapping[str, object], sign: int) -> None:
        self._sums.pop(device, None)
        parts = self._parts.setdefault(device, {"": []})
        amounts = {"": Decimal(1)} | {name: parse_quantity(str(amount)) for name, amount in consumed.items()}
        for name, amount in amounts.items():
            there = parts.setdefault(name, [])
            if sign > 0:
                there.append(amount)
            elif amount in there:
                there.remove(amount)
        if not parts[""]:
            del self._parts[device]


def consumers_of(claim: Object) -> list[Object]:
    return (claim.get("status") or {}).get("reservedFor") or []


def is_reserved_for(claim: Object, uid: str) -> bool:
    return any(each.get("uid") == uid for each in consumers_of(claim))


def allocation_of(claim: Object) -> Object | None:
    found: Object | None = (claim.get("status") or {}).get("allocation")
    return found


def results_of(claim: Object) -> list[Object]:
    return ((allocation_of(claim) or {}).get("devices") or {}).get("results") or []


def _pod_it_was_made_for(claim: Object) -> str:
    is_made = annotations_of(claim).get(ANNOTATION) == "true"
    return ((controller_of(claim) or {}).get("uid") or "") if is_made else ""


def _version(obj: Object) -> int:
    text = resource_version_of(obj)
    return int(text) if text.isdigit() else 0

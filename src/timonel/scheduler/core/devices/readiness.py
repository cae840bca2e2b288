"""Devices that must be made ready for a node before a pod can be bound to it, and what becomes of those that cannot.

Source: kubernetes.io/docs/concepts/scheduling-eviction/dynamic-resource-allocation/#device-binding-conditions; KEP-5007
"""

from __future__ import annotations

from datetime import datetime, timedelta

from timonel.api.clock import parse_time
from timonel.api.objects import Object, find_by, name_of
from timonel.scheduler.core.devices.ledger import allocation_of, results_of


class BindingFailed(Exception):
    """A driver says that the device will not become ready."""


def must_be_ready(claim: Object) -> bool:
    return any(result.get("bindingConditions") for result in results_of(claim))


def is_ready(claim: Object) -> bool:
    """Raises BindingFailed."""
    if allocation_of(claim) is None:
        return False
    ready = True
    for result in results_of(claim):
        awaited = result.get("bindingConditions") or ()
        if not awaited:
            continue
        conditions = _conditions(claim, result)
        for kind in result.get("bindingFailureConditions") or ():
            failed = find_by(conditions, "type", kind)
            if failed is not None and failed.get("status") == "True":
                raise BindingFailed(
                    f"device binding failed: claim={name_of(claim)}, reason={failed.get('reason', '')}, "
                    f'message="{failed.get("message", "")}"'
                )
        ready &= all((find_by(conditions, "type", kind) or {}).get("status") == "True" for kind in awaited)
    return ready


def binding_ends(claim: Object, timeout: timedelta) -> datetime | None:
    """When it has taken too long; None for a claim that need not wait."""
    text = (allocation_of(claim) or {}).get("allocationTimestamp")
    return parse_time(text) + timeout if text and must_be_ready(claim) else None


def is_lost(claim: Object, now: datetime, timeout: timedelta) -> bool:
    """Whether the claim has to have other devices: these failed, or took too long."""
    try:
        if is_ready(claim):
            return False
    except BindingFailed:
        return True
    ends = binding_ends(claim, timeout)
    return ends is not None and ends < now


def _conditions(claim: Object, result: Object) -> list[Object]:
    for device in (claim.get("status") or {}).get("devices") or ():
        if all(device.get(field) == result.get(field) for field in ("driver", "pool", "device")):
            return device.get("conditions") or []
    return []

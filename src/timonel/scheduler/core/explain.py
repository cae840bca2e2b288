"""Why a pod fits nowhere, in the words users and tools know from upstream."""

from __future__ import annotations

from collections.abc import Mapping

_PREEMPTION_NOT_BUILT = "evicting pods of lower priority is not built in this release"


def no_fit(nodes: int, reasons: Mapping[str, int], at_once: str = "", after: str = "") -> str:
    """Gives "0/3 nodes are available: 1 Insufficient cpu, 2 node(s) were unschedulable. preemption: …".

    `at_once` is a reason that holds for every node and was found before looking at any.
    """
    message = f"0/{nodes} nodes are available:"
    if at_once:
        message += f" {at_once}."
    elif reasons:
        message += f" {', '.join(sorted(f'{count} {reason}' for reason, count in reasons.items()))}."
    return f"{message} {after}" if after else message


def preemption(nodes: int, resolvable: int, hopeless: int, *, may_preempt: bool, could_help: bool) -> str:
    """What evicting others could do about it. `could_help`: some less important pod is on a node where it might."""
    claims = "no new claims to deallocate, "  # upstream's first resort, resource claims, of which there are none
    if not may_preempt:
        return f"{claims}preemption: not eligible due to preemptionPolicy=Never."
    if could_help:
        return f"{claims}preemption: {_PREEMPTION_NOT_BUILT}."
    counts = {
        "No preemption victims found for incoming pod": resolvable,
        "Preemption is not helpful for scheduling": hopeless if resolvable or hopeless else nodes,
    }
    return f"{claims}preemption: {no_fit(nodes, {reason: count for reason, count in counts.items() if count})}"

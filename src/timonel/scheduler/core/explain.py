"""Why a pod fits nowhere, in the words users and tools know from upstream."""

from __future__ import annotations

from collections.abc import Mapping

_CLAIMS = "no new claims to deallocate, "
"""Upstream's first resort: resource claims, of which there are none."""
NO_VICTIMS = "No preemption victims found for incoming pod"
UNHELPFUL = "Preemption is not helpful for scheduling"


def about_claims(message: str, what: str) -> str:
    """The message of a pod that has claims: what came of looking for devices that could be given back."""
    return message.replace(_CLAIMS, f"{what}, ", 1)


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


def preemption(nodes: int, reasons: Mapping[str, int]) -> str:
    """What evicting others could not do about it; `reasons` counts nodes."""
    return f"{_CLAIMS}preemption: {no_fit(nodes, {why: count for why, count in reasons.items() if count})}"


def not_eligible(why: str) -> str:
    """Why nobody is evicted for the pod, whatever the nodes are like."""
    return f"{_CLAIMS}preemption: not eligible due to {why}."

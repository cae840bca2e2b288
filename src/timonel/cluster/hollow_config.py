"""The section `hollow` of the configuration file."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from timonel.api.quantity import InvalidQuantity, int_value
from timonel.cluster.errors import UserError
from timonel.simulation.behaviour import FAILURES


@dataclass(frozen=True, slots=True)
class HollowNodesConfig:
    """What hollow nodes have, and how their pods behave; a pod's annotations say otherwise for itself."""

    cpu: str = "32"
    memory: str = "256Gi"
    zones: int = 3
    """Nodes are spread over so many zones; 0: none is told."""
    start_seconds: float = 0.0
    """From a pod's binding to the start of its containers."""
    ready_seconds: float = 0.0
    """From the start to readiness."""
    stop_seconds: float = 0.0
    """From the request to delete to the end; never longer than the grace period."""
    job_seconds: float = 1.0
    """How long containers of Jobs run when their command does not tell."""
    failure_rate: float = 0.0
    """Share of the pods that fail, 0 to 1."""
    failures: tuple[str, ...] = ()
    """How they fail: crash, never-ready, image-pull; none listed: all of them."""
    seed: int = 0
    """The same pods fail with the same seed."""
    leases_per_second: float = 50.0
    """So many leases are renewed in a second, however many nodes there are."""


def check_hollow(config: HollowNodesConfig, source: str) -> None:
    """Raises UserError with one line."""
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if field.name != "seed" and isinstance(value, (int, float)) and value < 0:
            head, *rest = field.name.split("_")
            key = head + "".join(part.capitalize() for part in rest)
            raise UserError(f"{source}: hollow.{key} must not be negative")
    for key in ("cpu", "memory"):
        try:
            wrong = int_value(getattr(config, key)) < 1
        except InvalidQuantity:
            wrong = True
        if wrong:
            raise UserError(f"{source}: hollow.{key}: {getattr(config, key)!r} is no quantity such as 32 or 256Gi")
    if config.failure_rate > 1:
        raise UserError(f"{source}: hollow.failureRate is a share, from 0 to 1")
    if config.leases_per_second == 0:
        raise UserError(f"{source}: hollow.leasesPerSecond must be positive, or no node stays Ready")
    for failure in config.failures:
        if failure not in FAILURES:
            raise UserError(f"{source}: hollow.failures: {failure!r} is none of {', '.join(FAILURES)}")

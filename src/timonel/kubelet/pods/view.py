"""What runs of a pod, as plain values read from the runtime; everything the plan and the status know of the world."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

CREATED, RUNNING, EXITED, UNKNOWN = "created", "running", "exited", "unknown"

LOST_EXIT_CODE = 137
LOST_REASON = "ContainerStatusUnknown"
LOST_MESSAGE = "The container could not be located when the pod was terminated"
LOST_BEFORE_MESSAGE = "The container could not be located when the pod was deleted.  The container used to be Running"
"""What is said of a container that ended without a trace, with the machine or with its sandbox."""


@dataclass(frozen=True, slots=True)
class SandboxView:
    id: str
    attempt: int
    ready: bool
    created_at: int
    """Nanoseconds since 1970, as all times here."""
    host_network: bool = False
    ips: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ContainerView:
    id: str
    name: str
    sandbox_id: str
    state: str
    attempt: int = 0
    """How often it had been restarted when this one was made: the restart count."""
    created_at: int = 0
    started_at: int = 0
    finished_at: int = 0
    exit_code: int = 0
    reason: str = ""
    message: str = ""
    image: str = ""
    image_ref: str = ""
    spec_hash: str = ""
    log_path: str = ""


@dataclass(frozen=True, slots=True)
class PodView:
    sandboxes: tuple[SandboxView, ...] = ()
    """Newest first."""
    containers: tuple[ContainerView, ...] = ()
    """Newest first."""

    @property
    def sandbox(self) -> SandboxView | None:
        return self.sandboxes[0] if self.sandboxes else None

    def latest(self, name: str) -> ContainerView | None:
        return next((c for c in self.containers if c.name == name), None)

    def latest_in(self, sandbox_id: str, name: str) -> ContainerView | None:
        return next((c for c in self.containers if c.name == name and c.sandbox_id == sandbox_id), None)

    def instances(self, name: str) -> list[ContainerView]:
        return [c for c in self.containers if c.name == name]

    @property
    def running(self) -> list[ContainerView]:
        return [c for c in self.containers if c.state in (RUNNING, UNKNOWN)]


def make_view(sandboxes: Iterable[SandboxView], containers: Iterable[ContainerView]) -> PodView:
    return PodView(
        tuple(sorted(sandboxes, key=lambda s: (s.created_at, s.attempt), reverse=True)),
        tuple(sorted(containers, key=lambda c: (c.created_at, c.attempt), reverse=True)),
    )


@dataclass(frozen=True, slots=True)
class ProbeState:
    """Results for one container, by its id. None: not known yet; a probe that is not configured counts as passed."""

    startup: bool | None = True
    liveness: bool | None = True
    readiness: bool | None = True


NO_PROBES = ProbeState()


@dataclass(frozen=True, slots=True)
class Waiting:
    reason: str
    message: str = ""


@dataclass(slots=True)
class PodProbes:
    """Probe results of a pod's containers by CRI id; a container not listed has no probes."""

    by_id: dict[str, ProbeState] = field(default_factory=dict)

    def of(self, container_id: str) -> ProbeState:
        return self.by_id.get(container_id, NO_PROBES)

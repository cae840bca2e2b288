"""What can be set about the scheduler."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class SchedulerConfig:
    scheduler_names: tuple[str, ...] = ("default-scheduler",)
    """Pods with one of these as spec.schedulerName are placed; others are left alone."""
    writers: int = 32
    """Bindings and status writes under way at once: enough to keep the API server's group commit busy."""
    backlog: int = 256
    """Decisions that may wait to be written before deciding pauses; more would only age."""
    bind_timeout_seconds: float = 600.0
    """How long volumes may take to be made and bound before the pod is decided about again."""
    slice_seconds: float = 0.01
    """How long decisions may follow one another before the event loop gets its turn: events must get in."""

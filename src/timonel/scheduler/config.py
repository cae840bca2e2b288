"""What can be set about the scheduler."""

from __future__ import annotations

from dataclasses import dataclass, field

from timonel.scheduler.configuration.reading import SchedulerConfiguration


@dataclass(frozen=True, slots=True)
class SchedulerConfig:
    configuration: SchedulerConfiguration = field(default_factory=SchedulerConfiguration)
    """Profiles: pods with the name of one as spec.schedulerName are placed, others are left alone; and extenders."""
    writers: int = 32
    """Bindings and status writes under way at once: enough to keep the API server's group commit busy."""
    backlog: int = 256
    """Decisions that may wait to be written before deciding pauses; more would only age."""
    slice_seconds: float = 0.01
    """How long decisions may follow one another before the event loop gets its turn: events must get in."""

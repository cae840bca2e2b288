"""How long admission takes, plugin by plugin: numbers that become metrics when somebody asks."""

from __future__ import annotations

from timonel.api.buckets import Buckets

_SECONDS = (0.005, 0.025, 0.1, 0.5, 1.0, 2.5)
Labels = tuple[str, ...]


class AdmissionTimes:
    """How long plugins took, each and all of one step together."""

    def __init__(self) -> None:
        self.plugins: dict[Labels, Buckets] = {}
        self.steps: dict[Labels, Buckets] = {}

    def of_plugin(self, name: str, operation: str, step: str, *, rejected: bool) -> Buckets:
        """`step`: admit or validate."""
        return _find(self.plugins, (name, operation, str(rejected).lower(), step))

    def of_step(self, operation: str, step: str, *, rejected: bool) -> Buckets:
        return _find(self.steps, (operation, str(rejected).lower(), step))


def _find(found: dict[Labels, Buckets], labels: Labels) -> Buckets:
    buckets = found.get(labels)
    if buckets is None:
        buckets = found[labels] = Buckets(_SECONDS)
    return buckets

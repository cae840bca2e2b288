"""How hollow pods behave: defaults of the whole simulation, what a pod's annotations say, and what chance says. Pure.

metadata:
  annotations:
    hollow.timonel/start-seconds: "2"      # from the binding to the containers' start, as if images were pulled
    hollow.timonel/ready-seconds: "1"      # from the start to readiness
    hollow.timonel/run-seconds: "30"       # the containers end by themselves after so long
    hollow.timonel/exit-code: "3"          # with this code
    hollow.timonel/stop-seconds: "5"       # how long they take to end when they are told to
    hollow.timonel/failure: crash          # or never-ready, image-pull, none
"""

from __future__ import annotations

import dataclasses
import math
import zlib
from dataclasses import dataclass

from timonel.api.objects import Object, annotations_of, name_of, namespace_of

PREFIX = "hollow.timonel/"
CRASH, NEVER_READY, IMAGE_PULL, NONE = "crash", "never-ready", "image-pull", "none"
FAILURES = (CRASH, NEVER_READY, IMAGE_PULL)


@dataclass(frozen=True, slots=True)
class Behaviour:
    """Times in seconds."""

    start_seconds: float = 0.0
    """From a pod's binding to the start of its containers. With 0, a pod is Running in one write of its status."""
    ready_seconds: float = 0.0
    """From a container's start to its readiness, for one with a readiness probe at least its initial delay."""
    run_seconds: float | None = None
    """None: as the command says, else for ever, or `job_seconds` in pods that are meant to end."""
    exit_code: int = 0
    """After `run_seconds`."""
    stop_seconds: float = 0.0
    """From the request to delete to the end of the containers; never longer than the grace period."""
    job_seconds: float = 1.0
    """How long containers of pods that are not always restarted run when nothing else tells."""
    failure: str = ""
    """crash, never-ready or image-pull; none and "" behave well."""


@dataclass(frozen=True, slots=True)
class Chance:
    """Which share of the pods fails, and how: the same pods with the same seed."""

    rate: float = 0.0
    """0 to 1."""
    failures: tuple[str, ...] = FAILURES
    seed: int = 0

    def draw(self, pod: Object) -> str:
        if self.rate <= 0 or not self.failures:
            return ""
        number = zlib.crc32(f"{self.seed}/{namespace_of(pod)}/{name_of(pod)}".encode()) / 2**32
        if number >= self.rate:
            return ""
        return self.failures[int(number / self.rate * len(self.failures))]


class InvalidAnnotation(ValueError):
    """Names the annotation and what is wrong with it."""


def behaviour_of(pod: Object, defaults: Behaviour, chance: Chance) -> Behaviour:
    """Raises InvalidAnnotation."""
    changes: dict[str, float | int | str] = {}
    if not defaults.failure and (failure := chance.draw(pod)):
        changes["failure"] = failure
    for key, text in annotations_of(pod).items():
        if key.startswith(PREFIX):
            name, value = _parse(key, text)
            changes[name] = value
    return dataclasses.replace(defaults, **changes) if changes else defaults  # type: ignore[arg-type]


def _parse(key: str, text: str) -> tuple[str, float | int | str]:
    name = key.removeprefix(PREFIX)
    if name == "failure":
        if text not in (*FAILURES, NONE):
            raise InvalidAnnotation(f"annotation {key}: {text!r} is none of {', '.join((*FAILURES, NONE))}")
        return name, text
    if name == "exit-code":
        if not text.isdigit() or int(text) > 255:
            raise InvalidAnnotation(f"annotation {key}: {text!r} is no number from 0 to 255")
        return "exit_code", int(text)
    if name not in ("start-seconds", "ready-seconds", "run-seconds", "stop-seconds"):
        raise InvalidAnnotation(f"annotation {key} is unknown")
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 <= seconds < math.inf:
        raise InvalidAnnotation(f"annotation {key}: {text!r} is no number of seconds")
    return name.replace("-", "_"), seconds

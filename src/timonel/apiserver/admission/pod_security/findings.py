"""What a check finds in a pod, and the few ways in which checks say it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from timonel.api.objects import Object
from timonel.api.pod_references import all_containers


@dataclass(frozen=True, slots=True)
class Finding:
    """`reason` is short, for lists of many pods; `detail` names what must change."""

    reason: str
    detail: str = ""

    def __str__(self) -> str:
        return f"{self.reason} ({self.detail})" if self.detail else self.reason


@dataclass(frozen=True, slots=True)
class Check:
    """`run` gets a pod, or a pod template, and the minor version of the standard; `since` is the first that has it."""

    name: str
    run: Callable[[Object, int], Finding | None]
    since: int = 0


def security_context(holder: Object) -> Object:
    """Of a pod's spec or of a container; empty when there is none."""
    return holder.get("securityContext") or {}


def containers_where(pod: Object, is_bad: Callable[[Object], bool]) -> list[str]:
    return [container.get("name") or "" for container in all_containers(pod) if is_bad(container)]


def named(names: Sequence[str], singular: str = "container") -> str:
    """Gives `container "a"` or `containers "a", "b"`."""
    return f"{plural(singular, names)} {quoted(names)}"


def setters(pod_is_bad: bool, containers: Sequence[str]) -> list[str]:
    """Who set something: "pod", the containers, or both; joined with " and " in messages."""
    return (["pod"] if pod_is_bad else []) + ([named(containers)] if containers else [])


def quoted(values: Iterable[str]) -> str:
    return ", ".join(f'"{value}"' for value in values)


def plural(word: str, items: Sequence[Any] | set[str]) -> str:
    return word if len(items) == 1 else f"{word}s"


def has_user_namespace(pod: Object) -> bool:
    return pod["spec"].get("hostUsers") is False


def is_windows(pod: Object) -> bool:
    return (pod["spec"].get("os") or {}).get("name") == "windows"

"""Pods that are placed together or not at all, for the plugin Coscheduling, which a profile has to enable.

The groups of Kubernetes' own API (scheduling.k8s.io) are alpha in v1.36 and not served by default, so a group is told
by the two labels of lightweight coscheduling: the group's name, and how many of its pods there must be room for.
Source: the SIG Scheduling project scheduler-plugins, KEP 2 "lightweight coscheduling"
"""

from __future__ import annotations

from typing import NamedTuple

from timonel.scheduler.core.pods import Pod

NAME_LABEL = "pod-group.scheduling.sigs.k8s.io/name"
SIZE_LABEL = "pod-group.scheduling.sigs.k8s.io/min-available"
PLUGIN = "Coscheduling"


class GangKey(NamedTuple):
    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


class Gang(NamedTuple):
    key: GangKey
    size: int
    """How many of its pods must have a place before any of them is bound."""


def gang_of(pod: Pod) -> Gang | str | None:
    """None for a pod that is in no group; or what is wrong with its labels."""
    labels = pod.klass.labels
    name = labels.get(NAME_LABEL)
    if not name:
        return None
    size = labels.get(SIZE_LABEL, "")
    if not (size.isascii() and size.isdigit()) or int(size) < 1:
        return f'label {SIZE_LABEL} of a pod of group "{name}" must be a positive whole number, not "{size}"'
    return Gang(GangKey(pod.key[0], name), int(size))


class Gangs:
    """Which pods there are of each group: waiting or placed, and not ended."""

    def __init__(self) -> None:
        self._members: dict[GangKey, set[str]] = {}
        self._gang_of: dict[str, GangKey] = {}

    def seen(self, pod: Pod) -> list[str]:
        """Of a pod that is new in its group, the others: they may have waited for it."""
        name = pod.klass.labels.get(NAME_LABEL)
        key = GangKey(pod.key[0], name) if name else None
        if self._gang_of.get(pod.uid) == key:
            return []
        self.gone(pod.uid)
        if key is None:
            return []
        self._gang_of[pod.uid] = key
        others = self._members.setdefault(key, set())
        found = sorted(others)
        others.add(pod.uid)
        return found

    def gone(self, uid: str) -> None:
        key = self._gang_of.pop(uid, None)
        if key is not None:
            members = self._members[key]
            members.discard(uid)
            if not members:
                del self._members[key]

    def members(self, key: GangKey) -> frozenset[str]:
        """Their uids."""
        return frozenset(self._members.get(key, ()))

    def blocked(self, pod: Pod) -> str:
        """Why a pod of a group need not be tried yet."""
        gang = gang_of(pod)
        if gang is None or isinstance(gang, str):
            return gang or ""
        there = len(self._members.get(gang.key, ()))
        if there >= gang.size:
            return ""
        return f"cannot find enough sibling pods, current pods number: {there}, minMember of group: {gang.size}"

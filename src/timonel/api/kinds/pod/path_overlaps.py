"""Warnings of files in one volume that would hide each other: the same path twice, or a file where a folder must be."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from timonel.api.field_errors import quote
from timonel.api.objects import Object


class _Target(NamedTuple):
    path: str
    source: str

    def __str__(self) -> str:
        return f"{quote(self.path)} ({self.source})" if self.source else quote(self.path)


def overlap_warnings(volumes: Iterable[Object]) -> list[str]:
    found: list[str] = []
    for volume in volumes:
        name = quote(volume.get("name") or "")
        for kind, label, named in (
            ("configMap", "ConfigMap", "name"), ("secret", "Secret", "secretName"), ("downwardAPI", "DownwardAPI", ""),
        ):  # fmt: skip
            source = volume.get(kind)
            if source is None:
                continue
            described = f"{label} {quote(source.get(named) or '')}" if named else label
            found += _warn(name, described, _targets(source, ""))
        projected = volume.get("projected")
        if projected is not None:
            targets: list[_Target] = []
            for source in projected.get("sources") or ():
                if not source:
                    found.append(f"volume {name} (Projected) has no sources provided")
                before = len(targets)
                targets += _projected_targets(source)
                found += _warn(name, "Projected", targets, before)
    return found


def _targets(source: Object, described: str) -> list[_Target]:
    return [_Target((item.get("path") or "").rstrip("/"), described) for item in source.get("items") or ()]


def _projected_targets(source: Object) -> list[_Target]:
    for kind, label in (("configMap", "ConfigMap"), ("secret", "Secret"), ("downwardAPI", "DownwardAPI")):
        keyed = source.get(kind)
        if keyed is not None and keyed.get("items"):
            return _targets(keyed, label if kind == "downwardAPI" else f"{label} {quote(keyed.get('name') or '')}")
    token = source.get("serviceAccountToken")
    return [] if token is None else [_Target((token.get("path") or "").rstrip("/"), "ServiceAccountToken")]


def _warn(volume: str, described: str, targets: list[_Target], start: int = 0) -> list[str]:
    """Of the targets from `start` on; earlier ones have been looked at."""
    found = []
    for index, target in enumerate(targets[start:], start):
        for earlier in targets[:index]:
            if target.path and earlier.path and _overlap(target.path, earlier.path):
                found.append(f"volume {volume} ({described}): overlapping paths: {target} with {earlier}")
    return found


def _overlap(one: str, other: str) -> bool:
    return f"{one}/".startswith(f"{other}/") or f"{other}/".startswith(f"{one}/")

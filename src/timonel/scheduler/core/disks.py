"""Disks that pods name themselves, without a claim: some of them allow one user at a time.

Source: kubernetes.io/docs/reference/scheduling/config/#scheduling-plugins, "VolumeRestrictions"; what conflicts with
what is upstream's.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from timonel.api.objects import Object

DISKS = ("gcePersistentDisk", "awsElasticBlockStore", "iscsi", "rbd")
"""Their fields in a pod's volumes."""


@dataclass(frozen=True, slots=True)
class Disk:
    ids: frozenset[tuple[str, str]]
    """(kind, name): two disks that share one are the same disk."""
    read_only: bool


def parse_disks(spec: Object) -> Iterator[Disk]:
    for volume in spec.get("volumes") or ():
        if source := volume.get("gcePersistentDisk"):
            yield Disk(frozenset({("gce", source.get("pdName") or "")}), bool(source.get("readOnly")))
        elif source := volume.get("awsElasticBlockStore"):
            # Not even readers can share one.
            yield Disk(frozenset({("aws", source.get("volumeID") or "")}), False)
        elif source := volume.get("iscsi"):
            yield Disk(frozenset({("iscsi", source.get("iqn") or "")}), bool(source.get("readOnly")))
        elif source := volume.get("rbd"):
            image = f"{source.get('pool') or 'rbd'}/{source.get('image') or ''}"
            ids = frozenset(("rbd", f"{monitor}/{image}") for monitor in source.get("monitors") or ())
            yield Disk(ids, bool(source.get("readOnly")))

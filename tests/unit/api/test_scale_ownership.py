"""Who owns the replicas of a workload, seen and changed through its Scale."""

from __future__ import annotations

from typing import Any

from timonel.api.managed_fields.scale import managed_of_scale, managed_of_workload

Object = dict[str, Any]

_REPLICAS = {"f:spec": {"f:replicas": {}}}


def _entry(manager: str, operation: str, fields: Object, api_version: str = "apps/v1", **more: str) -> Object:
    return {
        "manager": manager, "operation": operation, "apiVersion": api_version, "time": "2026-01-01T00:00:00Z",
        "fieldsType": "FieldsV1", "fieldsV1": fields, **more,
    }  # fmt: skip


def test_a_scale_shows_only_who_owns_the_replicas() -> None:
    owner = _entry("a", "Apply", {"f:spec": {"f:replicas": {}, "f:paused": {}}})
    shown = managed_of_scale([owner, _entry("b", "Update", {"f:spec": {"f:paused": {}}})])
    assert [(entry["manager"], entry["apiVersion"], entry["fieldsV1"]) for entry in shown] == [
        ("a", "autoscaling/v1", _REPLICAS)
    ]


def test_who_no_longer_owns_the_scale_loses_the_replicas_alone() -> None:
    before = [_entry("a", "Apply", {"f:spec": {"f:replicas": {}, "f:paused": {}}}), _entry("b", "Update", _REPLICAS)]
    scale = [_entry("hpa", "Apply", _REPLICAS, "autoscaling/v1", subresource="scale")]
    after = managed_of_workload(before, scale, "apps/v1")
    assert [(entry["manager"], entry["fieldsV1"], entry.get("subresource")) for entry in after] == [
        ("hpa", _REPLICAS, "scale"),
        ("a", {"f:spec": {"f:paused": {}}}, None),
    ]
    assert "time" not in after[0]
    assert after[1]["time"] == "2026-01-01T00:00:00Z"


def test_an_updater_keeps_its_entry_whatever_the_version() -> None:
    before = [_entry("a", "Update", _REPLICAS, subresource="scale")]
    assert managed_of_workload(before, managed_of_scale(before), "apps/v1") == before

"""Rows of the kinds that come with the controllers: names, storage, fields, columns, what defaults write."""

from __future__ import annotations

from typing import Any

import pytest

from timonel.api import refs
from timonel.api.kinds.componentstatus import component_status
from timonel.api.objects import Object
from timonel.api.refs import ResourceRef
from timonel.api.resource import Resource
from timonel.api.schema import schemas

from .samples import TABLE, WORKLOAD_FAMILIES, ago, cells, created, deployment
from .test_autoscalers import FULL, TARGET, autoscaler
from .test_cron_jobs import cron_job
from .test_daemon_and_stateful_sets import claim, template, workload
from .test_jobs import UID, job

ALL = ("all",)
ROWS: list[tuple[ResourceRef, str, tuple[str, ...], tuple[str, ...], set[str], set[str]]] = [
    (refs.CONTROLLER_REVISIONS, "/registry/controllerrevisions/", (), (), set(), set()),
    (refs.DAEMON_SETS, "/registry/daemonsets/", ("ds",), ALL, {"status"}, set()),
    (refs.STATEFUL_SETS, "/registry/statefulsets/", ("sts",), ALL, {"scale", "status"}, set()),
    (refs.JOBS, "/registry/jobs/", (), ALL, {"status"}, {"status.successful"}),
    (refs.CRON_JOBS, "/registry/cronjobs/", ("cj",), ALL, {"status"}, set()),
    (refs.HORIZONTAL_POD_AUTOSCALERS, "/registry/horizontalpodautoscalers/", ("hpa",), ALL, {"status"}, set()),
    (refs.HORIZONTAL_POD_AUTOSCALERS_V1, "/registry/horizontalpodautoscalers/", ("hpa",), ALL, {"status"}, set()),
    (refs.POD_DISRUPTION_BUDGETS, "/registry/poddisruptionbudgets/", ("pdb",), (), {"status"}, set()),
    (refs.REPLICATION_CONTROLLERS, "/registry/controllers/", ("rc",), ALL, {"scale", "status"}, {"status.replicas"}),
    (refs.POD_TEMPLATES, "/registry/podtemplates/", (), (), set(), set()),
    (refs.LIMIT_RANGES, "/registry/limitranges/", ("limits",), (), set(), set()),
    (refs.RESOURCE_QUOTAS, "/registry/resourcequotas/", ("quota",), (), {"status"}, set()),
    (refs.COMPONENT_STATUSES, "", ("cs",), (), set(), set()),
]


@pytest.mark.parametrize(("ref", "prefix", "short", "categories", "subresources", "fields"), ROWS)
def test_rows(
    ref: ResourceRef, prefix: str, short: tuple[str, ...], categories: tuple[str, ...], subresources: set[str],
    fields: set[str],
) -> None:  # fmt: skip
    row = TABLE.row(ref)
    assert (row.storage_prefix, row.short_names, row.categories) == (prefix, short, categories)
    assert {sub.name for sub in row.subresources} == subresources
    assert row.has_status == ("status" in subresources)
    assert set(row.selectable_fields) == fields


def test_every_row_is_tested() -> None:
    assert {row.ref for row in WORKLOAD_FAMILIES} == {ref for ref, *_ in ROWS}


@pytest.mark.parametrize("row", WORKLOAD_FAMILIES, ids=lambda row: row.definition)
def test_definition_is_in_the_schema(row: Resource) -> None:
    assert schemas().has(row.definition)
    assert row.definition.endswith(f".{row.ref.version}.{row.ref.kind}")


def test_component_statuses_are_only_read() -> None:
    row = TABLE.row(refs.COMPONENT_STATUSES)
    assert row.verbs == ("get", "list")
    assert row.deprecation == "v1 ComponentStatus is deprecated in v1.19+"


def test_selectable_values() -> None:
    assert TABLE.row(refs.JOBS).selectable_fields["status.successful"]({"status": {"succeeded": 2}}) == "2"
    assert TABLE.row(refs.REPLICATION_CONTROLLERS).selectable_fields["status.replicas"]({}) == "0"


@pytest.mark.parametrize(
    ("ref", "obj"),
    [
        (refs.DAEMON_SETS, workload(refs.DAEMON_SETS)),
        (refs.STATEFUL_SETS, workload(refs.STATEFUL_SETS, volumeClaimTemplates=[claim()])),
        (refs.REPLICATION_CONTROLLERS, workload(refs.REPLICATION_CONTROLLERS)),
        (refs.JOBS, job()),
        (refs.CRON_JOBS, cron_job()),
        (refs.HORIZONTAL_POD_AUTOSCALERS, autoscaler(behavior={})),
        (refs.POD_DISRUPTION_BUDGETS, {"metadata": {"name": "x"}}),
        (refs.POD_TEMPLATES, template()),
        (
            refs.LIMIT_RANGES,
            {"metadata": {"name": "x"}, "spec": {"limits": [{"type": "Container", "max": {"cpu": 1}}]}},
        ),
        (refs.RESOURCE_QUOTAS, {"metadata": {"name": "x"}, "spec": {"hard": {"cpu": "1"}}}),
        (refs.CONTROLLER_REVISIONS, {"metadata": {"name": "x"}, "data": {}, "revision": 1}),
    ],
    ids=lambda value: value.kind if isinstance(value, ResourceRef) else "",
)
def test_what_defaults_write_is_in_the_schema_and_stays(ref: ResourceRef, obj: Object) -> None:
    made = created(ref, obj)
    checked = schemas().check(TABLE.row(ref).definition, made)
    assert (checked.unknown, checked.error) == ([], None)
    again = created(ref, made)
    assert again == made


def titles(ref: ResourceRef) -> list[str]:
    return [f"{column.name}{'*' if column.priority else ''}" for column in TABLE.row(ref).columns]


WIDE = ["Containers*", "Images*", "Selector*"]


@pytest.mark.parametrize(
    ("ref", "expected"),
    [
        (refs.DAEMON_SETS, ["Name", "Desired", "Current", "Ready", "Up-to-date", "Available", "Node Selector", "Age",
                            *WIDE]),
        (refs.STATEFUL_SETS, ["Name", "Ready", "Age", "Containers*", "Images*"]),
        (refs.CONTROLLER_REVISIONS, ["Name", "Controller", "Revision", "Age"]),
        (refs.JOBS, ["Name", "Status", "Completions", "Duration", "Age", *WIDE]),
        (refs.CRON_JOBS, ["Name", "Schedule", "Timezone", "Suspend", "Active", "Last Schedule", "Age", *WIDE]),
        (refs.HORIZONTAL_POD_AUTOSCALERS, ["Name", "Reference", "Targets", "MinPods", "MaxPods", "Replicas", "Age"]),
        (refs.POD_DISRUPTION_BUDGETS, ["Name", "Min Available", "Max Unavailable", "Allowed Disruptions", "Age"]),
        (refs.REPLICATION_CONTROLLERS, ["Name", "Desired", "Current", "Ready", "Age", *WIDE]),
        (refs.POD_TEMPLATES, ["Name", "Containers", "Images", "Pod Labels"]),
        (refs.LIMIT_RANGES, ["Name", "Created At"]),
        (refs.RESOURCE_QUOTAS, ["Name", "Request", "Limit", "Age"]),
        (refs.COMPONENT_STATUSES, ["Name", "Status", "Message", "Error"]),
    ],
    ids=lambda value: value.kind if isinstance(value, ResourceRef) else "",
)  # fmt: skip
def test_titles(ref: ResourceRef, expected: list[str]) -> None:
    assert titles(ref) == expected


def test_daemon_set_cells() -> None:
    obj = workload(refs.DAEMON_SETS)
    obj["spec"]["template"]["spec"]["nodeSelector"] = {"disk": "ssd"}
    obj["status"] = {"desiredNumberScheduled": 3, "currentNumberScheduled": 2, "numberReady": 1, "numberAvailable": 1}
    assert cells(refs.DAEMON_SETS, obj, wide=True) == {
        "Name": "web", "Desired": 3, "Current": 2, "Ready": 1, "Up-to-date": 0, "Available": 1,
        "Node Selector": "disk=ssd", "Age": "2d", "Containers": "app,log", "Images": "nginx:1,busybox",
        "Selector": "app=web",
    }  # fmt: skip


def test_stateful_set_cells() -> None:
    obj = {**deployment(replicas=3), "status": {"readyReplicas": 1}}
    assert cells(refs.STATEFUL_SETS, obj) == {"Name": "web", "Ready": "1/3", "Age": "2d"}


def test_replication_controller_cells() -> None:
    obj = {**workload(refs.REPLICATION_CONTROLLERS, replicas=3), "status": {"replicas": 2, "readyReplicas": 1}}
    assert cells(refs.REPLICATION_CONTROLLERS, obj, wide=True) == {
        "Name": "web", "Desired": 3, "Current": 2, "Ready": 1, "Age": "2d", "Containers": "app,log",
        "Images": "nginx:1,busybox", "Selector": "app=web",
    }  # fmt: skip


def test_controller_revision_cells() -> None:
    owner = {"apiVersion": "apps/v1", "kind": "StatefulSet", "name": "web", "controller": True}
    obj = {"metadata": {"name": "web-1", "creationTimestamp": ago(hours=5)}, "revision": 4}
    assert cells(refs.CONTROLLER_REVISIONS, obj) == {
        "Name": "web-1", "Controller": "<none>", "Revision": 4, "Age": "5h",
    }  # fmt: skip
    obj["metadata"]["ownerReferences"] = [owner]  # type: ignore[index]
    assert cells(refs.CONTROLLER_REVISIONS, obj)["Controller"] == "statefulset.apps/web"


@pytest.mark.parametrize(
    ("status", "metadata", "expected"),
    [
        ({}, {}, ("Running", "0/1", "")),
        ({"startTime": ago(minutes=5)}, {}, ("Running", "0/1", "5m")),
        (
            {"startTime": ago(minutes=5), "completionTime": ago(minutes=4), "succeeded": 1,
             "conditions": [{"type": "SuccessCriteriaMet", "status": "True"}, {"type": "Complete", "status": "True"}]},
            {},
            ("Complete", "1/1", "60s"),
        ),
        ({"conditions": [{"type": "Failed", "status": "True"}]}, {"deletionTimestamp": ago()}, ("Failed", "0/1", "")),
        ({"conditions": [{"type": "Suspended", "status": "True"}]}, {}, ("Suspended", "0/1", "")),
        ({"conditions": [{"type": "Suspended", "status": "False"}]}, {}, ("Running", "0/1", "")),
        (
            {"conditions": [{"type": "Suspended", "status": "True"}]},
            {"deletionTimestamp": ago()},
            ("Terminating", "0/1", ""),
        ),
        ({"conditions": [{"type": "FailureTarget", "status": "True"}]}, {}, ("FailureTarget", "0/1", "")),
    ],
)  # fmt: skip
def test_job_cells(status: Object, metadata: Object, expected: tuple[str, str, str]) -> None:
    obj = created(refs.JOBS, job())
    obj["metadata"].update(metadata)
    obj["status"] = status
    row = cells(refs.JOBS, obj, wide=True)
    assert (row["Status"], row["Completions"], row["Duration"]) == expected
    assert row["Selector"] == f"batch.kubernetes.io/controller-uid={UID}"


@pytest.mark.parametrize(("parallelism", "expected"), [(1, "0/1"), (3, "0/1 of 3")])
def test_jobs_that_end_with_the_first_success(parallelism: int, expected: str) -> None:
    assert cells(refs.JOBS, created(refs.JOBS, job(parallelism=parallelism)))["Completions"] == expected


def test_cron_job_cells() -> None:
    obj = created(refs.CRON_JOBS, cron_job())
    obj["metadata"]["creationTimestamp"] = ago(days=1)
    row = cells(refs.CRON_JOBS, obj, wide=True)
    assert row == {
        "Name": "backup", "Schedule": "0 3 * * *", "Timezone": "<none>", "Suspend": "False", "Active": 0,
        "Last Schedule": "<none>", "Age": "24h", "Containers": "pi", "Images": "perl", "Selector": "<none>",
    }  # fmt: skip
    obj["spec"].update(suspend=True, timeZone="Asia/Tokyo")
    obj["status"] = {"active": [{}], "lastScheduleTime": ago(hours=9)}
    row = cells(refs.CRON_JOBS, obj)
    assert (row["Timezone"], row["Suspend"], row["Active"], row["Last Schedule"]) == ("Asia/Tokyo", "True", 1, "9h")


def metric(kind: str, **source: Any) -> Object:
    return {"type": kind, kind[:1].lower() + kind[1:]: source}


@pytest.mark.parametrize(
    ("metrics", "current", "expected"),
    [
        ([], [], "<none>"),
        ([metric("Resource", name="cpu", target={"averageUtilization": 80})], [], "cpu: <unknown>/80%"),
        (
            [metric("Resource", name="cpu", target={"averageUtilization": 80})],
            [metric("Resource", name="cpu", current={"averageUtilization": 0, "averageValue": "1m"})],
            "cpu: 0%/80%",
        ),
        (
            [metric("ContainerResource", name="memory", target={"averageValue": "1Gi"})],
            [metric("ContainerResource", name="memory", current={"averageValue": "7Mi"})],
            "memory: 7Mi/1Gi",
        ),
        ([metric("Resource", name="cpu", target={})], [], "cpu: <unknown>/<auto>"),
        (
            [metric("Pods", target={"averageValue": "5"}), metric("External", target={"averageValue": "5"})],
            [metric("Pods", current={"averageValue": "3"})],
            "3/5, <unknown>/5 (avg)",
        ),
        (
            [metric("Object", target={"value": "5"}), metric("External", target={"value": "6"}), metric("Pods")],
            [metric("Object", current={"value": "1"}), metric("External", current={"value": "2"})],
            "1/5, 2/6 + 1 more...",
        ),
        ([{"type": "Magic"}], [], "<unknown type>"),
    ],
)
def test_autoscaler_targets(metrics: list[Object], current: list[Object], expected: str) -> None:
    obj = {**autoscaler(metrics=metrics), "status": {"currentMetrics": current}}
    assert cells(refs.HORIZONTAL_POD_AUTOSCALERS, obj)["Targets"] == expected


def test_autoscaler_cells() -> None:
    row = cells(refs.HORIZONTAL_POD_AUTOSCALERS_V1, FULL)
    assert (row["Reference"], row["MinPods"], row["MaxPods"], row["Replicas"]) == ("Deployment/web", "2", 10, 3)
    unset = {"metadata": {"name": "x"}, "spec": {"scaleTargetRef": TARGET}}
    row = cells(refs.HORIZONTAL_POD_AUTOSCALERS, unset)
    assert (row["MinPods"], row["MaxPods"], row["Replicas"]) == ("<unset>", 0, 0)


def test_budget_cells() -> None:
    obj = {"metadata": {"name": "x"}, "spec": {"minAvailable": 0}, "status": {"disruptionsAllowed": 2}}
    assert cells(refs.POD_DISRUPTION_BUDGETS, obj) == {
        "Name": "x", "Min Available": "0", "Max Unavailable": "N/A", "Allowed Disruptions": 2, "Age": "<unknown>",
    }  # fmt: skip


def test_pod_template_cells() -> None:
    assert cells(refs.POD_TEMPLATES, template(labels={"b": "2", "a": "1"})) == {
        "Name": "t", "Containers": "app", "Images": "nginx", "Pod Labels": "a=1,b=2",
    }  # fmt: skip


def test_quota_cells() -> None:
    status = {"hard": {"pods": "10", "limits.cpu": "4", "cpu": "2"}, "used": {"pods": "3", "limits.cpu": "1"}}
    row = cells(refs.RESOURCE_QUOTAS, {"metadata": {"name": "x"}, "status": status})
    assert (row["Request"], row["Limit"]) == ("cpu: 0/2, pods: 3/10", "limits.cpu: 1/4")


def test_component_status_cells() -> None:
    assert cells(refs.COMPONENT_STATUSES, component_status("scheduler", False, "bad", "refused")) == {
        "Name": "scheduler", "Status": "Unhealthy", "Message": "bad", "Error": "refused",
    }  # fmt: skip
    # As upstream shows it: whoever did not answer is not healthy.
    assert cells(refs.COMPONENT_STATUSES, component_status("scheduler", None))["Status"] == "Unhealthy"
    assert cells(refs.COMPONENT_STATUSES, {"metadata": {"name": "x"}})["Status"] == "Unknown"

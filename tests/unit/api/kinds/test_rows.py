"""The table of kinds against the public API documentation and upstream's storage layout."""

from __future__ import annotations

import pytest

from timonel.api import refs
from timonel.api.kinds import BUILTIN
from timonel.api.objects import Object
from timonel.api.refs import ResourceRef
from timonel.api.resource import STORED_VERBS, Resource
from timonel.api.schema import schemas

from .samples import created, deployment, pod, service

ALL_REFS = [ref for ref in vars(refs).values() if isinstance(ref, ResourceRef)]


@pytest.mark.parametrize("row", BUILTIN.rows, ids=lambda row: f"{row.ref.plural}.{row.ref.group}")
def test_every_row_is_found_by_its_reference(row: Resource) -> None:
    ref = row.ref
    assert ref in ALL_REFS
    assert BUILTIN.row(ref) is row
    assert BUILTIN.find_kind(ref.group, ref.version, ref.kind) is row


@pytest.mark.parametrize("row", BUILTIN.rows, ids=lambda row: row.definition)
def test_definition_is_in_the_schema(row: Resource) -> None:
    assert schemas().has(row.definition)


@pytest.mark.parametrize(
    ("ref", "prefix"),
    [
        (refs.PODS, "/registry/pods/"),
        (refs.SERVICES, "/registry/services/specs/"),
        (refs.ENDPOINTS, "/registry/services/endpoints/"),
        (refs.NODES, "/registry/minions/"),
        (refs.EVENTS, "/registry/events/"),
        (refs.EVENTS_V1, "/registry/events/"),
        (refs.DEPLOYMENTS, "/registry/deployments/"),
        (refs.CLUSTER_ROLES, "/registry/clusterroles/"),
        (refs.LEASES, "/registry/leases/"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_storage_has_upstreams_layout(ref: ResourceRef, prefix: str) -> None:
    assert BUILTIN.row(ref).storage_prefix == prefix


def test_reviews_are_only_created_and_never_stored() -> None:
    made_up = (refs.COMPONENT_STATUSES, refs.NODE_METRICS, refs.POD_METRICS)
    reviews = [row for row in BUILTIN.rows if not row.storage_prefix and row.ref not in made_up]
    assert {row.ref.kind for row in reviews} == {
        "Binding", "TokenReview", "SelfSubjectReview", "SubjectAccessReview", "SelfSubjectAccessReview",
        "LocalSubjectAccessReview", "SelfSubjectRulesReview",
    }  # fmt: skip
    assert all(row.verbs == ("create",) for row in reviews)


def test_namespaces_cannot_be_deleted_together() -> None:
    assert set(STORED_VERBS) - set(BUILTIN.row(refs.NAMESPACES).verbs) == {"deletecollection"}


@pytest.mark.parametrize(
    ("ref", "names"),
    [
        (
            refs.PODS,
            {
                "attach", "binding", "ephemeralcontainers", "eviction", "exec", "log", "portforward", "proxy", "resize",
                "status",
            },
        ),
        (refs.NAMESPACES, {"finalize", "status"}),
        (refs.NODES, {"proxy", "status"}),
        (refs.SERVICES, {"proxy", "status"}),
        (refs.SERVICE_ACCOUNTS, {"token"}),
        (refs.DEPLOYMENTS, {"scale", "status"}),
        (refs.REPLICA_SETS, {"scale", "status"}),
        (refs.CONFIGMAPS, set()),
    ],
    ids=lambda value: "",
)  # fmt: skip
def test_subresources(ref: ResourceRef, names: set[str]) -> None:
    row = BUILTIN.row(ref)
    assert {sub.name for sub in row.subresources} == names
    assert row.has_status == ("status" in names)


@pytest.mark.parametrize(
    ("ref", "fields"),
    [
        (
            refs.PODS,
            {
                "spec.nodeName", "spec.host", "spec.restartPolicy", "spec.schedulerName", "spec.serviceAccountName",
                "spec.hostNetwork", "status.phase", "status.podIP", "status.podIPs", "status.nominatedNodeName",
            },
        ),
        (refs.NODES, {"spec.unschedulable"}),
        (refs.SECRETS, {"type"}),
        (refs.SERVICES, {"spec.clusterIP", "spec.type"}),
        (refs.CONFIGMAPS, set()),
        (refs.REPLICA_SETS, set()),
    ],
    ids=lambda value: "",
)  # fmt: skip
def test_selectable_fields(ref: ResourceRef, fields: set[str]) -> None:
    assert set(BUILTIN.row(ref).selectable_fields) == fields


def test_selectable_fields_of_both_event_shapes_read_the_stored_one() -> None:
    stored = {
        "involvedObject": {"kind": "Pod", "name": "web"},
        "reason": "Killing",
        "reportingComponent": "kubelet",
        "source": {"component": "kubelet", "host": "n1"},
    }
    core, shaped = BUILTIN.row(refs.EVENTS).selectable_fields, BUILTIN.row(refs.EVENTS_V1).selectable_fields
    assert core["involvedObject.name"](stored) == shaped["regarding.name"](stored) == "web"
    assert core["reportingComponent"](stored) == shaped["reportingController"](stored) == "kubelet"
    assert core["source"](stored) == "kubelet"
    assert core["source"]({"reportingComponent": "scheduler"}) == "scheduler"
    assert "source" not in shaped


def test_selectable_values_are_texts() -> None:
    fields = BUILTIN.row(refs.PODS).selectable_fields
    pod = {"spec": {"hostNetwork": True}, "status": {"podIPs": [{"ip": "10.1.2.3"}]}}
    assert fields["spec.hostNetwork"](pod) == "true"
    assert fields["spec.hostNetwork"]({}) == "false"
    assert fields["status.podIP"](pod) == "10.1.2.3"
    assert fields["spec.nodeName"](pod) == ""
    assert BUILTIN.row(refs.NODES).selectable_fields["spec.unschedulable"]({"spec": {}}) == "false"


@pytest.mark.parametrize(
    ("ref", "short", "categories"),
    [
        (refs.PODS, ("po",), ("all",)),
        (refs.DEPLOYMENTS, ("deploy",), ("all",)),
        (refs.REPLICA_SETS, ("rs",), ("all",)),
        (refs.SERVICES, ("svc",), ("all",)),
        (refs.CONFIGMAPS, ("cm",), ()),
        (refs.ENDPOINT_SLICES, (), ()),
        (refs.PRIORITY_CLASSES, ("pc",), ()),
    ],
    ids=lambda value: "",
)
def test_short_names_and_categories(ref: ResourceRef, short: tuple[str, ...], categories: tuple[str, ...]) -> None:
    row = BUILTIN.row(ref)
    assert (row.short_names, row.categories) == (short, categories)


def test_names_follow_the_kind() -> None:
    assert not BUILTIN.row(refs.CLUSTER_ROLES).strategy.validate_name("system:node")
    assert BUILTIN.row(refs.PODS).strategy.validate_name("system:node")
    assert BUILTIN.row(refs.NAMESPACES).strategy.validate_name("a.b")
    assert not BUILTIN.row(refs.PODS).strategy.validate_name("a.b")
    # v1.36 lets service names begin with a digit.
    assert not BUILTIN.row(refs.SERVICES).strategy.validate_name("1web")
    assert BUILTIN.row(refs.SERVICES).strategy.validate_name("a.b")


@pytest.mark.parametrize(
    ("ref", "obj"),
    [
        (refs.PODS, pod(initContainers=[{"name": "i", "image": "x", "restartPolicy": "Always"}], nodeName="n")),
        (refs.DEPLOYMENTS, deployment()),
        (refs.REPLICA_SETS, deployment()),
        (refs.SERVICES, service(type="LoadBalancer", sessionAffinity="ClientIP")),
        (refs.NODES, {"metadata": {"name": "n"}}),
        (refs.NAMESPACES, {"metadata": {"name": "n"}}),
        (refs.SECRETS, {"metadata": {"name": "n"}, "stringData": {"a": "b"}}),
        (refs.EVENTS, {"metadata": {"name": "n"}}),
        (refs.CLUSTER_ROLES, {"metadata": {"name": "n"}}),
        (refs.PRIORITY_CLASSES, {"metadata": {"name": "n"}}),
    ],
    ids=lambda value: value.kind if isinstance(value, ResourceRef) else "",
)
def test_what_defaults_write_is_in_the_schema(ref: ResourceRef, obj: Object) -> None:
    checked = schemas().check(BUILTIN.row(ref).definition, created(ref, obj))
    assert (checked.unknown, checked.error) == ([], None)

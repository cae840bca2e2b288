"""DaemonSets, StatefulSets, ReplicationControllers, PodTemplates and ControllerRevisions: defaults, rules, warnings."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from timonel.api import refs
from timonel.api.errors import BadRequest
from timonel.api.objects import Object, copy_object
from timonel.api.refs import ResourceRef

from .samples import changed, created, deployment, findings, status_findings, strategy, update_findings

GENERATION = "deprecated.daemonset.template.generation"
FIXED = (
    "spec: Forbidden: updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', "
    "'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are "
    "forbidden"
)
THREE = pytest.mark.parametrize(
    ("ref", "called"),
    [
        (refs.DAEMON_SETS, "DaemonSet"),
        (refs.STATEFUL_SETS, "StatefulSet"),
        (refs.REPLICATION_CONTROLLERS, "ReplicationController"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)


def workload(ref: ResourceRef, **spec: Any) -> Object:
    obj = deployment(**spec)
    obj.update(kind=ref.kind, apiVersion=ref.api_version)
    if ref == refs.REPLICATION_CONTROLLERS and "selector" not in spec:
        obj["spec"]["selector"] = {"app": "web"}
    return obj


def claim(**spec: Any) -> Object:
    return {
        "metadata": {"name": "data"},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}, **spec},
    }


def test_daemon_set_defaults() -> None:
    obj = created(refs.DAEMON_SETS, workload(refs.DAEMON_SETS))
    assert obj["spec"]["updateStrategy"] == {
        "type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 1, "maxSurge": 0},
    }  # fmt: skip
    assert obj["spec"]["revisionHistoryLimit"] == 10
    assert obj["status"] == {
        "currentNumberScheduled": 0, "numberMisscheduled": 0, "desiredNumberScheduled": 0, "numberReady": 0,
    }  # fmt: skip


def test_stateful_set_defaults() -> None:
    spec = created(refs.STATEFUL_SETS, workload(refs.STATEFUL_SETS, volumeClaimTemplates=[claim()]))["spec"]
    fields = ("replicas", "revisionHistoryLimit", "podManagementPolicy", "updateStrategy", "serviceName",
              "persistentVolumeClaimRetentionPolicy")  # fmt: skip
    assert {field: spec[field] for field in fields} == {
        "replicas": 1, "revisionHistoryLimit": 10, "podManagementPolicy": "OrderedReady", "serviceName": "",
        "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": 0}},
        "persistentVolumeClaimRetentionPolicy": {"whenDeleted": "Retain", "whenScaled": "Retain"},
    }  # fmt: skip
    template = spec["volumeClaimTemplates"][0]
    assert (template["kind"], template["apiVersion"]) == ("PersistentVolumeClaim", "v1")
    assert template["spec"]["volumeMode"] == "Filesystem"
    assert template["status"] == {"phase": "Pending"}


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"type": "OnDelete"}, {"type": "OnDelete"}),
        # Only a strategy that is filled in itself gets parameters.
        ({"type": "RollingUpdate"}, {"type": "RollingUpdate"}),
        ({"rollingUpdate": {"partition": 2}}, {"type": "RollingUpdate", "rollingUpdate": {"partition": 2}}),
        # Off by default in v1.36.
        (
            {"rollingUpdate": {"maxUnavailable": 2}},
            {"type": "RollingUpdate", "rollingUpdate": {"partition": 0}},
        ),
    ],
)
def test_stateful_set_strategies(given: Object, expected: Object) -> None:
    obj = created(refs.STATEFUL_SETS, workload(refs.STATEFUL_SETS, updateStrategy=given))
    assert obj["spec"]["updateStrategy"] == expected


def test_replication_controllers_take_labels_of_their_template() -> None:
    obj = created(refs.REPLICATION_CONTROLLERS, workload(refs.REPLICATION_CONTROLLERS, selector={}))
    assert obj["spec"]["selector"] == obj["metadata"]["labels"] == {"app": "web"}
    assert obj["spec"]["replicas"] == 1
    assert obj["status"] == {"replicas": 0}


@THREE
def test_sound_ones_pass(ref: ResourceRef, called: str) -> None:
    assert findings(ref, workload(ref)) == []


@THREE
def test_pods_never_end(ref: ResourceRef, called: str) -> None:
    obj = workload(ref)
    obj["spec"]["template"]["spec"].update(restartPolicy="Never", activeDeadlineSeconds=5)
    assert findings(ref, obj) == [
        'spec.template.spec.restartPolicy: Unsupported value: "Never": supported values: "Always"',
        f"spec.template.spec.activeDeadlineSeconds: Forbidden: activeDeadlineSeconds in {called} is not Supported",
    ]


@pytest.mark.parametrize(
    ("ref", "selector", "expected"),
    [
        (
            refs.DAEMON_SETS,
            {"matchLabels": {"app": "other"}},
            ['spec.template.metadata.labels: Invalid value: {"app":"web"}: `selector` does not match template '
             "`labels`"],
        ),
        (refs.DAEMON_SETS, {}, ["spec.selector: Invalid value: {}: empty selector is invalid for daemonset"]),
        (
            refs.DAEMON_SETS,
            None,
            ['spec.template.metadata.labels: Invalid value: {"app":"web"}: `selector` does not match template '
             "`labels`"],
        ),
        (
            refs.STATEFUL_SETS,
            None,
            ["spec.selector: Required value",
             'spec.template.metadata.labels: Invalid value: {"app":"web"}: `selector` does not match template '
             "`labels`"],
        ),
        (refs.STATEFUL_SETS, {}, ["spec.selector: Invalid value: {}: empty selector is invalid for statefulset"]),
        (
            refs.REPLICATION_CONTROLLERS,
            {"app": "other"},
            ['spec.template.metadata.labels: Invalid value: {"app":"web"}: `selector` does not match template '
             "`labels`"],
        ),
    ],
)  # fmt: skip
def test_selectors(ref: ResourceRef, selector: Object | None, expected: list[str]) -> None:
    assert findings(ref, workload(ref, selector=selector)) == expected


def test_a_replication_controller_without_template_or_selector() -> None:
    assert findings(refs.REPLICATION_CONTROLLERS, {"metadata": {"name": "x"}, "spec": {"replicas": -1}}) == [
        "spec.selector: Required value",
        "spec.replicas: Invalid value: -1: must be greater than or equal to 0",
        "spec.template: Required value",
    ]


@pytest.mark.parametrize(
    ("update", "expected"),
    [
        ({"type": "OnDelete"}, []),
        ({"rollingUpdate": {"maxUnavailable": 0, "maxSurge": "10%"}}, []),
        (
            {"type": "Sideways"},
            ['spec.updateStrategy: Unsupported value: {"Type":"Sideways","RollingUpdate":null}: supported values: '
             '"RollingUpdate", "OnDelete"'],
        ),
        (
            {"rollingUpdate": {"maxUnavailable": 1, "maxSurge": 1}},
            ["spec.updateStrategy.rollingUpdate.maxSurge: Invalid value: 1: may not be set when maxUnavailable is "
             "non-zero"],
        ),
        (
            {"rollingUpdate": {"maxUnavailable": 0, "maxSurge": 0}},
            ["spec.updateStrategy.rollingUpdate.maxUnavailable: Required value: cannot be 0 when maxSurge is 0"],
        ),
        (
            {"rollingUpdate": {"maxUnavailable": 0, "maxSurge": "101%"}},
            ['spec.updateStrategy.rollingUpdate.maxSurge: Invalid value: "101%": must not be greater than 100%'],
        ),
        (
            {"rollingUpdate": {"maxUnavailable": -1}},
            ["spec.updateStrategy.rollingUpdate.maxUnavailable: Invalid value: -1: must be greater than or equal to 0"],
        ),
    ],
)  # fmt: skip
def test_daemon_set_update_strategies(update: Object, expected: list[str]) -> None:
    assert findings(refs.DAEMON_SETS, workload(refs.DAEMON_SETS, updateStrategy=update)) == expected


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        (
            {"podManagementPolicy": "Random"},
            ["spec.podManagementPolicy: Invalid value: \"Random\": must be 'OrderedReady' or 'Parallel'"],
        ),
        (
            {"updateStrategy": {"type": "Sideways"}},
            ['spec.updateStrategy: Invalid value: {"Type":"Sideways","RollingUpdate":null}: '
             "must be 'RollingUpdate' or 'OnDelete'"],
        ),
        (
            {"updateStrategy": {"type": "OnDelete", "rollingUpdate": {"partition": 1}}},
            ['spec.updateStrategy.rollingUpdate: Invalid value: {"Partition":1,"MaxUnavailable":null}: '
             "only allowed for updateStrategy "
             "'RollingUpdate'"],
        ),
        (
            {"updateStrategy": {"rollingUpdate": {"partition": -1}}},
            ["spec.updateStrategy.rollingUpdate.partition: Invalid value: -1: must be greater than or equal to 0"],
        ),
        (
            {"persistentVolumeClaimRetentionPolicy": {"whenScaled": "Shred"}},
            ['spec.persistentVolumeClaimRetentionPolicy.whenScaled: Unsupported value: "Shred": supported values: '
             '"Retain", "Delete"'],
        ),
        ({"volumeClaimTemplates": [claim()]}, []),
        (
            {"volumeClaimTemplates": [claim(accessModes=[])]},
            ["spec.volumeClaimTemplates[0].spec.accessModes: Required value: at least 1 access mode is required"],
        ),
        (
            {"ordinals": {"start": -1}},
            ["spec.ordinals.start: Invalid value: -1: must be greater than or equal to 0"],
        ),
        ({"serviceName": "a.b"}, ['spec.serviceName: Invalid value: "a.b": must not contain dots']),
    ],
)  # fmt: skip
def test_stateful_set_rules(spec: Object, expected: list[str]) -> None:
    assert findings(refs.STATEFUL_SETS, workload(refs.STATEFUL_SETS, **spec)) == expected


def test_claim_templates_are_volumes_of_the_pods() -> None:
    obj = workload(refs.STATEFUL_SETS, volumeClaimTemplates=[claim()])
    pod = obj["spec"]["template"]["spec"]
    pod["containers"][0]["volumeMounts"] = [{"name": "data", "mountPath": "/data"}]
    assert findings(refs.STATEFUL_SETS, obj) == []
    # Both are the controller's to set, so nobody looks at them.
    pod.update(hostname="Not A Label", subdomain="Not A Label")
    assert findings(refs.STATEFUL_SETS, obj) == []
    del obj["spec"]["volumeClaimTemplates"]
    assert findings(refs.STATEFUL_SETS, obj) == [
        'spec.template.spec.containers[0].volumeMounts[0].name: Not found: "data"'
    ]


def test_names() -> None:
    assert strategy(refs.STATEFUL_SETS).validate_name("a.b") == ["must not contain dots"]
    assert strategy(refs.DAEMON_SETS).validate_name("a.b") == []


def put(field: str, value: Any) -> Callable[[Object], None]:
    return changed("spec", field, to=value)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (put("replicas", 3), []),
        (put("minReadySeconds", 3), []),
        (put("ordinals", {"start": 3}), []),
        (put("revisionHistoryLimit", 3), []),
        (put("updateStrategy", {"type": "OnDelete"}), []),
        (put("persistentVolumeClaimRetentionPolicy", {"whenScaled": "Delete"}), []),
        (changed("spec", "template", "spec", "containers", 0, "image", to="nginx:2"), []),
        (put("serviceName", "other"), [FIXED]),
        (put("podManagementPolicy", "Parallel"), [FIXED]),
        (put("volumeClaimTemplates", [claim()]), [FIXED]),
    ],
)
def test_what_may_change_in_a_stateful_set(change: Callable[[Object], Any], expected: list[str]) -> None:
    assert update_findings(refs.STATEFUL_SETS, workload(refs.STATEFUL_SETS), change) == expected


def test_selector_of_daemon_sets_is_immutable() -> None:
    def change(obj: Object) -> None:
        obj["spec"]["selector"] = {"matchExpressions": [{"key": "app", "operator": "Exists"}]}

    assert update_findings(refs.DAEMON_SETS, workload(refs.DAEMON_SETS), change) == [
        'spec.selector: Invalid value: {"matchExpressions":[{"key":"app","operator":"Exists"}]}: field is immutable'
    ]


def test_template_generation_counts_templates() -> None:
    daemons = strategy(refs.DAEMON_SETS)
    obj = created(refs.DAEMON_SETS, workload(refs.DAEMON_SETS))
    assert obj["metadata"]["annotations"] == {GENERATION: "1"}
    new = copy_object(obj)
    new["metadata"]["annotations"] = {"mine": "kept", GENERATION: "7"}
    daemons.prepare_update(new, obj)
    assert new["metadata"]["annotations"] == {"mine": "kept", GENERATION: "1"}
    new["spec"]["template"]["spec"]["containers"][0]["image"] = "nginx:2"
    daemons.prepare_update(new, obj)
    assert new["metadata"]["annotations"][GENERATION] == "2"
    del new["metadata"]["annotations"]
    daemons.prepare_status_update(new, obj)
    assert new["metadata"]["annotations"] == {GENERATION: "1"}


def test_template_generation_that_is_no_number_cannot_be_read() -> None:
    obj = workload(refs.DAEMON_SETS)
    obj["metadata"]["annotations"] = {GENERATION: "many"}
    with pytest.raises(BadRequest) as caught:
        strategy(refs.DAEMON_SETS).default(obj)
    assert str(caught.value) == (
        'DaemonSet in version "v1" cannot be handled as a DaemonSet: strconv.ParseInt: parsing "many": invalid syntax'
    )


@pytest.mark.parametrize(
    ("ref", "before", "status", "expected"),
    [
        (refs.DAEMON_SETS, {}, {"numberReady": -1},
         ["status.numberReady: Invalid value: -1: must be greater than or equal to 0"]),
        (refs.DAEMON_SETS, {"collisionCount": 2}, {"collisionCount": 1},
         ["status.collisionCount: Invalid value: 1: cannot be decremented"]),
        (refs.STATEFUL_SETS, {"collisionCount": 0}, {},
         ["status.collisionCount: Invalid value: 0: cannot be decremented"]),
        (refs.STATEFUL_SETS, {}, {"replicas": 1, "currentReplicas": 2, "updatedReplicas": 2},
         ["status.currentReplicas: Invalid value: 2: cannot be greater than status.replicas",
          "status.updatedReplicas: Invalid value: 2: cannot be greater than status.replicas"]),
        (refs.STATEFUL_SETS, {}, {"replicas": 1, "availableReplicas": 1},
         ["status.availableReplicas: Invalid value: 1: cannot be greater than status.readyReplicas"]),
        (refs.REPLICATION_CONTROLLERS, {}, {"replicas": 1, "availableReplicas": 1},
         ["status.availableReplicas: Invalid value: 1: cannot be greater than readyReplicas"]),
        (refs.REPLICATION_CONTROLLERS, {}, {"replicas": 1, "fullyLabeledReplicas": 2},
         ["status.fullyLabeledReplicas: Invalid value: 2: cannot be greater than status.replicas"]),
    ],
)  # fmt: skip
def test_status(ref: ResourceRef, before: Object, status: Object, expected: list[str]) -> None:
    obj = created(ref, workload(ref))
    obj["status"].update(before)
    assert status_findings(ref, obj, changed("status", to=status)) == expected


def test_stateful_set_warnings() -> None:
    obj = workload(
        refs.STATEFUL_SETS,
        revisionHistoryLimit=-1,
        volumeClaimTemplates=[claim(resources={"requests": {"storage": "1500m"}})],
    )
    assert strategy(refs.STATEFUL_SETS).warnings(obj, None) == [
        'spec.volumeClaimTemplates[0].resources.requests[storage]: fractional byte value "1500m" is invalid, must be '
        "an integer",
        "spec.revisionHistoryLimit: a negative value retains all historical revisions; a value >= 0 is recommended",
    ]


def test_daemon_sets_warn_of_changed_templates_only() -> None:
    obj = workload(refs.DAEMON_SETS)
    obj["spec"]["template"]["spec"]["nodeSelector"] = {"beta.kubernetes.io/os": "linux"}
    warning = [
        "spec.template.spec.nodeSelector[beta.kubernetes.io/os]: deprecated since v1.14; use \"kubernetes.io/os\" "
        "instead"
    ]  # fmt: skip
    assert strategy(refs.DAEMON_SETS).warnings(obj, None) == warning
    old = copy_object(obj)
    old["spec"]["minReadySeconds"] = 5
    assert strategy(refs.DAEMON_SETS).warnings(obj, old) == []


def template(**metadata: Any) -> Object:
    return {
        "metadata": {"name": "t"},
        "template": {"metadata": metadata, "spec": {"containers": [{"name": "app", "image": "nginx"}]}},
    }


def test_pod_templates() -> None:
    obj = created(refs.POD_TEMPLATES, template(labels={"app": "web"}))
    assert obj["template"]["spec"]["containers"][0]["imagePullPolicy"] == "Always"
    assert findings(refs.POD_TEMPLATES, template()) == []
    broken = template(labels={"a b": ""})
    broken["template"]["spec"]["containers"] = []
    assert [finding.partition(": ")[0] for finding in findings(refs.POD_TEMPLATES, broken)] == [
        "template.labels", "template.spec.containers",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ({"a": 1}, []),
        ({}, []),
        (None, ["data: Required value: data is mandatory"]),
        ("text", ["data: Required value: data must be a valid JSON object"]),
    ],
)
def test_revisions_hold_an_object(data: Any, expected: list[str]) -> None:
    assert findings(refs.CONTROLLER_REVISIONS, {"metadata": {"name": "r"}, "revision": 1, "data": data}) == expected


def test_revisions_may_be_renumbered_but_not_rewritten() -> None:
    old = {"metadata": {"name": "r"}, "revision": 1, "data": {"a": 1}}
    assert update_findings(refs.CONTROLLER_REVISIONS, old, changed("revision", to=2)) == []
    assert update_findings(refs.CONTROLLER_REVISIONS, old, changed("revision", to=-2)) == [
        "revision: Invalid value: -2: must be greater than or equal to 0"
    ]
    assert update_findings(refs.CONTROLLER_REVISIONS, old, changed("data", "a", to=2)) == [
        'data: Invalid value: {"a":2}: field is immutable'
    ]
    assert not strategy(refs.CONTROLLER_REVISIONS).tracks_generation

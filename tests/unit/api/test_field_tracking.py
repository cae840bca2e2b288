"""managedFields after create, update and patch."""

from datetime import UTC, datetime, timedelta
from typing import Any

from tests.unit.api.samples import DEPLOYMENT, POD, web_deployment, web_pod
from timonel.api.managed_fields import apply, changes_nothing, update_managed
from timonel.api.objects import Object, copy_object
from timonel.api.schema import schemas

_NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
_LATER = _NOW + timedelta(minutes=1)


def _created(obj: Object, definition: str = DEPLOYMENT, manager: str = "kubectl-create") -> Object:
    assert schemas().check(definition, obj).error is None
    update_managed(None, obj, definition, manager, _NOW, obj["apiVersion"])
    return obj


def _updated(old: Object, new: Object, manager: str, subresource: str = "", definition: str = DEPLOYMENT) -> Object:
    assert schemas().check(definition, new).error is None
    update_managed(old, new, definition, manager, _LATER, new["apiVersion"], subresource)
    return new


def _entries(obj: Object) -> dict[str, Any]:
    return {entry["manager"]: entry for entry in obj["metadata"].get("managedFields", [])}


def test_create_owns_everything_but_the_identity() -> None:
    (entry,) = _created(web_deployment())["metadata"]["managedFields"]
    assert entry == {
        "manager": "kubectl-create",
        "operation": "Update",
        "apiVersion": "apps/v1",
        "time": "2026-01-02T03:04:05Z",
        "fieldsType": "FieldsV1",
        "fieldsV1": {
            "f:metadata": {"f:labels": {".": {}, "f:app": {}}},
            "f:spec": {
                "f:replicas": {},
                "f:selector": {},
                "f:strategy": {
                    "f:rollingUpdate": {".": {}, "f:maxSurge": {}, "f:maxUnavailable": {}},
                    "f:type": {},
                },
                "f:template": {
                    "f:metadata": {"f:labels": {".": {}, "f:app": {}}},
                    "f:spec": {
                        "f:containers": {
                            'k:{"name":"nginx"}': {
                                ".": {},
                                "f:image": {},
                                "f:name": {},
                                "f:ports": {
                                    ".": {},
                                    'k:{"containerPort":80,"protocol":"TCP"}': {
                                        ".": {},
                                        "f:containerPort": {},
                                        "f:protocol": {},
                                    },
                                },
                                "f:resources": {},
                            }
                        }
                    },
                },
            },
        },
    }


def test_an_update_takes_what_it_changes() -> None:
    old = _created(web_deployment())
    new = copy_object(old)
    new["spec"]["replicas"] = 5
    new["metadata"]["annotations"] = {"a": "b"}
    entries = _entries(_updated(old, new, "scaler"))
    assert entries["scaler"]["fieldsV1"] == {
        "f:metadata": {"f:annotations": {".": {}, "f:a": {}}},
        "f:spec": {"f:replicas": {}},
    }
    assert entries["scaler"]["time"] == "2026-01-02T03:05:05Z"
    assert "f:replicas" not in entries["kubectl-create"]["fieldsV1"]["f:spec"]
    assert entries["kubectl-create"]["time"] == "2026-01-02T03:04:05Z"


def test_removed_fields_are_nobodys() -> None:
    old = _created(web_deployment())
    new = copy_object(old)
    del new["metadata"]["labels"]
    entries = _entries(_updated(old, new, "cleaner"))
    assert set(entries) == {"kubectl-create"}
    assert "f:metadata" not in entries["kubectl-create"]["fieldsV1"]


def test_an_update_that_changes_nothing_moves_no_time() -> None:
    old = _created(web_deployment())
    new = _updated(old, copy_object(old), "other")
    assert new == old
    same = copy_object(old)
    del same["metadata"]["managedFields"]
    assert _updated(old, same, "other") == old


def test_the_same_manager_keeps_one_entry_and_gets_the_new_time() -> None:
    old = _created(web_deployment())
    new = copy_object(old)
    new["spec"]["replicas"] = 2
    (entry,) = _updated(old, new, "kubectl-create")["metadata"]["managedFields"]
    assert entry["time"] == "2026-01-02T03:05:05Z"
    assert entry["fieldsV1"] == old["metadata"]["managedFields"][0]["fieldsV1"]


def test_status_is_tracked_by_subresource_only() -> None:
    pod = web_pod()
    pod["status"] = {"phase": "Running"}
    old = _created(pod, POD, "kubectl-create")
    assert "f:status" not in old["metadata"]["managedFields"][0]["fieldsV1"]
    new = copy_object(old)
    new["status"] = {"phase": "Failed", "conditions": [{"type": "Ready", "status": "False"}]}
    new["spec"]["nodeName"] = "ignored"
    entry = _entries(_updated(old, new, "kubelet", "status", POD))["kubelet"]
    assert entry["subresource"] == "status"
    assert entry["fieldsV1"] == {
        "f:status": {
            "f:conditions": {
                ".": {},
                'k:{"type":"Ready"}': {
                    ".": {},
                    "f:lastProbeTime": {},
                    "f:lastTransitionTime": {},
                    "f:status": {},
                    "f:type": {},
                },
            },
            "f:phase": {},
        }
    }


def test_atomic_parts_are_one_field() -> None:
    old = _created(web_pod(), POD)
    new = copy_object(old)
    new["spec"]["tolerations"].append({"operator": "Exists"})
    new["spec"]["nodeSelector"] = {"a": "b"}
    assert _entries(_updated(old, new, "me", definition=POD))["me"]["fieldsV1"] == {
        "f:spec": {"f:nodeSelector": {}, "f:tolerations": {}}
    }


def test_sets_of_values() -> None:
    pod = web_pod()
    pod["metadata"]["finalizers"] = ["a/x"]
    old = _created(pod, POD)
    new = copy_object(old)
    new["metadata"]["finalizers"] = ["a/x", "b/x"]
    assert _entries(_updated(old, new, "me", definition=POD))["me"]["fieldsV1"] == {
        "f:metadata": {"f:finalizers": {'v:"b/x"': {}}}
    }


def test_items_that_repeat_are_one_field_together() -> None:
    old = _created(web_deployment())
    new = copy_object(old)
    container = new["spec"]["template"]["spec"]["containers"][0]
    container["env"] = [{"name": "A", "value": "1"}, {"name": "A", "value": "2"}]
    entry = _entries(_updated(old, new, "me"))["me"]
    below = entry["fieldsV1"]["f:spec"]["f:template"]["f:spec"]["f:containers"]['k:{"name":"nginx"}']
    assert below == {"f:env": {".": {}, 'k:{"name":"A"}': {}}}


def test_clearing() -> None:
    old = _created(web_deployment())
    for request in ([], [{}]):
        new = copy_object(old)
        new["metadata"]["managedFields"] = request
        cleared = _updated(old, new, "me")
        assert "managedFields" not in cleared["metadata"]
    # Afterwards nothing is tracked until somebody applies.
    changed = copy_object(cleared)
    changed["spec"]["replicas"] = 9
    assert "managedFields" not in _updated(cleared, changed, "me")["metadata"]


def test_entries_can_be_edited_but_not_through_subresources_and_not_malformed() -> None:
    old = _created(web_deployment())
    mine = {"manager": "x", "operation": "Apply", "apiVersion": "apps/v1", "fieldsType": "FieldsV1"}
    edited = copy_object(old)
    edited["metadata"]["managedFields"] = [{**mine, "fieldsV1": {"f:spec": {"f:replicas": {}}}}]
    assert set(_entries(_updated(old, copy_object(edited), "me"))) == {"x"}
    assert set(_entries(_updated(old, copy_object(edited), "me", "status"))) == {"kubectl-create"}
    for wrong in ({"operation": "Frob"}, {"fieldsType": "V2"}, {"apiVersion": ""}, {"fieldsV1": {"spec": {}}}):
        broken = copy_object(edited)
        broken["metadata"]["managedFields"][0].update(wrong)
        assert set(_entries(_updated(old, broken, "me"))) == {"kubectl-create"}


def test_more_than_ten_updaters_are_merged() -> None:
    current = _created(web_deployment())
    for number in range(12):
        new = copy_object(current)
        new["metadata"].setdefault("annotations", {})[f"a{number}"] = "x"
        current = _updated(current, new, f"manager-{number:02}")
    entries = _entries(current)
    assert len(entries) == 10
    merged = entries["ancient-changes"]["fieldsV1"]
    assert "f:replicas" in merged["f:spec"]
    assert "f:a0" in merged["f:metadata"]["f:annotations"]


def test_a_nameless_manager_is_unknown() -> None:
    assert _created(web_deployment(), manager="")["metadata"]["managedFields"][0]["manager"] == "unknown"


def test_the_old_object_is_left_alone() -> None:
    old = _created(web_deployment())
    before = copy_object(old)
    new = copy_object(old)
    new["spec"]["replicas"] = 7
    _updated(old, new, "me")
    apply(old, {"kind": "Deployment", "apiVersion": "apps/v1", "metadata": {"name": "web", "labels": {"x": "y"}}},
          DEPLOYMENT, "me", True, _NOW, "apps/v1")  # fmt: skip
    assert old == before


def test_times_alone_are_no_change():
    def obj(time, **data):
        entry = {"manager": "me", "operation": "Apply", "time": time, "fieldsV1": {"f:data": {}}}
        return {"kind": "ConfigMap", "metadata": {"name": "a", "managedFields": [entry]}, "data": data}

    assert changes_nothing(obj("2026-03-01T12:00:01Z", k="v"), obj("2026-03-01T12:00:00Z", k="v"))
    assert not changes_nothing(obj("2026-03-01T12:00:01Z", k="w"), obj("2026-03-01T12:00:00Z", k="v"))
    other = obj("2026-03-01T12:00:01Z", k="v")
    other["metadata"]["managedFields"][0]["manager"] = "you"
    assert not changes_nothing(other, obj("2026-03-01T12:00:00Z", k="v"))

"""What a stored object looks like, whatever way the client spelled it."""

from typing import Any

from tests.unit.api.samples import DEPLOYMENT, POD, web_pod
from timonel.api.objects import copy_object
from timonel.api.schema import schemas


def _settled(definition: str, obj: dict[str, Any]) -> dict[str, Any]:
    assert schemas().check(definition, obj).error is None
    return obj


def _container(**fields: Any) -> dict[str, Any]:
    pod = _settled(POD, {"spec": {"containers": [{"name": "a", **fields}]}})
    found: dict[str, Any] = pod["spec"]["containers"][0]
    return found


def test_null_is_absent() -> None:
    pod = _settled(POD, {"metadata": {"labels": None, "creationTimestamp": None}, "spec": {"containers": []}})
    assert pod["metadata"] == {}


def test_null_in_a_map_or_list_is_the_zero_of_its_type() -> None:
    pod = _settled(
        POD, {"metadata": {"labels": {"a": None}}, "spec": {"containers": [{"name": "a", "args": ["x", None]}]}}
    )
    assert pod["metadata"]["labels"] == {"a": ""}
    assert pod["spec"]["containers"][0]["args"] == ["x", ""]


def test_optional_zero_values_are_absent() -> None:
    pod = _settled(
        POD,
        {
            "metadata": {"labels": {}, "generateName": ""},
            "spec": {"hostNetwork": False, "nodeName": "", "nodeSelector": {}, "volumes": [], "containers": []},
        },
    )
    assert pod == {"metadata": {}, "spec": {"containers": None}, "status": {}}


def test_zero_stays_where_it_says_something() -> None:
    deployment = _settled(DEPLOYMENT, {"spec": {"replicas": 0, "minReadySeconds": 0, "paused": False}})
    assert deployment["spec"]["replicas"] == 0
    assert "minReadySeconds" not in deployment["spec"]
    claim = _settled("io.k8s.api.core.v1.PersistentVolumeClaim", {"spec": {"storageClassName": ""}})
    assert claim["spec"]["storageClassName"] == ""
    assert _container(restartPolicy="")["restartPolicy"] == ""
    pod = _settled(POD, {"spec": {"containers": [], "automountServiceAccountToken": False, "restartPolicy": ""}})
    assert pod["spec"] == {"containers": None, "automountServiceAccountToken": False}


def test_required_zero_stays() -> None:
    assert _container(ports=[{"containerPort": 0}])["ports"] == [{"containerPort": 0}]
    assert _container(env=[{"name": "", "value": ""}])["env"] == [{"name": ""}]


def test_required_fields_and_some_others_are_always_shown() -> None:
    assert _container(ports=[{}])["ports"] == [{"containerPort": 0}]
    endpoint_slice = _settled("io.k8s.api.discovery.v1.EndpointSlice", {"addressType": "IPv4", "endpoints": []})
    assert (endpoint_slice["endpoints"], endpoint_slice["ports"]) == (None, None)
    event = _settled("io.k8s.api.core.v1.Event", {"lastTimestamp": "2026-01-02T03:04:05Z"})
    shown = (event["eventTime"], event["firstTimestamp"], event["lastTimestamp"], event["reportingComponent"])
    assert shown == (None, None, "2026-01-02T03:04:05Z", "")
    claim = {"spec": {"dataSource": {"kind": "PersistentVolumeClaim", "name": "a"}}}
    assert _settled("io.k8s.api.core.v1.PersistentVolumeClaim", claim)["spec"]["dataSource"]["apiGroup"] is None
    again = copy_object(event)
    assert _settled("io.k8s.api.core.v1.Event", again) == event


def test_structures_stay_and_some_are_always_shown() -> None:
    pod = _settled(
        POD,
        {"spec": {"containers": [{"name": "a"}], "securityContext": {}, "volumes": [{"name": "v", "emptyDir": {}}]}},
    )
    assert pod["spec"]["securityContext"] == {}
    assert pod["spec"]["volumes"] == [{"name": "v", "emptyDir": {}}]
    assert pod["spec"]["containers"] == [{"name": "a", "resources": {}}]
    assert pod["status"] == {}
    service = _settled("io.k8s.api.core.v1.Service", {})
    assert service == {"metadata": {}, "spec": {}, "status": {"loadBalancer": {}}}
    assert "selector" not in _settled(DEPLOYMENT, {})["spec"]


def test_quantities_are_canonical_strings() -> None:
    container = _container(resources={"limits": {"cpu": 0.5, "memory": "1024Mi", "a.b/c": 2}})
    assert container["resources"] == {"limits": {"cpu": "500m", "memory": "1Gi", "a.b/c": "2"}}


def test_times_are_utc() -> None:
    pod = _settled(POD, {"metadata": {"deletionTimestamp": "2026-01-02T03:04:05.5+01:00"}})
    assert pod["metadata"]["deletionTimestamp"] == "2026-01-02T02:04:05Z"


def test_base64_loses_its_line_breaks() -> None:
    secret = _settled("io.k8s.api.core.v1.Secret", {"data": {"a": "aGVs\nbG8="}})
    assert secret["data"] == {"a": "aGVsbG8="}


def test_an_emptied_list_of_managers_stays_because_it_is_a_request() -> None:
    assert _settled(POD, {"metadata": {"managedFields": []}})["metadata"] == {"managedFields": []}


def test_normalising_twice_changes_nothing() -> None:
    pod = _settled(POD, web_pod())
    again = copy_object(pod)
    assert _settled(POD, again) == pod


def test_a_patched_object_is_settled_where_it_changed() -> None:
    live = _settled(POD, web_pod())
    patched = copy_object(live)
    patched["metadata"]["labels"] = {"a": None}
    patched["spec"]["containers"][0]["resources"] = {"limits": {"cpu": 0.5}}
    assert schemas().check_changes(POD, patched, live).error is None
    assert patched["metadata"]["labels"] == {"a": ""}
    assert patched["spec"]["containers"][0]["resources"] == {"limits": {"cpu": "500m"}}
    assert list(patched) == list(live)


def test_only_what_a_patch_touched_is_looked_at() -> None:
    live = _settled(POD, web_pod())
    patched = copy_object(live)
    patched["metadata"]["labels"] = {"a": None}
    assert schemas().check_changes(POD, patched, live, {"metadata"}).error is None
    assert patched == {**live, "metadata": {**live["metadata"], "labels": {"a": ""}}}
    del patched["spec"]
    assert schemas().check_changes(POD, patched, live, {"spec"}).error is None
    assert patched["spec"] == _settled(POD, {})["spec"]
    patched["spec"]["containers"] = True
    assert "cannot unmarshal bool" in str(schemas().check_changes(POD, patched, live, {"spec"}).error)


def test_parts_that_a_patch_takes_away_are_as_if_never_set() -> None:
    live = _settled(POD, web_pod())
    patched = {**copy_object(live), "metadata": None}
    del patched["spec"]
    assert schemas().check_changes(POD, patched, live).error is None
    assert patched["metadata"] == {}
    assert patched["spec"] == _settled(POD, {})["spec"]


def test_true_is_not_taken_for_an_unchanged_1() -> None:
    live = _settled(DEPLOYMENT, {"spec": {"replicas": 1}})
    patched = copy_object(live)
    patched["spec"]["replicas"] = True
    assert "cannot unmarshal bool" in str(schemas().check_changes(DEPLOYMENT, patched, live).error)

from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import pytest

from tests.unit.api.samples import DEPLOYMENT, SERVICE, web_deployment
from timonel.api.errors import BadRequest, Conflict
from timonel.api.managed_fields import apply, update_managed
from timonel.api.managed_fields.apply import LAST_APPLIED
from timonel.api.objects import Object, copy_object
from timonel.api.schema import schemas

_NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def _config(**spec: Any) -> Object:
    return {"kind": "Deployment", "apiVersion": "apps/v1", "metadata": {"name": "web"}, "spec": spec}


def _containers(*containers: Object) -> Object:
    return {"template": {"spec": {"containers": list(containers)}}}


def _apply(live: Object | None, config: Object, manager: str = "me", force: bool = False, minutes: int = 0) -> Object:
    result = apply(live, config, DEPLOYMENT, manager, force, _NOW + timedelta(minutes=minutes), "apps/v1")
    assert schemas().check(DEPLOYMENT, result).error is None
    return result


def _live(manager: str = "kubectl-create") -> Object:
    live = web_deployment()
    update_managed(None, live, DEPLOYMENT, manager, _NOW, "apps/v1")
    return live


def _fields(obj: Object, manager: str) -> Any:
    found = [entry["fieldsV1"] for entry in obj["metadata"]["managedFields"] if entry["manager"] == manager]
    return found[0] if found else None


def test_create() -> None:
    created = _apply(None, _config(replicas=2))
    assert created["spec"]["replicas"] == 2
    assert created["metadata"]["managedFields"] == [
        {
            "manager": "me",
            "operation": "Apply",
            "apiVersion": "apps/v1",
            "time": "2026-01-02T03:04:05Z",
            "fieldsType": "FieldsV1",
            "fieldsV1": {"f:spec": {"f:replicas": {}}},
        }
    ]


def test_one_conflict() -> None:
    with pytest.raises(Conflict) as caught:
        _apply(_live(), _config(replicas=2))
    assert caught.value.message == (
        'Apply failed with 1 conflict: conflict with "kubectl-create" using apps/v1: .spec.replicas'
    )
    assert caught.value.details["causes"] == [
        {
            "reason": "FieldManagerConflict",
            "message": 'conflict with "kubectl-create" using apps/v1',
            "field": ".spec.replicas",
        }
    ]


def test_several_conflicts() -> None:
    live = _apply(_live(), _config(minReadySeconds=5), "other")
    config = _config(replicas=2, minReadySeconds=6, **_containers({"name": "nginx", "image": "nginx:2"}))
    with pytest.raises(Conflict) as caught:
        _apply(live, config)
    assert caught.value.message == (
        'Apply failed with 3 conflicts: conflicts with "kubectl-create" using apps/v1:\n'
        "- .spec.replicas\n"
        '- .spec.template.spec.containers[name="nginx"].image\n'
        'conflicts with "other":\n'
        "- .spec.minReadySeconds"
    )


def test_force_takes_the_fields_over() -> None:
    result = _apply(_live(), _config(replicas=2), force=True)
    assert result["spec"]["replicas"] == 2
    assert _fields(result, "me") == {"f:spec": {"f:replicas": {}}}
    assert "f:replicas" not in _fields(result, "kubectl-create")["f:spec"]


def test_the_same_value_is_shared_without_conflict() -> None:
    result = _apply(_live(), _config(replicas=1))
    assert _fields(result, "me") == {"f:spec": {"f:replicas": {}}}
    assert "f:replicas" in _fields(result, "kubectl-create")["f:spec"]


def test_lists_merge_by_key_and_keep_what_others_added() -> None:
    live = _live()
    result = _apply(live, _config(**_containers({"name": "side", "image": "s"}, {"name": "nginx"})))
    containers = result["spec"]["template"]["spec"]["containers"]
    assert [container["name"] for container in containers] == ["side", "nginx"]
    assert containers[1]["image"] == "nginx"


def test_a_port_without_protocol_is_the_tcp_port() -> None:
    config = _config(**_containers({"name": "nginx", "ports": [{"containerPort": 80, "name": "http"}]}))
    container = _apply(_live(), config)["spec"]["template"]["spec"]["containers"][0]
    assert container["ports"] == [{"containerPort": 80, "protocol": "TCP", "name": "http"}]


def test_what_is_no_longer_applied_goes_unless_others_own_it() -> None:
    first = _config(replicas=1, **_containers({"name": "nginx"}, {"name": "side", "image": "s"}))
    first["metadata"]["labels"] = {"mine": "x", "app": "web"}
    live = _apply(_live(), first)
    second = _config(**_containers({"name": "nginx"}))
    result = _apply(live, second, minutes=1)
    assert result["metadata"]["labels"] == {"app": "web"}
    assert result["spec"]["replicas"] == 1
    assert [c["name"] for c in result["spec"]["template"]["spec"]["containers"]] == ["nginx"]
    assert _fields(result, "me") == {
        "f:spec": {"f:template": {"f:spec": {"f:containers": {'k:{"name":"nginx"}': {".": {}, "f:name": {}}}}}}
    }


def test_a_field_that_nobody_applies_any_more_goes() -> None:
    live = _apply(None, _config(replicas=3, minReadySeconds=5))
    result = _apply(live, _config(minReadySeconds=5), minutes=1)
    assert "replicas" not in result["spec"]


def test_applying_again_changes_nothing_not_even_the_time() -> None:
    config = _config(replicas=1, **_containers({"name": "nginx", "image": "nginx"}))
    live = _apply(_live(), config)
    assert _apply(live, config, minutes=5) == live


def test_set_values_are_owned_one_by_one() -> None:
    first = _config()
    first["metadata"]["finalizers"] = ["a/x", "b/x"]
    live = _apply(None, first)
    theirs = _config()
    theirs["metadata"]["finalizers"] = ["b/x", "c/x"]
    live = _apply(live, theirs, "other")
    assert live["metadata"]["finalizers"] == ["a/x", "b/x", "c/x"]
    result = _apply(live, _config(), minutes=1)
    assert result["metadata"]["finalizers"] == ["b/x", "c/x"]


def test_atomic_lists_are_replaced_whole() -> None:
    live = _apply(None, _config(**_containers({"name": "a", "command": ["x", "y"]})))
    result = _apply(live, _config(**_containers({"name": "a", "command": ["z"]})))
    assert result["spec"]["template"]["spec"]["containers"][0]["command"] == ["z"]


def test_an_object_nobody_tracked_gets_an_owner_to_conflict_with() -> None:
    live = web_deployment()
    with pytest.raises(Conflict, match=r'conflict with "before-first-apply" using apps/v1: \.spec\.replicas'):
        _apply(live, _config(replicas=2))
    result = _apply(live, _config(replicas=2), force=True)
    assert {entry["manager"] for entry in result["metadata"]["managedFields"]} == {"me", "before-first-apply"}


def test_kubectl_takes_over_from_its_client_side_apply() -> None:
    live = web_deployment()
    config = _config(replicas=1)
    live["metadata"]["annotations"] = {LAST_APPLIED: orjson.dumps(config).decode() + "\n"}
    update_managed(None, live, DEPLOYMENT, "kubectl-client-side-apply", _NOW, "apps/v1")
    with pytest.raises(Conflict):
        _apply(live, _config(replicas=2), "someone")
    result = _apply(live, _config(replicas=2), "kubectl")
    assert result["spec"]["replicas"] == 2
    assert orjson.loads(result["metadata"]["annotations"][LAST_APPLIED]) == _config(replicas=2)
    # A field changed by somebody else since the last client-side apply is no longer kubectl's to take.
    scaled = copy_object(live)
    scaled["spec"]["replicas"] = 7
    update_managed(live, scaled, DEPLOYMENT, "scaler", _NOW, "apps/v1")
    with pytest.raises(Conflict, match=r'conflict with "scaler" using apps/v1: \.spec\.replicas'):
        _apply(scaled, _config(replicas=2), "kubectl")


def test_status_is_not_owned_through_the_main_resource() -> None:
    config = _config(replicas=1)
    config["status"] = {"observedGeneration": 3}
    assert _fields(_apply(None, config), "me") == {"f:spec": {"f:replicas": {}}}


def test_conflicts_name_the_subresource() -> None:
    live = web_deployment()
    update_managed(None, live, DEPLOYMENT, "kubectl-create", _NOW, "apps/v1")
    scaled = copy_object(live)
    scaled["spec"]["replicas"] = 4
    update_managed(live, scaled, DEPLOYMENT, "hpa", _NOW, "apps/v1", "scale")
    with pytest.raises(Conflict, match=r'conflict with "hpa" with subresource "scale" using apps/v1: \.spec\.replicas'):
        _apply(scaled, _config(replicas=2))


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (_config(foo=1), "(/web; apps/v1, Kind=Deployment): .spec.foo: field not declared in schema"),
        (_config(replicas="x"), ": .spec.replicas: expected numeric (int or float), got string"),
        (
            _config(**_containers({"name": "a"}, {"name": "a"})),
            ': .spec.template.spec.containers: duplicate entries for key [name="a"]',
        ),
        (
            _config(foo=1, bar=2),
            ": errors:\n  .spec.foo: field not declared in schema\n  .spec.bar: field not declared in schema",
        ),
    ],
)
def test_configurations_that_do_not_fit(config: Object, message: str) -> None:
    with pytest.raises(BadRequest) as caught:
        _apply(_live(), config)
    assert caught.value.message.startswith("failed to create typed patch object (/web; apps/v1, Kind=Deployment)")
    assert caught.value.message.endswith(message)


def test_giving_up_all_labels_leaves_the_rest_of_the_metadata() -> None:
    def config(**metadata: Any) -> Object:
        return {"kind": "ConfigMap", "apiVersion": "v1", "metadata": {"name": "a", **metadata}}

    definition = "io.k8s.api.core.v1.ConfigMap"
    live = apply(None, config(labels={"x": "1"}), definition, "one", False, _NOW, "v1")
    live["metadata"].update({"uid": "u", "resourceVersion": "1"})
    result = apply(live, config(), definition, "one", False, _NOW, "v1")
    assert result["metadata"]["name"] == "a"
    assert "labels" not in result["metadata"]


def test_managed_fields_of_the_configuration() -> None:
    config = _config(replicas=1)
    config["metadata"]["managedFields"] = []
    with pytest.raises(BadRequest, match=r"metadata\.managedFields must be nil"):
        _apply(_live(), config)


def test_service_ports_merge_by_port_and_protocol() -> None:
    config = {"kind": "Service", "apiVersion": "v1", "metadata": {"name": "a"}, "spec": {"ports": [{"port": 53}]}}
    live = apply(None, config, SERVICE, "one", False, _NOW, "v1")
    udp = copy_object(config)
    udp["spec"]["ports"] = [{"port": 53, "protocol": "UDP"}]
    result = apply(live, udp, SERVICE, "two", False, _NOW, "v1")
    assert result["spec"]["ports"] == [{"port": 53}, {"port": 53, "protocol": "UDP"}]

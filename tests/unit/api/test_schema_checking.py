"""Unknown fields and wrong types, in upstream's words."""

from typing import Any

import pytest

from tests.unit.api.samples import DEPLOYMENT, POD, SERVICE, web_deployment, web_pod
from timonel.api.schema import Schemas, UnknownDefinition, raw_definitions, schemas

CONFIG_MAP = "io.k8s.api.core.v1.ConfigMap"
SECRET = "io.k8s.api.core.v1.Secret"


def test_a_good_object_passes() -> None:
    for definition, obj in ((POD, web_pod()), (DEPLOYMENT, web_deployment())):
        checked = schemas().check(definition, obj)
        assert checked.unknown == []
        assert checked.error is None


def test_unknown_fields_are_named_by_path_and_removed() -> None:
    obj = {
        "spec": {"foo": 1, "template": {"spec": {"containers": [{"name": "a"}, {"name": "b", "imagee": "x"}]}}},
        "Spec": {},
    }
    checked = schemas().check(DEPLOYMENT, obj)
    assert checked.error is None
    assert checked.unknown == [
        'unknown field "spec.foo"',
        'unknown field "spec.template.spec.containers[1].imagee"',
        'unknown field "Spec"',
    ]
    assert "foo" not in obj["spec"]
    assert "Spec" not in obj
    assert obj["spec"]["template"]["spec"]["containers"][1] == {"name": "b", "resources": {}}


def test_unknown_fields_stop_at_a_hundred() -> None:
    obj = {"data": {}, **{f"field{number}": 1 for number in range(150)}}
    assert len(schemas().check(CONFIG_MAP, obj).unknown) == 100


def _container(**fields: Any) -> dict[str, Any]:
    return {"spec": {"containers": [{"name": "a", **fields}]}}


@pytest.mark.parametrize(
    ("definition", "obj", "error"),
    [
        (
            DEPLOYMENT,
            {"spec": {"replicas": "3"}},
            "json: cannot unmarshal string into Go struct field DeploymentSpec.spec.replicas of type int32",
        ),
        (
            DEPLOYMENT,
            {"spec": {"replicas": 1.5}},
            "json: cannot unmarshal number 1.5 into Go struct field DeploymentSpec.spec.replicas of type int32",
        ),
        (
            DEPLOYMENT,
            {"spec": {"replicas": 3000000000}},
            "json: cannot unmarshal number 3000000000 into Go struct field DeploymentSpec.spec.replicas of type int32",
        ),
        (
            POD,
            _container(image=1),
            "json: cannot unmarshal number into Go struct field Container.spec.containers.image of type string",
        ),
        (
            POD,
            _container(tty="yes"),
            "json: cannot unmarshal string into Go struct field Container.spec.containers.tty of type bool",
        ),
        (
            POD,
            {"spec": {"containers": {"name": "a"}}},
            "json: cannot unmarshal object into Go struct field PodSpec.spec.containers of type []v1.Container",
        ),
        (
            POD,
            {"spec": []},
            "json: cannot unmarshal array into Go struct field Pod.spec of type v1.PodSpec",
        ),
        (
            POD,
            {"spec": {"volumes": [{"name": "a", "emptyDir": True}]}},
            "json: cannot unmarshal bool into Go struct field Volume.spec.volumes.VolumeSource.emptyDir of type "
            "v1.EmptyDirVolumeSource",
        ),
        (
            POD,
            {"spec": {"containers": [], "restartPolicy": 3}},
            "json: cannot unmarshal number into Go struct field PodSpec.spec.restartPolicy of type v1.RestartPolicy",
        ),
        (
            "io.k8s.api.core.v1.PersistentVolumeClaim",
            {"spec": {"accessModes": "ReadWriteOnce"}},
            "json: cannot unmarshal string into Go struct field PersistentVolumeClaimSpec.spec.accessModes of type "
            "[]v1.PersistentVolumeAccessMode",
        ),
        (
            "io.k8s.api.core.v1.PersistentVolumeClaim",
            {"spec": {"accessModes": ["ReadWriteOnce", 1]}},
            "json: cannot unmarshal number into Go struct field PersistentVolumeClaimSpec.spec.accessModes of type "
            "v1.PersistentVolumeAccessMode",
        ),
        (
            CONFIG_MAP,
            {"data": {"a": 1}},
            "json: cannot unmarshal number into Go struct field ConfigMap.data of type string",
        ),
        (
            POD,
            _container(resources={"limits": ["1"]}),
            "json: cannot unmarshal array into Go struct field ResourceRequirements.spec.containers.resources.limits "
            "of type v1.ResourceList",
        ),
        (POD, _container(resources={"limits": {"cpu": "1cores"}}), "quantities must match the regular expression "),
        (POD, _container(resources={"limits": {"memory": "1GiB"}}), "quantities must match the regular expression "),
        (POD, _container(resources={"limits": {"memory": "1i"}}), "unable to parse quantity's suffix"),
        (
            POD,
            _container(livenessProbe={"httpGet": {"port": True}}),
            "json: cannot unmarshal bool into Go value of type",
        ),
        (SECRET, {"data": {"a": "not base64"}}, "illegal base64 data at input byte 3"),
        (SECRET, {"data": {"a": "YWI"}}, "illegal base64 data at input byte "),
        (POD, {"metadata": {"creationTimestamp": "soon"}}, 'parsing time "soon" as "2006-01-02T15:04:05Z07:00"'),
        (POD, {"metadata": {"creationTimestamp": 3}}, "json: cannot unmarshal number into Go value of type string"),
        (POD, [], "json: cannot unmarshal array into Go value of type v1.Pod"),
        (POD, None, "json: cannot unmarshal null into Go value of type v1.Pod"),
    ],
)
def test_type_errors(definition: str, obj: Any, error: str) -> None:
    found = schemas().check(definition, obj).error
    assert found is not None
    assert found.startswith(error)


def test_the_first_error_counts_and_unknown_fields_are_still_named() -> None:
    checked = schemas().check(DEPLOYMENT, {"spec": {"foo": 1, "replicas": "x", "minReadySeconds": "y"}})
    assert checked.unknown == ['unknown field "spec.foo"']
    assert checked.error is not None
    assert "spec.replicas" in checked.error


def test_int_or_string() -> None:
    for port in (80, "http"):
        obj = {"spec": {"ports": [{"port": 80, "targetPort": port}]}}
        assert schemas().check(SERVICE, obj).error is None
        assert obj["spec"]["ports"][0]["targetPort"] == port


def test_free_form_parts_hold_anything() -> None:
    obj = {"data": {"x": [1, None, {"y": None}]}, "revision": 1}
    assert schemas().check("io.k8s.api.apps.v1.ControllerRevision", obj).error is None
    assert obj["data"] == {"x": [1, None, {"y": None}]}


def test_every_definition_compiles() -> None:
    own = Schemas()
    for name in raw_definitions():
        own.node(name)


def test_unknown_definition() -> None:
    assert not schemas().has("io.example.Nothing")
    with pytest.raises(UnknownDefinition):
        schemas().node("io.example.Nothing")


def test_definitions_can_be_added_for_custom_resources() -> None:
    own = Schemas()
    own.add(
        "com.example.v1.Backup",
        {
            "type": "object",
            "properties": {
                "spec": {
                    "type": "object",
                    "properties": {
                        "count": {"type": "integer", "format": "int32"},
                        "port": {"x-kubernetes-int-or-string": True},
                        "extra": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
                        "labels": {"type": "object", "additionalProperties": {"type": "string"}},
                        "open": {
                            "type": "object",
                            "properties": {"a": {"type": "string"}},
                            "x-kubernetes-preserve-unknown-fields": True,
                        },
                    },
                }
            },
        },
    )
    good = {"spec": {"count": 1, "port": "a", "extra": {"x": 1}, "labels": {"a": "b"}, "open": {"a": "b", "c": 3}}}
    assert own.check("com.example.v1.Backup", good).error is None
    assert good["spec"]["open"] == {"a": "b", "c": 3}
    assert own.check("com.example.v1.Backup", {"spec": {"labels": {"a": 1}}}).error is not None
    assert own.check("com.example.v1.Backup", {"spec": {"nope": 1}}).unknown == ['unknown field "spec.nope"']

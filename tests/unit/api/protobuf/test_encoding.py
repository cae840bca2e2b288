"""Each rule of the encoding, on bytes written by hand."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.api.protobuf.messages import body, number, part
from timonel.api.errors import BadRequest
from timonel.api.protobuf import decode_protobuf


def pod(raw: bytes) -> dict[str, Any]:
    return decode_protobuf(body("v1", "Pod", raw))


def pod_spec(raw: bytes) -> dict[str, Any]:
    spec: dict[str, Any] = pod(part(2, raw))["spec"]
    return spec


def volume(source: bytes) -> dict[str, Any]:
    spec = pod_spec(part(1, part(1, "v") + part(2, source)))
    found: dict[str, Any] = spec["volumes"][0]
    return found


def test_kind_and_version_come_from_the_envelope() -> None:
    assert pod(part(1, part(1, "web"))) == {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "web"}}


def test_an_envelope_without_kind_is_what_was_expected() -> None:
    found = decode_protobuf(b"k8s\0" + part(2, part(1, part(1, "web"))), kind="ConfigMap", api_version="v1")
    assert found == {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "web"}}


def test_delete_options_come_under_any_version() -> None:
    found = decode_protobuf(body("apps/v1", "DeleteOptions", number(1, 30) + part(4, "Orphan")))
    assert found == {
        "apiVersion": "apps/v1", "kind": "DeleteOptions", "gracePeriodSeconds": 30, "propagationPolicy": "Orphan",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("api_version", "kind"),
    [
        ("v1", "Binding"),
        ("v1", "Event"),
        ("v1", "Status"),
        ("policy/v1", "Eviction"),
        ("autoscaling/v1", "Scale"),
        ("authentication.k8s.io/v1", "TokenRequest"),
        ("apps/v1", "ReplicaSet"),
        ("discovery.k8s.io/v1", "EndpointSlice"),
        ("coordination.k8s.io/v1", "Lease"),
        ("events.k8s.io/v1", "Event"),
    ],
)
def test_kinds_of_subresources_and_of_clients_are_known(api_version: str, kind: str) -> None:
    assert decode_protobuf(body(api_version, kind, b"")) == {"apiVersion": api_version, "kind": kind}


def test_integers_are_signed() -> None:
    assert pod_spec(number(4, 30) + number(25, -5)) == {"terminationGracePeriodSeconds": 30, "priority": -5}
    assert pod_spec(number(4, -(2**63))) == {"terminationGracePeriodSeconds": -(2**63)}


def test_zero_is_kept_where_it_differs_from_absent_and_dropped_where_not() -> None:
    # terminationGracePeriodSeconds is a pointer upstream; hostNetwork and nodeName are values, always written.
    assert pod_spec(number(4, 0) + number(11, 0) + part(10, "")) == {"terminationGracePeriodSeconds": 0}


def test_booleans() -> None:
    assert pod_spec(number(11, 1) + number(21, 0)) == {"hostNetwork": True, "automountServiceAccountToken": False}


def test_repeated_numbers_come_one_by_one_or_packed() -> None:
    # PodSecurityContext.supplementalGroups = 4
    assert pod_spec(part(14, number(4, 1) + number(4, 300))) == {"securityContext": {"supplementalGroups": [1, 300]}}
    assert pod_spec(part(14, part(4, b"\x01\xac\x02"))) == {"securityContext": {"supplementalGroups": [1, 300]}}


def test_maps_are_entries_and_either_half_may_be_missing() -> None:
    entries = part(7, part(1, "a") + part(2, "b")) + part(7, part(1, "c")) + part(7, part(2, "d"))
    assert pod_spec(entries) == {"nodeSelector": {"a": "b", "c": "", "": "d"}}


def test_a_repeated_embedded_message_is_merged_and_a_repeated_string_replaced() -> None:
    raw = part(1, part(1, "old") + part(3, "ns")) + part(1, part(1, "new"))
    assert pod(raw)["metadata"] == {"name": "new", "namespace": "ns"}


def test_bytes_are_base64() -> None:
    raw = part(2, part(1, "k") + part(2, b"\x00\xff"))
    assert decode_protobuf(body("v1", "Secret", raw))["data"] == {"k": "AP8="}


def test_quantities_are_strings() -> None:
    # Container.resources = 8, limits = 1, an entry's value is a Quantity {string = 1}; an empty one is zero.
    limits = part(1, part(1, "cpu") + part(2, part(1, "500m"))) + part(1, part(1, "memory") + part(2, b""))
    spec = pod_spec(part(2, part(8, limits)))
    assert spec == {"containers": [{"resources": {"limits": {"cpu": "500m", "memory": "0"}}}]}


def test_ports_are_numbers_or_names() -> None:
    # ServiceSpec.ports = 1, targetPort = 4
    def target(raw: bytes) -> Any:
        return decode_protobuf(body("v1", "Service", part(2, part(1, part(4, raw)))))["spec"]["ports"][0]["targetPort"]

    assert target(number(1, 0) + number(2, 8080) + part(3, "")) == 8080
    assert target(number(1, 1) + number(2, 0) + part(3, "http")) == "http"
    with pytest.raises(BadRequest, match="impossible IntOrString"):
        target(number(1, 2))


def test_times() -> None:
    # ObjectMeta.creationTimestamp = 8; 1 767 323 045 s is 2026-01-02T03:04:05Z. Fractions of a Time are dropped.
    def created(raw: bytes) -> Any:
        return pod(part(1, part(8, raw)))["metadata"].get("creationTimestamp")

    assert created(number(1, 1767323045) + number(2, 999_999_999)) == "2026-01-02T03:04:05Z"
    assert created(number(1, 0) + number(2, 0)) == "1970-01-01T00:00:00Z"
    assert created(b"") is None
    assert created(number(1, -62135596800) + number(2, 0)) is None
    with pytest.raises(BadRequest, match="year outside of range"):
        created(number(1, 2**62))


def test_micro_times_keep_six_decimals() -> None:
    # LeaseSpec.renewTime = 4
    raw = part(2, part(4, number(1, 1767323045) + number(2, 6_999)))
    lease = decode_protobuf(body("coordination.k8s.io/v1", "Lease", raw))
    assert lease["spec"]["renewTime"] == "2026-01-02T03:04:05.000006Z"


def test_managed_fields_are_the_json_inside() -> None:
    entry = part(1, "m") + part(7, part(1, '{"f:spec":{}}'))
    assert pod(part(1, part(17, entry)))["metadata"]["managedFields"] == [{"manager": "m", "fieldsV1": {"f:spec": {}}}]
    with pytest.raises(BadRequest, match="json parse error"):
        pod(part(1, part(17, part(7, part(1, "{")))))


def test_inlined_messages_land_among_their_parents_fields() -> None:
    # Volume.volumeSource = 2; VolumeSource: emptyDir = 2, configMap = 19, whose name is in LocalObjectReference = 1
    assert volume(part(2, b"")) == {"name": "v", "emptyDir": {}}
    assert volume(part(19, part(1, part(1, "c")) + number(3, 420))) == {
        "name": "v", "configMap": {"name": "c", "defaultMode": 420},
    }  # fmt: skip
    # Container.livenessProbe = 10; Probe.handler = 1, periodSeconds = 4; handler: exec = 1, whose command = 1
    probe = part(1, part(1, part(1, "true"))) + number(4, 7)
    assert pod_spec(part(2, part(10, probe)))["containers"][0]["livenessProbe"] == {
        "exec": {"command": ["true"]}, "periodSeconds": 7,
    }  # fmt: skip


def test_lists_of_strings_in_a_map_are_messages() -> None:
    # SubjectAccessReviewSpec.extra = 5
    raw = part(2, part(5, part(1, "scopes") + part(2, part(1, "a") + part(1, "b"))))
    found = decode_protobuf(body("authorization.k8s.io/v1", "SubjectAccessReview", raw))
    assert found["spec"]["extra"] == {"scopes": ["a", "b"]}


@pytest.mark.parametrize(
    "unknown",
    [
        number(999, 2**64 - 1),
        part(999, b"\xff\xff"),
        b"\xc1\x3e" + b"12345678",  # a fixed 64-bit number 1000
        b"\xc5\x3e" + b"1234",  # a fixed 32-bit one
        b"\xc3\x3e" + b"\xc3\x3e" + number(1, 1) + b"\xc4\x3e" + b"\xc4\x3e",  # groups
    ],
)
def test_unknown_numbers_are_passed_over(unknown: bytes) -> None:
    assert pod_spec(unknown + part(10, "n1") + unknown) == {"nodeName": "n1"}

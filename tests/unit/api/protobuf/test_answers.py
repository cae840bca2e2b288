"""What is written in protobuf reads back as it was, for every kind that has messages."""

from __future__ import annotations

import struct

import pytest

from tests.unit.api.protobuf import messages
from timonel.api.errors import BadRequest
from timonel.api.protobuf import can_encode, decode_protobuf, encode_event, encode_protobuf
from timonel.api.schema import UnknownDefinition

POD = {
    "kind": "Pod",
    "apiVersion": "v1",
    "metadata": {
        "name": "p",
        "creationTimestamp": "2026-11-23T18:30:00Z",
        "labels": {"a": "b", "": ""},
        "managedFields": [{"manager": "x", "fieldsV1": {"f:a": {}}, "time": "2026-11-23T18:30:00Z"}],
    },
    "spec": {
        "terminationGracePeriodSeconds": -5,
        "hostNetwork": True,
        "volumes": [{"name": "v", "emptyDir": {"sizeLimit": "1Gi"}}, {"name": "w", "emptyDir": {}}],
        "containers": [
            {
                "name": "c",
                "image": "i",
                "command": ["x" * 200, ""],
                "resources": {"requests": {"cpu": "5m"}},
                "livenessProbe": {"httpGet": {"port": 80, "path": "/"}},
                "readinessProbe": {"httpGet": {"port": "http"}},
            }
        ],
    },
}
OTHERS = [
    {
        "kind": "CustomResourceDefinition",
        "apiVersion": "apiextensions.k8s.io/v1",
        "metadata": {"name": "c"},
        "spec": {
            "group": "g",
            "names": {"plural": "p", "kind": "K"},
            "scope": "Namespaced",
            "versions": [
                {
                    "name": "v1",
                    "served": True,
                    "storage": False,
                    "schema": {
                        "openAPIV3Schema": {
                            "type": "object",
                            "maximum": 1.5,
                            "minimum": -3,
                            "default": {"a": [None, 1]},
                            "enum": [None, "x", 2],
                            "x-kubernetes-preserve-unknown-fields": True,
                            "properties": {
                                "a": {"items": {"type": "string"}, "additionalProperties": True},
                                "b": {"items": [{"type": "string"}, {}], "additionalProperties": {"type": "integer"}},
                                "c": {"dependencies": {"x": ["y"], "z": {"type": "null"}}, "additionalItems": False},
                                "d": {"not": {"not": {"allOf": [{"type": "x"}]}}},
                            },
                        }
                    },
                }
            ],
        },
    },
    {"kind": "Secret", "apiVersion": "v1", "metadata": {"name": "s"}, "data": {"a": "AAH/"}, "type": "Opaque"},
    {
        "kind": "Lease",
        "apiVersion": "coordination.k8s.io/v1",
        "metadata": {"name": "l"},
        "spec": {"leaseDurationSeconds": 15, "renewTime": "2026-11-23T18:30:00.123456Z"},
    },
    {
        "kind": "SubjectAccessReview",
        "apiVersion": "authorization.k8s.io/v1",
        "metadata": {},
        "spec": {"user": "u", "extra": {"a": ["b", "c"]}},
    },
    {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": 'pods "é" not found',
        "code": 404,
        "details": {"name": "é", "causes": [{"reason": "x", "field": "y"}]},
    },
]


@pytest.mark.parametrize("obj", [POD, *OTHERS], ids=lambda obj: obj["kind"])
def test_it_reads_back_as_it_was(obj):
    assert decode_protobuf(encode_protobuf(obj)) == obj


def test_the_bytes_of_a_small_object():
    # By hand, from the field numbers: envelope 1 = {1 apiVersion, 2 kind}, 2 = the object, 3 and 4 empty.
    raw = b"\x0a\x03\x0a\x01n" + b"\x12\x06\x0a\x01k\x12\x01v"
    expected = b"k8s\0" + b"\x0a\x0f\x0a\x02v1\x12\x09ConfigMap" + b"\x12\x0d" + raw + b"\x1a\x00\x22\x00"
    obj = {"kind": "ConfigMap", "apiVersion": "v1", "metadata": {"name": "n"}, "data": {"k": "v"}}
    assert encode_protobuf(obj) == expected


def test_lists_have_metadata_and_items():
    item = b"\x0a\x03\x0a\x01n"
    raw = b"\x0a\x03\x12\x017" + b"\x12\x05" + item
    items = [{"kind": "ConfigMap", "apiVersion": "v1", "metadata": {"name": "n"}}]
    made = encode_protobuf(
        {"kind": "ConfigMapList", "apiVersion": "v1", "metadata": {"resourceVersion": "7"}, "items": items}
    )
    assert made.endswith(b"\x12\x0c" + raw + b"\x1a\x00\x22\x00")


def test_events_carry_their_length_and_the_whole_envelope():
    obj = {"kind": "ConfigMap", "apiVersion": "v1", "metadata": {"name": "n"}}
    frame = encode_event("ADDED", obj)
    (length,) = struct.unpack(">I", frame[:4])
    assert length == len(frame) - 4
    envelope = encode_protobuf(obj)
    inner = b"\x0a" + bytes((len(envelope),)) + envelope
    assert frame[4:] == b"\x0a\x05ADDED\x12" + bytes((len(inner),)) + inner


def test_metadata_alone_has_a_message_under_any_kind():
    made = encode_protobuf({"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": {"name": "n"}})
    assert made.endswith(b"\x12\x05\x0a\x03\x0a\x01n\x1a\x00\x22\x00")
    assert can_encode("meta.k8s.io/v1", "PartialObjectMetadataList")


def test_kinds_without_messages_say_so():
    assert not can_encode("example.com/v1", "Foo")
    with pytest.raises(UnknownDefinition):
        encode_protobuf({"kind": "Foo", "apiVersion": "example.com/v1"})


def test_schemas_nested_without_end_are_refused():
    schema = b""
    for _ in range(2000):
        schema = b"\xe2\x01" + _length(schema) + schema  # not = 28
    for tag in (b"\x0a", b"\x22", b"\x3a", b"\x12"):  # openAPIV3Schema, schema, versions, spec
        schema = tag + _length(schema) + schema
    with pytest.raises(BadRequest, match="exceeded max depth"):
        decode_protobuf(messages.body("apiextensions.k8s.io/v1", "CustomResourceDefinition", schema))


def _length(content: bytes) -> bytes:
    return messages.varint(len(content))

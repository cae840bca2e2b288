"""Protobuf bodies, made here byte by byte as protobuf.dev/programming-guides/encoding describes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from timonel.apiserver.protobuf.messages import parse_messages
from timonel.apiserver.protobuf.wire import Malformed, UnknownMessage, decode_message, open_envelope


def varint(value: int) -> bytes:
    made = b""
    while value > 127:
        made += bytes([value & 127 | 128])
        value >>= 7
    return made + bytes([value])


def number(field: int, value: int) -> bytes:
    return varint(field << 3) + varint(value)


def block(field: int, content: bytes | str) -> bytes:
    data = content.encode() if isinstance(content, str) else content
    return varint(field << 3 | 2) + varint(len(data)) + data


def envelope(kind: str, raw: bytes, api_version: str = "v1") -> bytes:
    return b"k8s\x00" + block(1, block(1, api_version) + block(2, kind)) + block(2, raw)


def test_the_envelope_says_what_is_inside():
    opened = open_envelope(envelope("ConfigMap", b"\x0a\x00"))
    assert (opened.api_version, opened.kind, opened.raw) == ("v1", "ConfigMap", b"\x0a\x00")


def test_a_config_map():
    labels = block(11, block(1, "app") + block(2, "x"))  # ObjectMeta.labels = 11
    metadata = block(1, "a") + block(3, "default") + labels
    raw = block(1, metadata) + block(2, block(1, "k") + block(2, "v")) + block(2, block(1, "empty"))
    assert decode_message(raw, "io.k8s.api.core.v1.ConfigMap") == {
        "metadata": {"name": "a", "namespace": "default", "labels": {"app": "x"}},
        "data": {"k": "v", "empty": ""},
    }


def test_bytes_become_base64_and_times_text():
    when = block(8, number(1, 1767268800))  # ObjectMeta.creationTimestamp = 8; 2026-01-01T12:00:00Z
    raw = block(1, block(1, "s") + when) + block(2, block(1, "p") + block(2, b"\x00\xff"))
    assert decode_message(raw, "io.k8s.api.core.v1.Secret") == {
        "metadata": {"name": "s", "creationTimestamp": "2026-01-01T12:00:00Z"},
        "data": {"p": "AP8="},
    }


def test_a_time_that_is_not_set_is_left_out():
    assert decode_message(block(1, block(8, b"")), "io.k8s.api.core.v1.Secret") == {"metadata": {}}


def test_inner_messages_that_json_does_not_show():
    """Volume.volumeSource (2) and its emptyDir (2) are one level in JSON."""
    volume = block(1, "tmp") + block(2, block(2, block(1, "Memory")))
    probe = block(1, block(2, block(2, number(1, 0) + number(2, 80))))  # httpGet.port = 2: IntOrString
    container = block(1, "c") + block(10, probe)
    raw = block(2, block(1, volume) + block(2, container))
    assert decode_message(raw, "io.k8s.api.core.v1.Pod")["spec"] == {
        "volumes": [{"name": "tmp", "emptyDir": {"medium": "Memory"}}],
        "containers": [{"name": "c", "livenessProbe": {"httpGet": {"port": 80}}}],
    }


def test_quantities_and_negative_numbers():
    limits = block(1, block(1, "cpu") + block(2, block(1, "500m")))
    container = block(1, "c") + block(8, limits)
    raw = block(2, block(2, container) + number(25, 2**64 - 5))  # PodSpec.priority = 25
    spec = decode_message(raw, "io.k8s.api.core.v1.Pod")["spec"]
    assert spec["containers"][0]["resources"] == {"limits": {"cpu": "500m"}}
    assert spec["priority"] == -5


def test_a_message_that_is_its_list():
    """SubjectAccessReviewSpec.extra (5) maps to ExtraValue{items = 1}, which JSON writes as a list."""
    raw = block(2, block(5, block(1, "k") + block(2, block(1, "a") + block(1, "b"))))
    made = decode_message(raw, "io.k8s.api.authorization.v1.SubjectAccessReview")
    assert made == {"spec": {"extra": {"k": ["a", "b"]}}}


def test_fields_of_later_versions_are_skipped():
    raw = block(999, "new") + number(998, 1) + varint(997 << 3 | 5) + b"1234" + varint(996 << 3 | 1) + b"12345678"
    assert decode_message(raw, "io.k8s.api.core.v1.ConfigMap") == {}


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        b"k8s\x00\x0a",
        b"k8s\x00\x0a\x05ab",
        b"k8s\x00\x08" + b"\xff" * 11,
        b"k8s\x00\x03",
        envelope("X", b"")[:-1] + b"\x0a\x00",
        b"k8s\x00" + block(3, "gzip"),
    ],
)
def test_broken_envelopes(body):
    with pytest.raises(Malformed):
        open_envelope(body)


def test_unknown_kinds():
    with pytest.raises(UnknownMessage):
        decode_message(b"", "io.k8s.api.none.v1.Nothing")


@given(st.binary(max_size=200))
def test_any_bytes_give_an_object_or_malformed(raw):
    for name in ("io.k8s.api.core.v1.Pod", "io.k8s.api.authorization.v1.SubjectAccessReview"):
        try:
            assert isinstance(decode_message(raw, name), dict)
        except Malformed:
            pass


def test_the_table_of_fields():
    table = parse_messages(
        "# note\n\n[a.b]\nOne: 1 name string, 2 two [Two],\n    3 map {c.Three}\nTwo: 1 * [string]\n"
    )
    assert {field: (each.name, each.type, each.shape) for field, each in table["a.b.One"].items()} == {
        1: ("name", "string", "one"),
        2: ("two", "a.b.Two", "list"),
        3: ("map", "c.Three", "map"),
    }
    assert table["a.b.Two"][1].name == "*"

"""Whatever arrives is an object or a BadRequest that says why."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.api.protobuf.messages import body, number, part
from timonel.api.errors import BadRequest
from timonel.api.protobuf import decode_protobuf

RECORDED = [
    base64.b64decode(case["body"]) for case in yaml.safe_load(Path(__file__).with_name("kubectl.yaml").read_text())
]


@pytest.mark.parametrize(
    ("sent", "why"),
    [
        (b"", "empty data"),
        (b"k8s\0", "empty body"),
        (b'{"kind":"Pod"}', r"does not appear to be a protobuf message, expected prefix \[107 56 115 0\]"),
        (b"k8s\0\x0a\x05", "unexpected EOF"),
        (b"k8s\0\x0a", "unexpected EOF"),
        (b"k8s\0" + b"\x80" * 20, "integer overflow"),
        (b"k8s\0\x12\xff\xff\xff\xff\xff\xff\xff\xff\x7f", "unexpected EOF"),
        (b"k8s\0" + part(3, "gzip") + part(2, b"x"), 'content encoding "gzip" is not supported'),
    ],
)
def test_an_envelope_out_of_order_is_refused(sent: bytes, why: str) -> None:
    with pytest.raises(BadRequest, match=rf"must be of type Pod\): .*{why}"):
        decode_protobuf(sent, kind="Pod", api_version="v1")


@pytest.mark.parametrize(
    ("raw", "why"),
    [
        (number(2, 1), "wrong wireType = 0 for field 2 of Pod"),
        (part(2, part(4, b"\x01")), "wrong wireType = 2 for field 4 of PodSpec"),
        (part(2, b"\x0a\x7f"), "unexpected EOF"),
        (part(2, b"\x20\x80") + number(900, 0), "unexpected EOF"),  # a number that runs on behind its message
        (part(2, b"\xc5\x3e1"), "unexpected EOF"),
        (b"\x00\x00", "illegal tag 0"),
        (b"\xc4\x3e", "end group for non-group"),
        (b"\xc3\x3e" * 5000, "unexpected EOF"),
        (b"\xc6\x3e", "illegal wireType 6"),
        (part(1, part(1, b"\xff")), "invalid UTF-8"),
        (part(1, part(17, part(7, part(1, b'{"a":' * 5000)))), "json parse error"),
        (part(1, part(17, part(7, part(1, b'{"a":' * 230 + b"1" + b"}" * 230)))), "exceeded max depth"),
    ],
)
def test_a_message_out_of_order_is_refused(raw: bytes, why: str) -> None:
    with pytest.raises(BadRequest, match=f'Pod in version "v1" cannot be handled as a Pod: .*{why}'):
        decode_protobuf(body("v1", "Pod", raw), kind="Pod", api_version="v1")


def test_an_unknown_kind_is_refused_by_name() -> None:
    with pytest.raises(BadRequest, match='no kind "Ship" is registered for version "v1"'):
        decode_protobuf(body("v1", "Ship", b""), kind="Pod")
    with pytest.raises(BadRequest, match=r'version "example\.com/v1"'):
        decode_protobuf(body("example.com/v1", "Pod", b""), kind="Pod")


def is_object_or_refused(sent: bytes) -> bool:
    try:
        return isinstance(decode_protobuf(sent), dict)
    except BadRequest as exc:
        return bool(exc.message)


@given(st.binary())
def test_any_bytes_are_an_object_or_refused(raw: bytes) -> None:
    for sent in (raw, b"k8s\0" + raw, body("v1", "Pod", raw), body("v1", "Pod", part(2, raw))):
        assert is_object_or_refused(sent)


@given(st.sampled_from(RECORDED), st.data())
def test_a_changed_body_is_an_object_or_refused(sent: bytes, data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(sent) - 1))
    cut = data.draw(st.integers(at, len(sent)))
    changed = sent[:at] + data.draw(st.binary(max_size=8)) + sent[cut:]
    assert is_object_or_refused(changed)

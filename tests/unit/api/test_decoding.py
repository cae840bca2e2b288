import json
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.api.samples import web_pod
from timonel.api.decode import cannot_be_handled, decode, strict_decoding_error
from timonel.api.errors import BadRequest, UnsupportedMediaType


def test_json() -> None:
    decoded = decode(orjson.dumps(web_pod()), "application/json; charset=utf-8")
    assert decoded.obj == web_pod()
    assert decoded.duplicates == []


@pytest.mark.parametrize(
    ("body", "duplicates"),
    [
        (b'{"spec":{"a":1,"a":2}}', ['duplicate field "spec.a"']),
        (b'{"a":1, "a" : 2}', ['duplicate field "a"']),
        (
            b'{"l":[{"x":1},{"y":1,"y":2}],"m":{"z":1,"z":1,"z":1}}',
            ['duplicate field "l[1].y"', 'duplicate field "m.z"'],
        ),
        (rb'{"\u0061":1,"a":2}', ['duplicate field "a"']),
        (rb'{"a":"\u0022:","b":"\":"}', []),
    ],
)
def test_duplicates_are_named_and_the_last_one_counts(body: bytes, duplicates: list[str]) -> None:
    decoded = decode(body)
    assert decoded.duplicates == duplicates
    assert decoded.obj == json.loads(body)


_names = st.text('ab":\\\u2028', max_size=3)
_values = st.recursive(st.text('":\\ {', max_size=4) | st.integers(0, 9), lambda v: st.lists(v, max_size=3))


@given(st.lists(st.tuples(_names, _values), max_size=6), st.booleans(), st.booleans())
def test_duplicates_are_found_in_any_spelling(pairs: list[tuple[str, Any]], ascii_only: bool, spaced: bool) -> None:
    colon = " :\n" if spaced else ":"
    fields = [json.dumps(k, ensure_ascii=ascii_only) + colon + json.dumps(v, ensure_ascii=ascii_only) for k, v in pairs]
    decoded = decode(("{" + ",".join(fields) + "}").encode())
    assert decoded.obj == dict(pairs)
    assert bool(decoded.duplicates) == (len(dict(pairs)) != len(pairs))


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "unexpected end of JSON input"),
        (b'{"a":', "unexpected end of JSON input"),
        (b'{"a":"b', "unexpected end of JSON input"),
        (b'{"a":tr', "unexpected end of JSON input"),
        (b'{"a":1}x', "invalid character 'x' after top-level value"),
        (b"{a:1}", "invalid character 'a' looking for beginning of object key string"),
        (b"{'a':1}", "invalid character '\\'' looking for beginning of object key string"),
        (b'{"a" 1}', "invalid character '1' after object key"),
        (b'{"a":1 "b":2}', "invalid character '\"' after object key:value pair"),
        (b"[1 2]", "invalid character '2' after array element"),
        (b'{"a":?}', "invalid character '?' looking for beginning of value"),
        (b'{"a":"\n"}', "invalid character '\\n' in string literal"),
        (b'{"a":"\\x"}', "invalid character 'x' in string escape code"),
        (b'{"a":"\xff"}', "invalid UTF-8 at byte 6"),
        (b"[" * 100_000 + b"]" * 100_000, "exceeded max depth"),
        (b'{"a":' * 201 + b"1" + b"}" * 201, "exceeded max depth"),
    ],
)
def test_broken_json(body: bytes, reason: str) -> None:
    with pytest.raises(BadRequest) as caught:
        decode(body)
    assert caught.value.message == f"couldn't get version/kind; json parse error: {reason}"


def test_what_was_expected_is_said() -> None:
    with pytest.raises(BadRequest) as caught:
        decode(b'{"kind":"Pod","metadata":{"name":"too long to show", oops', kind="Pod")
    assert caught.value.message == (
        "the object provided is unrecognized (must be of type Pod): couldn't get version/kind; json parse error: "
        "invalid character 'o' looking for beginning of object key string "
        '({"kind":"Pod","metadata":{"nam ...)'
    )


def test_the_deepest_body_can_still_be_written_in_a_list() -> None:
    body = b'{"a":' * 200 + b"1" + b"}" * 200
    assert orjson.dumps({"items": [decode(body).obj]})


def test_other_media_types_are_refused() -> None:
    with pytest.raises(UnsupportedMediaType):
        decode(b"{}", "application/vnd.kubernetes.protobuf")


def test_yaml() -> None:
    body = b"""
apiVersion: v1
kind: ConfigMap
metadata: {name: a, labels: &l {x: "1"}}
data: {date: 2001-01-01, ratio: 1:30, on-off: "on"}
more: {true: yes, 3: 0x10, n: ~, f: 1e3, octal: 0777, text: 08, merged: {<<: *l, w: z}}
"""
    assert decode(body, "application/yaml").obj == {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "a", "labels": {"x": "1"}},
        "data": {"date": "2001-01-01", "ratio": "1:30", "on-off": "on"},
        "more": {
            "true": True, "3": 16, "false": None, "f": 1000.0, "octal": 511, "text": 8, "merged": {"x": "1", "w": "z"},
        },
    }  # fmt: skip


def test_yaml_duplicates() -> None:
    decoded = decode(b"a: 1\nb: {c: 1, c: 2}\na: 3\n", "application/yaml")
    assert decoded.obj == {"a": 3, "b": {"c": 2}}
    assert decoded.duplicates == [
        'yaml: unmarshal errors:\n  line 2: key "c" already set in map\n  line 3: key "a" already set in map'
    ]


def test_json_under_the_media_type_of_apply() -> None:
    decoded = decode(b'{"a":1,"a":2}', "application/apply-patch+yaml")
    assert decoded.duplicates == ['yaml: unmarshal errors:\n  line 1: key "a" already set in map']


def test_repeated_objects_become_one() -> None:
    decoded = decode(b'{"m":{"a":{"b":1,"c":1}},"m":{"a":{"b":2,"d":3,"d":4}}}')
    assert decoded.obj == {"m": {"a": {"b": 2, "c": 1, "d": 4}}}
    assert decoded.duplicates == ['duplicate field "m"', 'duplicate field "m.a.d"']


def test_lines_of_yaml_errors_are_counted_as_upstream_does() -> None:
    for body, line in ((b"a: [\n", 1), (b"x: 1\na: [b: c\nd: : e\n", 2), (b"x: 1\na: 'b\n", 3)):
        with pytest.raises(BadRequest, match=f"yaml: line {line}: "):
            decode(body, "application/yaml")


def test_what_follows_the_first_document_is_not_looked_at() -> None:
    assert decode(b"a: 1\n---\na: 2\n", "application/yaml").obj == {"a": 1}


@pytest.mark.parametrize("body", [b"a: [", b"a: b: c", b"\xff", b"a: .inf", b"a: &a [*a]"])
def test_broken_yaml(body: bytes) -> None:
    with pytest.raises(BadRequest, match="error converting YAML to JSON: "):
        decode(body, "application/apply-patch+yaml")


@pytest.mark.parametrize("piece", [b"[", b"{a: ", b"- ", b"? ", b"a: {b: [", b"!x &y [", b'"a": ['])
def test_deep_yaml_neither_crashes_nor_takes_time(piece: bytes) -> None:
    for count in (201, 300_000):
        with pytest.raises(BadRequest, match="error converting YAML to JSON: "):
            decode(piece * count, "application/apply-patch+yaml")


def test_yaml_may_be_as_deep_as_json() -> None:
    assert decode(b"[" * 200 + b"]" * 200, "application/yaml").obj
    with pytest.raises(BadRequest, match="exceeded max depth"):
        decode(b"[" * 201 + b"]" * 201, "application/yaml")


def test_aliases_are_copies() -> None:
    obj = decode(b"a: &x [1]\nb: *x\n", "application/yaml").obj
    obj["a"].append(2)
    assert obj["b"] == [1]
    with pytest.raises(BadRequest, match="unknown anchor 'z' referenced"):
        decode(b"a: *z", "application/yaml")


def test_a_yaml_bomb_does_not_go_off() -> None:
    lines = [b"a: &a [x,x,x,x,x,x,x,x,x,x]"]
    lines += [b"%c: &%c [%s]" % (char, char, b",".join([b"*%c" % (char - 1)] * 10)) for char in range(98, 110)]
    with pytest.raises(BadRequest, match="excessive aliasing"):
        decode(b"\n".join(lines), "application/yaml")


def test_yaml_tags_make_no_objects() -> None:
    assert decode(b"a: !!python/object/apply:os.getcwd []", "application/yaml").obj == {"a": []}


def test_strict_message() -> None:
    error = cannot_be_handled(
        "Deployment", "v1", "Deployment", strict_decoding_error(['unknown field "a"', 'duplicate field "b"'])
    )
    assert error.message == (
        'Deployment in version "v1" cannot be handled as a Deployment: strict decoding error: unknown field "a", '
        'duplicate field "b"'
    )


def test_findings_are_told_in_the_order_of_the_text() -> None:
    body = b'{"spec": {"odd": 1, "replicas": 2, "replicas": 3, "strange": [{"a": 1}], "paused": true, "paused": false}}'
    decoded = decode(body)
    unknown = ['unknown field "spec.odd"', 'unknown field "spec.strange"']
    assert decoded.in_order([*decoded.duplicates, *unknown]) == [
        'unknown field "spec.odd"',
        'duplicate field "spec.replicas"',
        'unknown field "spec.strange"',
        'duplicate field "spec.paused"',
    ]

"""Rules of the documentation, each with a value that satisfies it and one that does not.

Source: kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/#validation-rules
"""

from __future__ import annotations

from typing import Any

import pytest

from timonel.api.cel import types
from timonel.api.cel.issues import CompileError, EvaluationError
from timonel.api.cel.program import compile_expression
from timonel.api.cel.schemas import convert, declare_schema, environment_of, escape, named

_INT, _TEXT = {"type": "integer"}, {"type": "string"}
_TEXTS = {"type": "array", "items": _TEXT}
_MAP = {"type": "object", "additionalProperties": _TEXT}


def _fields(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties}


def _listed(**properties: Any) -> dict[str, Any]:
    return {"type": "array", "items": _fields(**properties)}


def holds(rule: str, schema: dict[str, Any], value: Any, old: Any = None, *, root: bool = False) -> bool:
    declared = declare_schema(schema, root=root)
    assert declared is not None
    self = named(declared, "selfType")
    environment = environment_of(self=self).with_variables(oldSelf=self.type)
    program = compile_expression(rule, environment, (types.BOOL,), keep=False)
    result, _ = program.evaluate({"self": convert(self, value), "oldSelf": convert(self, old)})
    assert isinstance(result, bool)
    return result


_REPLICAS = _fields(minReplicas=_INT, replicas=_INT, maxReplicas=_INT)
_TIMES = _fields(
    created={"type": "string", "format": "date-time"}, ttl={"type": "string", "format": "duration"},
    expired={"type": "string", "format": "date-time"},
)  # fmt: skip


@pytest.mark.parametrize(
    ("rule", "schema", "good", "bad"),
    [
        (
            "self.minReplicas <= self.replicas && self.replicas <= self.maxReplicas", _REPLICAS,
            {"minReplicas": 1, "replicas": 2, "maxReplicas": 3}, {"minReplicas": 1, "replicas": 4, "maxReplicas": 3},
        ),
        (
            "'Available' in self.stateCounts",
            _fields(stateCounts={"type": "object", "additionalProperties": _INT}),
            {"stateCounts": {"Available": 0}}, {"stateCounts": {}},
        ),
        (
            "(size(self.list1) == 0) != (size(self.list2) == 0)", _fields(list1=_TEXTS, list2=_TEXTS),
            {"list1": [], "list2": ["a"]}, {"list1": ["a"], "list2": ["a"]},
        ),
        (
            "self.envars.filter(e, e.name == 'MY_ENV').all(e, e.value.matches('^[a-zA-Z]*$'))",
            _fields(envars=_listed(name=_TEXT, value=_TEXT)),
            {"envars": [{"name": "MY_ENV", "value": "ab"}, {"name": "OTHER", "value": "1"}]},
            {"envars": [{"name": "MY_ENV", "value": "1"}]},
        ),
        (
            "has(self.expired) && self.created + self.ttl < self.expired", _TIMES,
            {"created": "2026-01-01T00:00:00Z", "ttl": "1h", "expired": "2026-01-01T02:00:00Z"},
            {"created": "2026-01-01T00:00:00Z", "ttl": "3h", "expired": "2026-01-01T02:00:00Z"},
        ),
        ("self.health.startsWith('ok')", _fields(health=_TEXT), {"health": "okay"}, {"health": "bad"}),
        (
            "self.widgets.exists(w, w.key == 'x' && w.foo < 10)", _fields(widgets=_listed(key=_TEXT, foo=_INT)),
            {"widgets": [{"key": "y", "foo": 1}, {"key": "x", "foo": 9}]}, {"widgets": [{"key": "x", "foo": 10}]},
        ),
        (
            "type(self) == string ? self == '99%' : self == 42", {"x-kubernetes-int-or-string": True}, "99%", 41,
        ),
        (
            "self.set1.all(e, !(e in self.set2))", _fields(set1=_TEXTS, set2=_TEXTS),
            {"set1": ["a"], "set2": ["b"]}, {"set1": ["a"], "set2": ["a"]},
        ),
        (
            "size(self.names) == size(self.details) && self.names.all(n, n in self.details)",
            _fields(names=_TEXTS, details=_MAP),
            {"names": ["a"], "details": {"a": "b"}}, {"names": ["a"], "details": {"c": "b"}},
        ),
        (
            "size(self.clusters.filter(c, c.name == self.primary)) == 1",
            _fields(clusters=_listed(name=_TEXT), primary=_TEXT),
            {"clusters": [{"name": "a"}], "primary": "a"}, {"clusters": [], "primary": "a"},
        ),
        (
            "self.my__dash__field == 'a' && self.__namespace__ == 'b'",
            _fields(**{"my-field": _TEXT, "namespace": _TEXT}),
            {"my-field": "a", "namespace": "b"}, {"my-field": "a", "namespace": "c"},
        ),
        (
            "self.names == ['a', 'b']", _fields(names={**_TEXTS, "x-kubernetes-list-type": "set"}),
            {"names": ["b", "a"]}, {"names": ["b", "c"]},
        ),
        ("self.share / 2.0 == 1.0", _fields(share={"type": "number"}), {"share": 2}, {"share": 3}),
    ],
)  # fmt: skip
def test_rule(rule: str, schema: dict[str, Any], good: Any, bad: Any) -> None:
    assert holds(rule, schema, good)
    assert not holds(rule, schema, bad)


def test_a_transition_rule_sees_the_old_value():
    schema = _fields(color=_TEXT)
    assert holds("self.color == oldSelf.color", schema, {"color": "red"}, {"color": "red"})
    assert not holds("self.color == oldSelf.color", schema, {"color": "red"}, {"color": "blue"})


def test_name_and_kind_are_visible_at_the_root_whatever_the_schema_says():
    schema = _fields(spec=_fields())
    value = {"kind": "Thing", "metadata": {"name": "singleton"}}
    assert holds("self.metadata.name == 'singleton' && self.kind == 'Thing'", schema, value, root=True)


def test_a_field_that_is_not_set_is_an_error():
    with pytest.raises(EvaluationError, match="no such key: minReplicas"):
        holds("self.minReplicas > 1", _REPLICAS, {})


def test_what_has_no_schema_is_not_visible():
    schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    with pytest.raises(CompileError, match="undefined field 'any'"):
        holds("self.any == 1", schema, {"any": 1})


@pytest.mark.parametrize(
    ("name", "escaped"),
    [
        ("ok_1", "ok_1"), ("a-b", "a__dash__b"), ("a.b/c", "a__dot__b__slash__c"), ("__x", "__underscores__x"),
        ("namespace", "__namespace__"), ("1a", ""), ("a b", ""), ("", ""), ("한글", ""),
    ],
)  # fmt: skip
def test_escaping_of_names(name: str, escaped: str) -> None:
    assert escape(name) == escaped

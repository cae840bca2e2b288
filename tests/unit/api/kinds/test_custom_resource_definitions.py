"""CustomResourceDefinitions: names, versions, and schemas that say of every field what it is."""

from __future__ import annotations

from typing import Any

import pytest

from timonel.api import refs
from timonel.api.kinds.crd.patterns import pattern_problem
from timonel.api.objects import Object, copy_object
from timonel.api.schema import schemas

from .samples import TABLE, changed, created, findings, status_findings, strategy, update_findings, warned

REF = refs.CUSTOM_RESOURCE_DEFINITIONS
ROOT = "spec.validation.openAPIV3Schema"
LABEL_1035 = (
    "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, "
    "and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for validation is "
    "'[a-z]([-a-z0-9]*[a-z0-9])?')"
)


def version(name: str = "v1", schema: Any = None, **fields: Any) -> Object:
    schema = {"type": "object"} if schema is None else schema
    return {"name": name, "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}, **fields}


def definition(*versions: Object, name: str = "things.a.example", **spec: Any) -> Object:
    return {
        "kind": "CustomResourceDefinition", "apiVersion": "apiextensions.k8s.io/v1", "metadata": {"name": name},
        "spec": {
            "group": "a.example", "scope": "Namespaced", "names": {"plural": "things", "kind": "Thing"},
            "versions": list(versions) or [version()], **spec,
        },
    }  # fmt: skip


def fields(**properties: Any) -> Object:
    return definition(version(schema={"type": "object", "properties": properties}))


def versioned(**parts: Any) -> Object:
    return definition(version(**parts))


def test_defaults() -> None:
    obj = created(REF, definition())
    assert obj["spec"]["names"] == {
        "plural": "things", "kind": "Thing", "singular": "thing", "listKind": "ThingList",
    }  # fmt: skip
    assert obj["spec"]["conversion"] == {"strategy": "None"}
    assert obj["status"] == {"acceptedNames": {"kind": "", "plural": ""}, "conditions": None, "storedVersions": ["v1"]}
    webhook = {"strategy": "Webhook", "webhook": {"clientConfig": {"service": {"namespace": "a", "name": "b"}}}}
    conversion = created(REF, definition(conversion=webhook))["spec"]["conversion"]
    assert conversion["webhook"]["clientConfig"]["service"]["port"] == 443


@pytest.mark.parametrize(
    ("obj", "expected"),
    [
        (definition(), []),
        (
            definition(name="other"),
            ['metadata.name: Invalid value: "other": must be spec.names.plural+"."+spec.group'],
        ),
        (
            definition(name="things.example", group="example", scope="Galaxy"),
            [
                'spec.group: Invalid value: "example": should be a domain with at least one dot',
                'spec.scope: Unsupported value: "Galaxy": supported values: "Cluster", "Namespaced"',
            ],
        ),
        (
            definition(names={"plural": "things", "kind": "a b", "listKind": "a b", "shortNames": ["A"]}),
            [
                'spec.names.singular: Invalid value: "a b": ' + LABEL_1035,
                'spec.names.kind: Invalid value: "a b": may have mixed case, but should otherwise match: ' + LABEL_1035,
                'spec.names.listKind: Invalid value: "a b": may have mixed case, but should otherwise match: '
                + LABEL_1035,
                'spec.names.shortNames[0]: Invalid value: "A": ' + LABEL_1035,
                'spec.names.listKind: Invalid value: "a b": kind and listKind may not be the same',
            ],
        ),
        (
            definition({"name": "v1", "served": True, "storage": True}),
            ["spec.versions[0].schema.openAPIV3Schema: Required value"],
        ),
        (
            versioned(deprecationWarning="old"),
            [
                'spec.versions[0].deprecationWarning: Invalid value: "old": can only be set for deprecated versions'
            ],
        ),
        (versioned(deprecated=True, deprecationWarning="old"), []),
        (
            versioned(subresources={"scale": {"specReplicasPath": "spec", "statusReplicasPath": ".spec.x"}}),
            [
                'spec.subresources.scale.specReplicasPath: Invalid value: "spec": must be a simple json path starting '
                "with .",
                'spec.subresources.scale.statusReplicasPath: Invalid value: ".spec.x": should be a json path under '
                ".status",
            ],
        ),
        (
            versioned(additionalPrinterColumns=[{"name": "", "type": "text", "format": "long", "jsonPath": "a"}]),
            [
                "spec.additionalPrinterColumns[0].name: Required value",
                'spec.additionalPrinterColumns[0].type: Invalid value: "text": must be one of '
                "boolean,date,integer,number,string",
                'spec.additionalPrinterColumns[0].format: Invalid value: "long": must be one of '
                "byte,date,date-time,double,float,int32,int64,password",
                'spec.additionalPrinterColumns[0].JSONPath: Invalid value: "a": must be a simple json path starting '
                "with .",
            ],
        ),
        (
            definition(conversion={"strategy": "Webhook"}),
            [
                "spec.conversion.webhookClientConfig: Required value: required when strategy is set to Webhook",
                "spec.conversion.conversionReviewVersions: Required value",
            ],
        ),
        (
            definition(conversion={"strategy": "None", "webhook": {"conversionReviewVersions": ["v1"]}}),
            [
                "spec.conversion.conversionReviewVersions: Forbidden: should not be set when strategy is not set to "
                "Webhook"
            ],
        ),
    ],
)  # fmt: skip
def test_rules(obj: Object, expected: list[str]) -> None:
    assert findings(REF, obj) == expected


def test_one_version_is_stored() -> None:
    found = findings(REF, definition(version(storage=False)))
    assert [text.rpartition(": ")[2] for text in found] == [
        "must have exactly one version marked as storage version", "must have at least one stored version",
    ]  # fmt: skip
    found = findings(REF, definition(version(), version()))
    assert [text.rpartition(": ")[2] for text in found] == [
        "must contain unique version names", "must have exactly one version marked as storage version",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("schema", "expected"),
    [
        ({}, [f"{ROOT}.type: Required value: must not be empty at the root"]),
        ({"type": "string"}, [f'{ROOT}.type: Invalid value: "string": must be object at the root']),
        ({"type": "object", "nullable": True}, [f"{ROOT}.nullable: Forbidden: nullable cannot be true at the root"]),
        ({"type": "object", "additionalProperties": True},
         [f"{ROOT}.additionalProperties: Forbidden: must not be used at the root"]),
        (
            {"type": "object", "$schema": "x"},
            [f"{ROOT}: Invalid value: \"\": OpenAPIV3Schema 'schema' is not supported"],
        ),
        ({"type": "object", "x-kubernetes-preserve-unknown-fields": True}, []),
        (
            {"type": "object", "anyOf": [{"properties": {"a": {"minLength": 1}}}]},
            [f"{ROOT}.properties[a]: Required value: because it is defined in {ROOT}.anyOf[0].properties[a]"],
        ),
        (
            {"type": "object", "properties": {"a": {"type": "string"}}, "allOf": [
                {"type": "object", "title": "t", "properties": {"a": {"default": "x"}}},
            ]},
            [
                f"{ROOT}.allOf[0].properties[a].default: Forbidden: must be undefined to be structural",
                f"{ROOT}.allOf[0].title: Forbidden: must be empty to be structural",
                f"{ROOT}.allOf[0].type: Forbidden: must be empty to be structural",
            ],
        ),
    ],
)  # fmt: skip
def test_root_of_a_schema(schema: Object, expected: list[str]) -> None:
    assert findings(REF, versioned(schema=schema)) == expected


A = f"{ROOT}.properties[a]"
STRING = {"type": "string"}
META_ONLY = "must not specify anything other than name and generateName, but metadata is implicitly specified"


@pytest.mark.parametrize(
    ("properties", "expected"),
    [
        ({"a": {"type": "string"}}, []),
        ({"a": {}}, [f"{A}.type: Required value: must not be empty for specified object fields"]),
        (
            {"a": {"type": "text"}},
            [
                f'{A}.type: Unsupported value: "text": supported values: "array", "boolean", "integer", "number", '
                '"object", "string"'
            ],
        ),
        ({"a": {"type": "array"}}, [f"{A}.items: Required value: must be specified"]),
        ({"a": {"type": "array", "items": {}}},
         [f"{A}.items.type: Required value: must not be empty for specified array items"]),
        ({"a": {"x-kubernetes-int-or-string": True}}, []),
        ({"a": {"x-kubernetes-int-or-string": True, "anyOf": [{"type": "integer"}, {"type": "string"}]}}, []),
        (
            {"a": {"x-kubernetes-int-or-string": True, "anyOf": [{"type": "integer"}]}},
            [f"{A}.anyOf[0].type: Forbidden: must be empty to be structural"],
        ),
        (
            {"a": {"type": "object", "properties": {"b": STRING}, "additionalProperties": STRING}},
            [f"{A}.additionalProperties: Forbidden: additionalProperties and properties are mutual exclusive"],
        ),
        ({"a": {"type": "array", "items": {"type": "string"}, "uniqueItems": True}},
         [f"{A}.uniqueItems: Forbidden: uniqueItems cannot be set to true since the runtime complexity becomes "
          "quadratic"]),
        ({"a": {"type": "string", "pattern": "("}},
         [f'{A}.pattern: Invalid value: "(": must be a valid regular expression, but isn\'t: error parsing regexp: '
          "missing ), unterminated subpattern at position 0"]),
        ({"a": {"$ref": "x"}}, [f"{A}.$ref: Forbidden: $ref is not supported"]),
        ({"metadata": {"type": "object", "properties": {"name": {"type": "string", "maxLength": 9}}}}, []),
        ({"metadata": {"type": "object", "properties": {"labels": {"type": "object"}}}},
         [f"{ROOT}.properties[metadata]: Forbidden: {META_ONLY}"]),
        (
            {"kind": {"type": "integer"}, "apiVersion": {"type": "string", "default": "x"}},
            [
                f'{ROOT}.properties[kind].type: Invalid value: "integer": must be string',
                f"{ROOT}.properties[apiVersion].default: Forbidden: must not be set in top-level apiVersion",
            ],
        ),
        (
            {"a": {"type": "object", "x-kubernetes-embedded-resource": True}},
            [
                f"{A}.properties: Required value: must not be empty if x-kubernetes-embedded-resource is true without "
                "x-kubernetes-preserve-unknown-fields"
            ],
        ),
        ({"a": {"type": "object", "properties": {"b": STRING}, "default": {"b": "x"}}}, []),
        ({"a": {"type": "object", "x-kubernetes-preserve-unknown-fields": True, "default": {"c": 1}}}, []),
        ({"a": {"type": "object", "additionalProperties": STRING, "default": {"c": "x"}}}, []),
        (
            {"a": {"type": "array", "items": {"type": "object", "properties": {"b": STRING}}, "default": [{"c": 1}]}},
            [f'{A}.default: Invalid value: [{{"c":1}}]: must not have unknown fields'],
        ),
        (
            {"a": {"type": "string", "x-kubernetes-list-type": "set"}},
            [f'{A}.type: Invalid value: "string": must be array if x-kubernetes-list-type is specified'],
        ),
        (
            {"a": {"type": "array", "items": {"type": "object"}, "x-kubernetes-list-type": "set"}},
            [
                f"{A}.items.x-kubernetes-map-type: Invalid value: null: must be atomic as item of a list with "
                "x-kubernetes-list-type=set"
            ],
        ),
        (
            {"a": {
                "type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["b", "c"],
                "items": {"type": "object", "properties": {"b": STRING}},
            }},
            [
                f'{A}.x-kubernetes-list-map-keys: Invalid value: ["b","c"]: entries must all be names of item '
                "properties",
                f"{A}.items.properties[b].default: Required value: this property is in x-kubernetes-list-map-keys, so "
                "it must have a default or be a required property",
            ],
        ),
        (
            {"a": {"type": "object", "x-kubernetes-map-type": "loose", "properties": {"b": {"type": "string"}}}},
            [f'{A}.x-kubernetes-map-type: Unsupported value: "loose": supported values: "atomic", "granular"'],
        ),
        (
            {"a": {"type": "object", "properties": {"b": {"type": "string"}}, "x-kubernetes-validations": [
                {"rule": "self.b == ''", "fieldPath": ".b"}, {"rule": " "},
                {"rule": "a\nb", "reason": "Odd", "fieldPath": ".c"},
            ]}},
            [
                f"{A}.x-kubernetes-validations[1].rule: Required value: rule is not specified",
                f"{A}.x-kubernetes-validations[2].message: Required value: message must be specified if rule contains "
                "line breaks",
                f'{A}.x-kubernetes-validations[2].reason: Unsupported value: "Odd": supported values: '
                '"FieldValueDuplicate", "FieldValueForbidden", "FieldValueInvalid", "FieldValueRequired"',
                f'{A}.x-kubernetes-validations[2].fieldPath: Invalid value: ".c": must be a valid path',
            ],
        ),
    ],
)  # fmt: skip
def test_fields_of_a_schema(properties: Object, expected: list[str]) -> None:
    assert findings(REF, fields(**properties)) == expected


def test_versions_that_differ_are_named() -> None:
    found = findings(REF, definition(version(schema={}), version("v2", storage=False)))
    assert found == ["spec.versions[0].schema.openAPIV3Schema.type: Required value: must not be empty at the root"]


def test_with_a_status_the_root_says_less() -> None:
    schema = {"type": "object", "maxProperties": 3}
    assert findings(REF, versioned(schema=schema)) == []
    found = findings(REF, versioned(schema=schema, subresources={"status": {}}))
    assert len(found) == 1
    assert found[0].startswith(f'{ROOT}: Invalid value: {{"type":"object","maxProperties":3}}: only [Description Type')
    assert found[0].endswith("fields are allowed at the root of the schema if the status subresource is enabled")


@pytest.mark.parametrize(
    ("path", "problem"),
    [
        (".spec.size", ""),
        (".spec.other", "is an invalid path: does not refer to a valid field"),
        ("spec", "is an invalid path: expected [ or . but got: spec"),
        (".spec['size']", "is an invalid path: array notation is not allowed"),
        (".metadata.name", "must not point to fields in metadata"),
        (
            ".spec",
            "must point to a field of type string, boolean or integer. Enum string fields and strings with formats are "
            "allowed.",
        ),
    ],
)
def test_selectable_fields(path: str, problem: str) -> None:
    properties = {
        "spec": {"type": "object", "properties": {"size": {"type": "integer"}}},
        "metadata": {"type": "object", "properties": {"name": {"type": "string"}}},
    }
    obj = versioned(schema={"type": "object", "properties": properties}, selectableFields=[{"jsonPath": path}])
    expected = [f'spec.selectableFields[0].jsonPath: Invalid value: "{path}": {problem}'] if problem else []
    assert findings(REF, obj) == expected


def test_no_more_than_eight_fields_are_selectable() -> None:
    properties = {f"f{number}": {"type": "string"} for number in range(9)}
    selectable = [{"jsonPath": f".{name}"} for name in properties]
    obj = versioned(schema={"type": "object", "properties": properties}, selectableFields=selectable)
    assert findings(REF, obj) == ["spec.selectableFields: Too many: 9: must have at most 8 items"]
    obj = versioned(schema={"type": "object", "properties": properties}, selectableFields=selectable[:1] * 2)
    assert findings(REF, obj) == ['spec.selectableFields[1].jsonPath: Duplicate value: ".f0"']


@pytest.mark.parametrize("group", ["apps.k8s.io", "a.kubernetes.io"])
def test_groups_of_the_community_need_an_approval(group: str) -> None:
    obj = definition(name=f"things.{group}", group=group)
    path = "metadata.annotations[api-approved.kubernetes.io]"
    rule = 'protected groups must have approval annotation "api-approved.kubernetes.io"'
    see = "see https://github.com/kubernetes/enhancements/pull/1111"
    assert findings(REF, obj) == [f"{path}: Required value: {rule}, {see}"]
    assert update_findings(REF, obj, changed("spec", "scope", to="Cluster")) == []
    obj["metadata"]["annotations"] = {"api-approved.kubernetes.io": "yes"}
    assert findings(REF, obj) == [
        f'{path}: Invalid value: "yes": {rule} with either a URL or a reason starting with "unapproved", {see}'
    ]
    for good in ("https://github.com/kubernetes/kubernetes/pull/1", "unapproved, an experiment"):
        obj["metadata"]["annotations"] = {"api-approved.kubernetes.io": good}
        assert findings(REF, obj) == []


def test_names_in_use_do_not_change() -> None:
    scope = changed("spec", "scope", to="Cluster")
    assert update_findings(REF, definition(), scope) == []
    old = created(REF, definition())
    old["status"]["conditions"] = [{"type": "Established", "status": "True"}]
    new = copy_object(old)
    scope(new)
    assert [str(error) for error in strategy(REF).validate_update(new, old)] == [
        'spec.scope: Invalid value: "Cluster": field is immutable'
    ]
    found = update_findings(REF, definition(), changed("spec", "names", "plural", to="stuff"))
    assert found == ['spec.names.plural: Invalid value: "stuff": field is immutable']


def test_stored_versions_are_remembered() -> None:
    old = created(REF, definition())
    moved = changed("spec", "versions", to=[version(storage=False), version("v2")])
    new = copy_object(old)
    moved(new)
    new["status"] = old["status"]  # as the write path leaves it
    strategy(REF).prepare_update(new, old)
    assert (new["status"]["storedVersions"], old["status"]["storedVersions"]) == (["v1", "v2"], ["v1"])
    assert update_findings(REF, definition(), changed("spec", "versions", to=[version("v2")])) == [
        'status.storedVersions[0]: Invalid value: "v1": missing from spec.versions; v1 was previously a storage '
        "version, and must remain in spec.versions until a storage migration ensures no data remains persisted in v1 "
        "and removes v1 from status.storedVersions"
    ]


def test_status() -> None:
    change = changed("status", "acceptedNames", to={"plural": "Things", "kind": "Thing"})
    assert status_findings(REF, created(REF, definition()), change) == [
        f'status.acceptedNames.plural: Invalid value: "Things": {LABEL_1035}'
    ]


def test_formats_that_mean_nothing_are_warned_of() -> None:
    obj = fields(a={"type": "string", "format": "date-time"}, b={"type": "string", "format": "colour"})
    assert warned(REF, obj) == ['unrecognized format "colour"']
    assert warned(REF, obj, obj) == []
    assert warned(REF, fields(a={"type": "integer", "format": "date"})) == ['unrecognized format "date"']


@pytest.mark.parametrize(
    ("pattern", "good"),
    [
        (r"^[a-z]+$", True),
        (r"^\p{L}+\z", True),
        (r"[[:alpha:]]+", True),
        (r"(?i)abc(?s:.)", True),
        (r"(?<name>a)", True),
        (r"\(\?=a", True),
        (r"(?=a)", False),
        (r"(a)\1", False),
        (r"a**", False),
        (r"[a", False),
    ],
)
def test_patterns_are_those_of_re2(pattern: str, good: bool) -> None:
    assert (pattern_problem(pattern) == "") == good


@pytest.mark.parametrize(
    ("schema", "unknown", "error"),
    [
        ({"items": {"type": "string", "nullable": False}}, [], None),
        ({"items": [{"type": "string"}]}, [], None),
        ({"additionalProperties": False, "dependencies": {"a": ["b"], "c": {"type": "object"}}}, [], None),
        ({"items": {"typo": 1}}, ['unknown field "spec.versions[0].schema.openAPIV3Schema.items.typo"'], None),
        ({"additionalProperties": 5}, [], "boolean or JSON schema expected"),
        (
            {"items": 5},
            [],
            "json: cannot unmarshal number into Go struct field JSONSchemaProps.spec.versions.schema.openAPIV3Schema."
            "items of type v1.JSONSchemaPropsOrArray",
        ),
        (
            {"items": {"properties": "x"}},
            [],
            "json: cannot unmarshal string into Go struct field JSONSchemaProps.spec.versions.schema.openAPIV3Schema."
            "items.properties of type map[string]v1.JSONSchemaProps",
        ),
    ],
)
def test_schemas_are_read_to_their_leaves(schema: Object, unknown: list[str], error: str | None) -> None:
    obj = versioned(schema=schema)
    checked = schemas().check(TABLE.row(REF).definition, obj)
    assert (checked.unknown, checked.error) == (unknown, error)
    if not unknown and not error:
        # What was said is kept, but for what means the same as silence.
        kept = obj["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
        assert kept == ({"items": {"type": "string"}} if "nullable" in str(schema) else schema)

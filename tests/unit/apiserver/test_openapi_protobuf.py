"""The protobuf form of OpenAPI v2, read back with protobuf's own library and gnostic's field numbers."""

from __future__ import annotations

import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from timonel.apiserver.openapi.gnostic import encode_document

STRING, BOOL, MESSAGE = 9, 8, 11
FIELDS = {
    "Any": [("yaml", 2, STRING, "")],
    "NamedAny": [("name", 1, STRING, ""), ("value", 2, MESSAGE, "Any")],
    "Schema": [
        ("ref", 1, STRING, ""), ("format", 2, STRING, ""), ("description", 4, STRING, ""),
        ("required", 19, STRING, "*"),
        ("type", 22, MESSAGE, "Strings"), ("items", 23, MESSAGE, "Schemas"), ("properties", 25, MESSAGE, "Properties"),
        ("vendor_extension", 31, MESSAGE, "*NamedAny"),
    ],
    "Strings": [("value", 1, STRING, "*")],
    "Schemas": [("schema", 1, MESSAGE, "*Schema")],
    "NamedSchema": [("name", 1, STRING, ""), ("value", 2, MESSAGE, "Schema")],
    "Properties": [("additional_properties", 1, MESSAGE, "*NamedSchema")],
    "Query": [("description", 3, STRING, ""), ("name", 4, STRING, ""), ("type", 6, STRING, ""),
              ("unique_items", 20, BOOL, "")],
    "NonBody": [("query", 3, MESSAGE, "Query")],
    "Parameter": [("non_body", 2, MESSAGE, "NonBody")],
    "ParametersItem": [("parameter", 1, MESSAGE, "Parameter")],
    "Operation": [("operation_id", 5, STRING, ""), ("parameters", 8, MESSAGE, "*ParametersItem"),
                  ("vendor_extension", 13, MESSAGE, "*NamedAny")],
    "PathItem": [("patch", 8, MESSAGE, "Operation")],
    "NamedPathItem": [("name", 1, STRING, ""), ("value", 2, MESSAGE, "PathItem")],
    "Paths": [("path", 2, MESSAGE, "*NamedPathItem")],
    "Info": [("title", 1, STRING, ""), ("version", 2, STRING, "")],
    "Document": [("swagger", 1, STRING, ""), ("info", 2, MESSAGE, "Info"), ("paths", 8, MESSAGE, "Paths"),
                 ("definitions", 9, MESSAGE, "Properties")],
}  # fmt: skip


@pytest.fixture(scope="module")
def document_class():
    file = descriptor_pb2.FileDescriptorProto(name="t.proto", package="t", syntax="proto3")
    for name, fields in FIELDS.items():
        message = file.message_type.add(name=name)
        for field, number, kind, extra in fields:
            repeated = extra.startswith("*")
            made = message.field.add(name=field, number=number, type=kind, label=3 if repeated else 1)
            if kind == MESSAGE:
                made.type_name = f".t.{extra.lstrip('*')}"
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("t.Document"))


def test_a_document_reads_back(document_class):
    kind = [{"group": "apps", "kind": "Deployment", "version": "v1"}]
    source = {
        "swagger": "2.0",
        "info": {"title": "Kubernetes", "version": "v1.36.0"},
        "paths": {
            "/x/{name}": {
                "patch": {
                    "operationId": "patchX",
                    "parameters": [{"name": "dryRun", "in": "query", "description": "d", "type": "string",
                                    "uniqueItems": True}],
                    "responses": {"200": {"description": "OK", "schema": {"$ref": "#/definitions/X"}}},
                    "x-kubernetes-action": "patch",
                }
            }
        },
        "definitions": {
            "X": {
                "description": "An X.",
                "type": "object",
                "required": ["list"],
                "properties": {"list": {"type": "array", "items": {"$ref": "#/definitions/Y"}}},
                "x-kubernetes-group-version-kind": kind,
            }
        },
    }  # fmt: skip
    document = document_class.FromString(encode_document(source))
    assert (document.swagger, document.info.version) == ("2.0", "v1.36.0")
    (path,) = document.paths.path
    assert path.name == "/x/{name}"
    assert path.value.patch.operation_id == "patchX"
    query = path.value.patch.parameters[0].parameter.non_body.query
    assert (query.name, query.type, query.unique_items) == ("dryRun", "string", True)
    assert path.value.patch.vendor_extension[0].value.yaml == '"patch"\n'
    (named,) = document.definitions.additional_properties
    assert (named.name, named.value.description, list(named.value.type.value)) == ("X", "An X.", ["object"])
    assert list(named.value.required) == ["list"]
    (field,) = named.value.properties.additional_properties
    assert field.value.items.schema[0].ref == "#/definitions/Y"
    extension = named.value.vendor_extension[0]
    assert extension.name == "x-kubernetes-group-version-kind"
    assert extension.value.yaml == '[{"group":"apps","kind":"Deployment","version":"v1"}]\n'

"""OpenAPI v3: one document per group version, which is what current clients read."""

from __future__ import annotations

import orjson

from timonel import GIT_VERSION
from timonel.api.objects import Object
from timonel.api.resource import ResourceTable
from timonel.apiserver.openapi.definitions import clean, load_definitions, reachable
from timonel.apiserver.openapi.operations import ANSWERS, SHARED, Operation, Parameter, operations, path_items

_PREFIX = "#/components/schemas/"
_ANSWER_TYPES = ("application/json", "application/yaml")


def render_group(table: ResourceTable, group: str, version: str) -> bytes:
    """The document of one group version as JSON. Takes about 0.3 s: call it off the event loop."""
    found = list(operations(table, group, version))
    definitions = load_definitions()
    roots = {*SHARED, *(name for operation in found for name in (operation.body, operation.answer) if name)}
    names = reachable(definitions, roots)
    document = {
        "openapi": "3.0.0",
        "info": {"title": "Kubernetes", "version": GIT_VERSION},
        "paths": path_items(found, _operation, _parameter),
        "components": {
            "schemas": {name: clean(name, definitions[name], reference=_reference, version=3) for name in names},
            "securitySchemes": {"BearerToken": {"type": "apiKey", "name": "authorization", "in": "header",
                                                "description": "Bearer Token authentication"}},
        },
    }  # fmt: skip
    return orjson.dumps(document)


def _reference(name: str, beside: Object) -> Object:
    if not beside:
        return {"$ref": _PREFIX + name}
    return {**beside, "allOf": [{"$ref": _PREFIX + name}]}


def _operation(operation: Operation) -> Object:
    content: Object = {}
    if operation.answer:
        schema = {"$ref": _PREFIX + operation.answer}
        content["content"] = {kind: {"schema": schema} for kind in _ANSWER_TYPES}
    answers = {code: {"description": ANSWERS[code], **content} for code in operation.answers}
    made: Object = {
        "tags": [operation.tag],
        "description": operation.description,
        "operationId": operation.operation_id,
        "parameters": [_parameter(parameter, "query") for parameter in operation.parameters],
        "responses": {**answers, "401": {"description": "Unauthorized"}},
        "x-kubernetes-action": operation.verb,
        "x-kubernetes-group-version-kind": operation.kind,
    }
    if operation.body:
        schema = {"$ref": _PREFIX + operation.body}
        made["requestBody"] = {"content": {kind: {"schema": schema} for kind in operation.consumes}}
        if operation.body_required:
            made["requestBody"]["required"] = True
    return made


def _parameter(parameter: Parameter, place: str) -> Object:
    made: Object = {"name": parameter.name, "in": place, "description": parameter.description}
    if place == "path":
        made["required"] = True
    made["schema"] = {"type": parameter.type, "uniqueItems": True}
    return made

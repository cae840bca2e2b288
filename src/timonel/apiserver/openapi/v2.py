"""OpenAPI v2 (Swagger): everything in one document, for kubectl before 1.27 and for generators."""

from __future__ import annotations

from timonel import GIT_VERSION
from timonel.api.objects import Object
from timonel.api.resource import ResourceTable
from timonel.apiserver.openapi.definitions import clean, load_definitions, reachable
from timonel.apiserver.openapi.operations import ANSWERS, SHARED, Operation, Parameter, operations, path_items

_PREFIX = "#/definitions/"
_ANSWER_TYPES = ["application/json", "application/yaml"]


def swagger(table: ResourceTable) -> Object:
    """The whole document. 20 MB as dicts: encode it and drop it, off the event loop."""
    versions = dict.fromkeys((row.ref.group, row.ref.version) for row in table.rows)
    found = [operation for group, version in versions for operation in operations(table, group, version)]
    definitions = load_definitions()
    roots = {*SHARED, *(name for operation in found for name in (operation.body, operation.answer) if name)}
    names = reachable(definitions, roots)
    return {
        "swagger": "2.0",
        "info": {"title": "Kubernetes", "version": GIT_VERSION},
        "paths": path_items(found, _operation, _parameter),
        "definitions": {name: clean(name, definitions[name], reference=_reference, version=2) for name in names},
        "securityDefinitions": {"BearerToken": {"description": "Bearer Token authentication", "type": "apiKey",
                                                "name": "authorization", "in": "header"}},
        "security": [{"BearerToken": []}],
    }  # fmt: skip


def _reference(name: str, beside: Object) -> Object:
    return {**beside, "$ref": _PREFIX + name}


def _operation(operation: Operation) -> Object:
    parameters = [_parameter(parameter, "query") for parameter in operation.parameters]
    if operation.body:
        body: Object = {"name": "body", "in": "body", "schema": {"$ref": _PREFIX + operation.body}}
        if operation.body_required:
            body["required"] = True
        parameters.insert(0, body)
    content: Object = {"schema": {"$ref": _PREFIX + operation.answer}} if operation.answer else {}
    answers = {code: {"description": ANSWERS[code], **content} for code in operation.answers}
    made: Object = {
        "tags": [operation.tag],
        "description": operation.description,
        "operationId": operation.operation_id,
        "produces": _ANSWER_TYPES,
        "parameters": parameters,
        "responses": {**answers, "401": {"description": "Unauthorized"}},
        "schemes": ["https"],
        "x-kubernetes-action": operation.verb,
        "x-kubernetes-group-version-kind": operation.kind,
    }
    if operation.consumes:
        made["consumes"] = list(operation.consumes)
    return made


def _parameter(parameter: Parameter, place: str) -> Object:
    made: Object = {"name": parameter.name, "in": place, "description": parameter.description}
    made["type"] = parameter.type
    made["uniqueItems"] = True
    if place == "path":
        made["required"] = True
    return made

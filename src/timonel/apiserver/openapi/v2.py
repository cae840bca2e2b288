"""OpenAPI v2 (Swagger): everything in one document, for kubectl before 1.27 and for generators."""

from __future__ import annotations

from functools import cache

from timonel.api.objects import Object
from timonel.api.resource import ResourceTable
from timonel.apiserver.openapi import other_paths
from timonel.apiserver.openapi.definitions import API_VERSION, Cleaner, load_definitions, reachable, roots_of
from timonel.apiserver.openapi.operations import ANSWERS, TEXT, Operation, operations, path_items
from timonel.apiserver.openapi.parameters import Parameter, Parameters

_PREFIX = "#/definitions/"


def swagger(table: ResourceTable) -> Object:
    """The whole document. 20 MB as dicts: encode it and drop it, off the event loop."""
    versions = dict.fromkeys((row.ref.group, row.ref.version) for row in table.rows)
    groups = [group for group, _ in versions if group]
    others = (other_paths.of_path(name) for name in other_paths.names(dict.fromkeys(groups)))
    found = [operation for operation in others if operation is not None]
    for group, version in versions:
        found += [other_paths.of_version(group, version), *operations(table, group, version)]
    definitions = load_definitions()
    names = reachable(definitions, roots_of(found))
    cleaner = Cleaner(_reference, version=2)
    # Each parameter is one dict, wherever it stands: a third of the document's size in memory.
    parameter = cache(_parameter)

    def operation_of(operation: Operation, parameters: Parameters) -> Object:
        return _operation(operation, [parameter(each) for each in parameters])

    return {
        "swagger": "2.0",
        "info": {"title": "Kubernetes", "version": API_VERSION},
        "paths": path_items(found, operation_of, parameter),
        "definitions": {name: cleaner.clean(name, definitions[name]) for name in names},
        "securityDefinitions": {"BearerToken": {"description": "Bearer Token authentication", "type": "apiKey",
                                                "name": "authorization", "in": "header"}},
        "security": [{"BearerToken": []}],
    }  # fmt: skip


def _reference(name: str, beside: Object) -> Object:
    return {**beside, "$ref": _PREFIX + name}


def _operation(operation: Operation, parameters: list[Object]) -> Object:
    if operation.body:
        body: Object = {"name": "body", "in": "body", "schema": {"$ref": _PREFIX + operation.body}}
        if operation.body_required:
            body["required"] = True
        parameters.insert(0, body)
    schema = {"type": "string"} if operation.answer == TEXT else {"$ref": _PREFIX + operation.answer}
    answers = {code: {"description": ANSWERS[code], "schema": schema} for code in operation.answers}
    made: Object = {
        "tags": [operation.tag],
        "description": operation.description,
        "operationId": operation.operation_id,
        "produces": operation.produces,
        "responses": {**answers, "401": {"description": "Unauthorized"}},
        "schemes": ["https"],
    }
    if operation.consumes:
        made["consumes"] = operation.consumes
    if parameters:
        made["parameters"] = parameters
    if operation.kind:
        made["x-kubernetes-action"] = operation.verb
        made["x-kubernetes-group-version-kind"] = operation.kind
    return made


def _parameter(parameter: Parameter) -> Object:
    made: Object = {"name": parameter.name, "in": parameter.place, "description": parameter.description}
    made["type"] = parameter.type
    made["uniqueItems"] = True
    if parameter.place == "path":
        made["required"] = True
    return made

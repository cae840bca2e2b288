"""Paths and operations of the resource table, in terms both OpenAPI versions share.

Clients read less of them than one might think: kubectl looks for a PATCH of the kind with the parameters `dryRun` and
`fieldValidation`; generators and API browsers read the rest.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from timonel.api.objects import Object
from timonel.api.resource import Resource, ResourceTable
from timonel.apiserver.registry.patching import PATCH_TYPES

META = "io.k8s.apimachinery.pkg.apis.meta.v1"
STATUS = f"{META}.Status"
PATCH = f"{META}.Patch"
DELETE_OPTIONS = f"{META}.DeleteOptions"
WATCH_EVENT = f"{META}.WatchEvent"
SHARED = (STATUS, PATCH, DELETE_OPTIONS, WATCH_EVENT)
_KIND_DEFINITIONS = {
    ("autoscaling", "v1", "Scale"): "io.k8s.api.autoscaling.v1.Scale",
    ("policy", "v1", "Eviction"): "io.k8s.api.policy.v1.Eviction",
    ("", "v1", "Binding"): "io.k8s.api.core.v1.Binding",
    ("authentication.k8s.io", "v1", "TokenRequest"): "io.k8s.api.authentication.v1.TokenRequest",
}
STREAMING = frozenset({"log", "exec", "attach", "portforward", "proxy"})


@dataclass(frozen=True, slots=True)
class Parameter:
    name: str
    type: str
    description: str


@dataclass(frozen=True, slots=True)
class Operation:
    """`body` and `answer` are names of definitions; "" for none, and for streams, which are no JSON."""

    path: str
    method: str
    verb: str
    """Of the kind: "list", "patch" … as x-kubernetes-action says it."""
    operation_id: str
    kind: Object
    body: str
    answer: str
    consumes: tuple[str, ...]
    parameters: tuple[Parameter, ...]
    """In order of their names, without those that the path itself has for all its operations."""
    namespaced: bool
    named: bool
    tag: str
    description: str
    answers: tuple[str, ...] = ("200",)
    """The codes of success."""
    body_required: bool = False


ANSWERS = {"200": "OK", "201": "Created", "202": "Accepted"}
_NAMESPACE = Parameter("namespace", "string", "object name and auth scope, such as for teams and projects")
_PRETTY = Parameter("pretty", "string", "If 'true', then the output is pretty printed.")
_DRY_RUN = Parameter("dryRun", "string", "With 'All', nothing is stored; all else is done.")
_MANAGER = Parameter("fieldManager", "string", "The name under which the changed fields are managed.")
_VALIDATION = Parameter("fieldValidation", "string", "What unknown and duplicate fields lead to: Ignore, Warn, Strict.")
_FORCE = Parameter("force", "boolean", "Server-side apply takes fields from other managers.")
_WRITE = (_DRY_RUN, _MANAGER, _VALIDATION)
_LIST = (
    Parameter("allowWatchBookmarks", "boolean", "A watch wants events of type BOOKMARK."),
    Parameter("continue", "string", "The token of the page before."),
    Parameter("fieldSelector", "string", "Restricts the result by fields."),
    Parameter("labelSelector", "string", "Restricts the result by labels."),
    Parameter("limit", "integer", "The size of a page."),
    Parameter("resourceVersion", "string", "Constrains how old the answer may be."),
    Parameter("resourceVersionMatch", "string", "How resourceVersion is meant: Exact or NotOlderThan."),
    Parameter("sendInitialEvents", "boolean", "A watch begins with the present state."),
    Parameter("timeoutSeconds", "integer", "How long a list or watch may take."),
    Parameter("watch", "boolean", "Watches instead of listing."),
)
_DELETE = (
    _DRY_RUN,
    Parameter("gracePeriodSeconds", "integer", "How long the object may take to end."),
    Parameter("orphanDependents", "boolean", "Deprecated: use propagationPolicy."),
    Parameter("propagationPolicy", "string", "What becomes of dependents: Orphan, Background, Foreground."),
)
_METHODS = {
    "get": "get", "list": "get", "create": "post", "update": "put", "patch": "patch", "delete": "delete",
    "deletecollection": "delete",
}  # fmt: skip
_ACTIONS = {"create": "post", "update": "put"}
_OPERATION_NAMES = {"get": "read", "update": "replace", "deletecollection": "delete"}
_PARAMETERS = {
    "create": _WRITE, "update": _WRITE, "patch": (*_WRITE, _FORCE), "list": _LIST, "delete": _DELETE,
    "deletecollection": (*_DELETE, *_LIST),
}  # fmt: skip
_SUCCESSES = {
    "create": ("200", "201", "202"), "update": ("200", "201"), "patch": ("200", "201"), "delete": ("200", "202"),
}  # fmt: skip
_DOES = {"get": "read", "update": "replace", "patch": "partially update"}
_BODY_TYPES = ("application/json", "application/yaml")


def operations(table: ResourceTable, group: str, version: str) -> Iterator[Operation]:
    for row in table.rows:
        if (row.ref.group, row.ref.version) == (group, version):
            yield from _of_resource(row)


def path_items(
    found: Iterable[Operation],
    render_operation: Callable[[Operation], Object],
    render_parameter: Callable[[Parameter, str], Object],
) -> Object:
    """The "paths" of a document: operations by path and method, what the path itself names beside them.

    The functions say how a version writes an operation, and a parameter at a place, "path" or "query".
    """
    paths: Object = {}
    for operation in found:
        item = paths.setdefault(operation.path, {})
        item[operation.method] = render_operation(operation)
        if "parameters" not in item:
            name = Parameter("name", "string", f"name of the {operation.kind['kind']}")
            item["parameters"] = [
                *([render_parameter(name, "path")] if operation.named else []),
                *([render_parameter(_NAMESPACE, "path")] if operation.namespaced else []),
                render_parameter(_PRETTY, "query"),
            ]
    return paths


def _of_resource(row: Resource) -> Iterator[Operation]:
    ref = row.ref
    placeholder = "{namespace}" if ref.namespaced else ""
    collection, item = ref.path(placeholder), ref.path(placeholder, "{name}")
    for verb in row.verbs:
        if verb == "watch":
            continue
        named = verb not in ("list", "create", "deletecollection")
        yield _operation(row, verb, item if named else collection, row.definition, named=named)
        if verb == "list" and ref.namespaced:
            yield _operation(row, verb, ref.path(), row.definition, named=False, all_namespaces=True)
    for sub in row.subresources:
        key = (sub.group, sub.version or ref.version, sub.kind)
        definition = _KIND_DEFINITIONS.get(key, row.definition if not sub.kind else "")
        if sub.name in STREAMING:
            definition = ""
        kind = {"group": key[0], "version": key[1], "kind": sub.kind} if sub.kind else None
        for verb in sub.verbs:
            yield _operation(row, verb, f"{item}/{sub.name}", definition, named=True, subresource=sub.name, kind=kind)


def _operation(
    row: Resource, verb: str, path: str, definition: str, *, named: bool, subresource: str = "",
    all_namespaces: bool = False, kind: Object | None = None,
) -> Operation:  # fmt: skip
    ref = row.ref
    body = {"patch": PATCH, "delete": DELETE_OPTIONS, "deletecollection": DELETE_OPTIONS}.get(verb, "")
    if verb in ("create", "update"):
        body = definition
    answer = definition
    if verb == "list":
        answer = f"{definition}List"
    elif verb == "deletecollection" or (verb == "delete" and not subresource):
        answer = STATUS
    elif not definition:
        answer = ""
        body = ""
    scope = "" if all_namespaces or not ref.namespaced else "Namespaced"
    suffix = "ForAllNamespaces" if all_namespaces else ""
    connects = subresource in STREAMING and subresource != "log"
    name = "connect" if connects else _OPERATION_NAMES.get(verb, verb)
    method = _METHODS[verb]
    if connects:
        scope = method.capitalize() + scope
    tag = f"{_camel(ref.group)}_{ref.version}"
    scope = f"Collection{scope}" if verb == "deletecollection" else scope
    operation_id = f"{name}{_pascal(tag)}{scope}{ref.kind}{subresource.capitalize()}{suffix}"
    return Operation(
        path,
        method,
        "connect" if connects else _ACTIONS.get(verb, verb),
        operation_id,
        kind or {"group": ref.group, "version": ref.version, "kind": ref.kind},
        body,
        answer,
        PATCH_TYPES if verb == "patch" else _BODY_TYPES if body else (),
        tuple(sorted(_PARAMETERS.get(verb, ()), key=lambda parameter: parameter.name)),
        ref.namespaced and not all_namespaces,
        named,
        tag,
        _describe(verb, method, ref.kind, subresource),
        _SUCCESSES.get(verb, ("200",)) if subresource not in STREAMING else ("200",),
        bool(body) and verb in ("create", "update", "patch"),
    )


def _describe(verb: str, method: str, kind: str, subresource: str) -> str:
    if subresource in STREAMING and subresource != "log":
        return f"connect {method.upper()} requests to {subresource} of {kind}"
    of = f"{subresource} of " if subresource else ""
    # Endpoints is the one kind in the plural.
    one = kind if kind.endswith("points") else f"an {kind}" if kind[0] in "AEIOU" else f"a {kind}"
    match verb:
        case "list":
            return f"list or watch objects of kind {kind}"
        case "create" | "delete":
            return f"{verb} {of}{one}"
        case "deletecollection":
            return f"delete collection of {kind}"
    return f"{_DOES[verb]} {of}the specified {kind}"


def _camel(group: str) -> str:
    first, *rest = (group.removesuffix(".k8s.io") or "core").split(".")
    return first + "".join(part.capitalize() for part in rest)


def _pascal(tag: str) -> str:
    return "".join(part[:1].upper() + part[1:] for part in tag.split("_"))

"""Paths and operations of the resource table, in terms both OpenAPI versions share.

Clients read less of them than one might think: kubectl looks for a PATCH of the kind with the parameters `dryRun` and
`fieldValidation`; generators and API browsers read the rest.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from timonel.api.objects import Object
from timonel.api.resource import Resource, ResourceTable, Subresource
from timonel.apiserver.openapi.parameters import NAMESPACE, OF_STREAMS, OF_VERBS, PATH, Parameter, Parameters
from timonel.apiserver.registry.patching import PATCH_TYPES
from timonel.apiserver.registry.registry import RETURNS_DELETED

META = "io.k8s.apimachinery.pkg.apis.meta.v1"
STATUS = f"{META}.Status"
PATCH = f"{META}.Patch"
DELETE_OPTIONS = f"{META}.DeleteOptions"
WATCH_EVENT = f"{META}.WatchEvent"
TEXT = "string"
"""In place of a definition's name: the answer is no object."""
_KIND_DEFINITIONS = {
    ("autoscaling", "v1", "Scale"): "io.k8s.api.autoscaling.v1.Scale",
    ("policy", "v1", "Eviction"): "io.k8s.api.policy.v1.Eviction",
    ("", "v1", "Binding"): "io.k8s.api.core.v1.Binding",
    ("authentication.k8s.io", "v1", "TokenRequest"): "io.k8s.api.authentication.v1.TokenRequest",
}
_CONNECTING = frozenset({"exec", "attach", "portforward", "proxy"})

OBJECT_TYPES = ("application/json", "application/yaml", "application/vnd.kubernetes.protobuf")
_WATCH_TYPES = (*OBJECT_TYPES, "application/json;stream=watch", "application/vnd.kubernetes.protobuf;stream=watch")
_LOG_TYPES = ("text/plain", *OBJECT_TYPES)
_ANY_TYPE = ("*/*",)


@dataclass(frozen=True, slots=True)
class Operation:
    """`body` and `answer` are names of definitions, `answer` may also be TEXT; "" for none."""

    path: str
    method: str
    operation_id: str
    tag: str
    description: str
    answer: str
    produces: tuple[str, ...]
    consumes: tuple[str, ...] = ()
    parameters: Parameters = ()
    body: str = ""
    body_required: bool = False
    answers: tuple[str, ...] = ("200",)
    """The codes of success."""
    verb: str = ""
    """Of the kind: "list", "patch" … as x-kubernetes-action says it; "" for what is about no kind."""
    kind: Object | None = None


ANSWERS = {"200": "OK", "201": "Created", "202": "Accepted"}
_METHODS = {
    "get": "get", "list": "get", "create": "post", "update": "put", "patch": "patch", "delete": "delete",
    "deletecollection": "delete", "watch": "get", "watchlist": "get", "options": "options", "head": "head",
}  # fmt: skip
_ACTIONS = {"create": "post", "update": "put"}
_OPERATION_NAMES = {"get": "read", "update": "replace", "deletecollection": "delete", "watchlist": "watch"}
_SUCCESSES = {
    "create": ("200", "201", "202"), "update": ("200", "201"), "patch": ("200", "201"), "delete": ("200", "202"),
}  # fmt: skip
_DOES = {"get": "read", "update": "replace", "patch": "partially update"}
_PROXIED = ("options", "head")
"""Passed on by proxies, beside the verbs that the kinds have names for."""


def operations(table: ResourceTable, group: str, version: str) -> Iterator[Operation]:
    for row in table.rows:
        if (row.ref.group, row.ref.version) == (group, version):
            yield from _of_resource(row)


def path_items(
    found: Iterable[Operation],
    render_operation: Callable[[Operation, Parameters], Object],
    render_parameter: Callable[[Parameter], Object],
) -> Object:
    """The "paths" of a document. Parameters that all operations of a path have stand beside them, not in each.

    The functions say how a version writes an operation with the parameters that are left, and a parameter.
    """
    by_path: dict[str, list[Operation]] = {}
    for operation in found:
        by_path.setdefault(operation.path, []).append(operation)
    paths: Object = {}
    for path, here in by_path.items():
        shared = [each for each in here[0].parameters if all(each in other.parameters for other in here)]
        item: Object = {
            operation.method: render_operation(
                operation, tuple(each for each in operation.parameters if each not in shared)
            )
            for operation in here
        }
        if shared:
            item["parameters"] = [render_parameter(each) for each in shared]
        paths[path] = item
    return paths


def _of_resource(row: Resource) -> Iterator[Operation]:
    ref = row.ref
    placeholder = "{namespace}" if ref.namespaced else ""
    collection, item = ref.path(placeholder), ref.path(placeholder, "{name}")
    for verb in row.verbs:
        if verb == "watch":
            yield from _old_watches(row)
            continue
        named = verb not in ("list", "create", "deletecollection")
        yield _operation(row, verb, item if named else collection)
        if verb == "list" and ref.namespaced:
            yield _operation(row, verb, ref.path())
    for sub in row.subresources:
        path = f"{item}/{sub.name}"
        if sub.name not in OF_STREAMS:
            for verb in sub.verbs:
                yield _operation(row, verb, path, sub)
            continue
        verbs = (*sub.verbs, *_PROXIED) if sub.name == "proxy" else sub.verbs
        for verb in verbs:
            yield _stream(row, sub, verb, path)
        if sub.name == "proxy":
            for verb in verbs:
                yield _stream(row, sub, verb, f"{path}/{{path}}")


def _old_watches(row: Resource) -> Iterator[Operation]:
    """The paths of watches from before the parameter `watch`: deprecated for long, and still served."""
    ref = row.ref
    plain = ref.path()
    prefix = plain.removesuffix(ref.plural) + "watch/"
    scope = "namespaces/{namespace}/" if ref.namespaced else ""
    yield _operation(row, "watchlist", prefix + ref.plural)
    if ref.namespaced:
        yield _operation(row, "watchlist", f"{prefix}{scope}{ref.plural}")
    if "get" in row.verbs:
        yield _operation(row, "watch", f"{prefix}{scope}{ref.plural}/{{name}}")


def _operation(row: Resource, verb: str, path: str, sub: Subresource | None = None) -> Operation:
    ref = row.ref
    key = (sub.group, sub.version or ref.version, sub.kind) if sub and sub.kind else None
    definition = row.definition if key is None else _KIND_DEFINITIONS[key]
    body = {"patch": PATCH, "delete": DELETE_OPTIONS, "deletecollection": DELETE_OPTIONS}.get(verb, "")
    if verb in ("create", "update"):
        body = definition
    answer = definition
    if verb == "list":
        answer = f"{definition}List"
    elif verb in ("watch", "watchlist"):
        answer = WATCH_EVENT
    elif verb == "deletecollection" or (verb == "delete" and not _answers_deleted(row)):
        answer = STATUS
    subresource = sub.name if sub else ""
    watches = verb in ("list", "watch", "watchlist")
    return Operation(
        path,
        _METHODS[verb],
        _operation_id(row, verb, path, subresource),
        _tag(row),
        _describe(row, verb, subresource),
        answer,
        _WATCH_TYPES if watches else OBJECT_TYPES,
        PATCH_TYPES if verb == "patch" else _ANY_TYPE,
        _in_order(row, path, OF_VERBS[verb]),
        body,
        bool(body) and verb in ("create", "update", "patch"),
        _SUCCESSES.get(verb, ("200",)),
        _ACTIONS.get(verb, verb),
        _kind(key or (ref.group, ref.version, ref.kind)),
    )


def _stream(row: Resource, sub: Subresource, verb: str, path: str) -> Operation:
    """What is passed on to a kubelet or a pod."""
    ref = row.ref
    connects = sub.name in _CONNECTING
    method = _METHODS[verb]
    of = f"connect {method.upper()} requests to {sub.name} of {ref.kind}"
    return Operation(
        path,
        method,
        _operation_id(row, verb, path, sub.name),
        _tag(row),
        of if connects else _describe(row, verb, sub.name),
        TEXT,
        _ANY_TYPE if connects else _LOG_TYPES,
        _ANY_TYPE,
        _in_order(row, path, OF_STREAMS[sub.name]),
        verb="connect" if connects else verb,
        kind=_kind((ref.group, ref.version, sub.kind or ref.kind)),
    )


def _answers_deleted(row: Resource) -> bool:
    # Namespaces answer with what is left of them, though the published operation says otherwise.
    return (row.ref.group, row.ref.plural) in RETURNS_DELETED and row.ref.plural != "namespaces"


def _operation_id(row: Resource, verb: str, path: str, subresource: str) -> str:
    ref = row.ref
    connects = subresource in _CONNECTING
    name = "connect" if connects else _OPERATION_NAMES.get(verb, verb)
    if connects:
        scope = _METHODS[verb].capitalize()
    else:
        scope = "Collection" if verb == "deletecollection" else ""
    everywhere = ref.namespaced and "{namespace}" not in path
    scope += "Namespaced" if ref.namespaced and not everywhere else ""
    suffix = "ForAllNamespaces" if everywhere else "WithPath" if path.endswith("{path}") else ""
    of_list = "List" if verb == "watchlist" else ""
    return f"{name}{pascal(_tag(row))}{scope}{ref.kind}{of_list}{subresource.capitalize()}{suffix}"


def _describe(row: Resource, verb: str, subresource: str) -> str:
    kind = row.ref.kind
    of = f"{subresource} of " if subresource else ""
    # Endpoints is the one kind in the plural.
    one = kind if kind.endswith("points") else f"an {kind}" if kind[0] in "AEIOU" else f"a {kind}"
    instead = "deprecated: use the 'watch' parameter with a list operation instead"
    match verb:
        case "list":
            return f"list {'or watch ' if 'watch' in row.verbs else ''}objects of kind {kind}"
        case "watch":
            one_item = "filtered to a single item with the 'fieldSelector' parameter."
            return f"watch changes to an object of kind {kind}. {instead}, {one_item}"
        case "watchlist":
            return f"watch individual changes to a list of {kind}. {instead}."
        case "create" | "delete":
            return f"{verb} {of}{one}"
        case "deletecollection":
            return f"delete collection of {kind}"
    return f"{_DOES[verb]} {of}the specified {kind}"


def _in_order(row: Resource, path: str, parameters: Parameters) -> Parameters:
    """With those that the path has."""
    found = list(parameters)
    if "{name}" in path:
        found.append(Parameter("name", "string", f"name of the {row.ref.kind}", "path"))
    if "{namespace}" in path:
        found.append(NAMESPACE)
    if "{path}" in path:
        found.append(PATH)
    return tuple(sorted(found, key=_name))


def _name(parameter: Parameter) -> str:
    return parameter.name


def _kind(key: tuple[str, str, str]) -> Object:
    return {"group": key[0], "version": key[1], "kind": key[2]}


def _tag(row: Resource) -> str:
    return f"{camel(row.ref.group)}_{row.ref.version}"


def camel(group: str) -> str:
    """A group as tags name it: "rbac.authorization.k8s.io" -> "rbacAuthorization"."""
    first, *rest = (group.removesuffix(".k8s.io") or "core").split(".")
    return first + "".join(part.capitalize() for part in rest)


def pascal(tag: str) -> str:
    return "".join(part[:1].upper() + part[1:] for part in tag.split("_"))

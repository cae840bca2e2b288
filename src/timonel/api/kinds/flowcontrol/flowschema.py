"""FlowSchema: which requests belong to a priority level, and what makes them one flow.

Source: kubernetes.io/docs/reference/kubernetes-api/cluster-resources/flow-schema-v1
"""

from __future__ import annotations

from timonel.api import refs
from timonel.api.errors import FieldError
from timonel.api.field_errors import Path, forbidden, invalid, not_supported, required
from timonel.api.kinds.columns import AGE, NAME, NONE, cell_at, plain
from timonel.api.kinds.flowcontrol.conditions import check_conditions
from timonel.api.kinds.flowcontrol.mandatory import EXEMPT, MANDATORY_FLOW_SCHEMAS
from timonel.api.kinds.rules import Errors, check_label, check_subdomain
from timonel.api.kinds.subresources import STATUS
from timonel.api.names import validate_dns1123_label
from timonel.api.objects import Object, find_by, get_path
from timonel.api.resource import Column, Resource, Strategy

_SPEC = Path("spec")
_DEFAULT_PRECEDENCE, _LAST_PRECEDENCE = 1000, 10000
_METHODS = ("ByNamespace", "ByUser")
_VERBS = ("create", "delete", "deletecollection", "get", "list", "patch", "proxy", "update", "watch")
_SUBJECTS = {"Group": "group", "ServiceAccount": "serviceAccount", "User": "user"}


class FlowSchemaStrategy(Strategy):
    def default(self, obj: Object) -> None:
        spec = obj.setdefault("spec", {})
        if not spec.get("matchingPrecedence"):
            spec["matchingPrecedence"] = _DEFAULT_PRECEDENCE

    def validate_create(self, obj: Object) -> list[FieldError]:
        errors: Errors = []
        spec, name = obj.get("spec") or {}, obj["metadata"].get("name") or ""
        _check_spec(errors, spec, name)
        fixed = MANDATORY_FLOW_SCHEMAS.get(name)
        if fixed is not None and spec != fixed:
            errors.append(invalid(_SPEC, spec, f"spec of '{name}' must equal the fixed value"))
        check_conditions(errors, obj)
        return errors

    def validate_status_update(self, new: Object, old: Object) -> list[FieldError]:
        errors: Errors = []
        check_conditions(errors, new)
        return errors


def _check_spec(errors: Errors, spec: Object, name: str) -> None:
    precedence, path = spec.get("matchingPrecedence") or 0, _SPEC / "matchingPrecedence"
    if precedence <= 0:
        errors.append(invalid(path, precedence, "must be a positive value"))
    if precedence > _LAST_PRECEDENCE:
        errors.append(invalid(path, precedence, f"must not be greater than {_LAST_PRECEDENCE}"))
    if precedence == 1 and name != EXEMPT:
        errors.append(invalid(path, precedence, "only the schema named 'exempt' may have matchingPrecedence 1"))
    method = spec.get("distinguisherMethod")
    if method is not None and method.get("type") not in _METHODS:
        errors.append(not_supported(_SPEC / "distinguisherMethod" / "type", method, _METHODS))
    level = get_path(spec, "priorityLevelConfiguration", "name", default="")
    if level:
        check_subdomain(errors, _SPEC / "priorityLevelConfiguration" / "name", level)
    else:
        here = _SPEC / "priorityLevelConfiguration" / "name"
        errors.append(required(here, "must reference a priority level"))
    for index, rule in enumerate(spec.get("rules") or ()):
        _check_rule(errors, (_SPEC / "rules")[index], rule)


def _check_rule(errors: Errors, path: Path, rule: Object) -> None:
    subjects = rule.get("subjects") or []
    for index, subject in enumerate(subjects):
        _check_subject(errors, (path / "subjects")[index], subject)
    if not subjects:
        errors.append(required(path / "subjects", "subjects must contain at least one value"))
    resources, others = rule.get("resourceRules") or [], rule.get("nonResourceRules") or []
    if not resources and not others:
        errors.append(required(path, "at least one of resourceRules and nonResourceRules has to be non-empty"))
    for index, item in enumerate(resources):
        _check_resource_rule(errors, (path / "resourceRules")[index], item)
    for index, item in enumerate(others):
        here = (path / "nonResourceRules")[index]
        _check_verbs(errors, here, item)
        _check_urls(errors, here / "nonResourceURLs", item.get("nonResourceURLs") or [])


def _check_subject(errors: Errors, path: Path, subject: Object) -> None:
    kind = subject.get("kind") or ""
    field = _SUBJECTS.get(kind)
    if field is None:
        errors.append(not_supported(path / "kind", kind, _SUBJECTS))
        return
    named = subject.get(field)
    if named is None:
        errors.append(required(path / field, f"{field} is required when subject kind is '{kind}'"))
    else:
        _check_named(errors, path / field, named, kind)
    for other_kind in ("ServiceAccount", "User", "Group"):
        other = _SUBJECTS[other_kind]
        if other != field and subject.get(other) is not None:
            errors.append(forbidden(path / other, f"{other} is forbidden when subject kind is not '{other_kind}'"))


def _check_named(errors: Errors, path: Path, named: Object, kind: str) -> None:
    name = named.get("name") or ""
    if not name:
        errors.append(required(path / "name"))
    elif kind == "ServiceAccount" and name != "*":
        check_subdomain(errors, path / "name", name)
    if kind == "ServiceAccount":
        if named.get("namespace"):
            check_label(errors, path / "namespace", named["namespace"])
        else:
            errors.append(required(path / "namespace", "must specify namespace for service account"))


def _check_verbs(errors: Errors, path: Path, rule: Object) -> None:
    verbs = rule.get("verbs") or []
    if not verbs:
        errors.append(required(path / "verbs", "verbs must contain at least one value"))
    elif "*" in verbs:
        if len(verbs) > 1:
            errors.append(invalid(path / "verbs", verbs, "if '*' is present, must not specify other verbs"))
    elif not set(verbs) <= set(_VERBS):
        errors.append(not_supported(path / "verbs", verbs, _VERBS))


def _check_resource_rule(errors: Errors, path: Path, rule: Object) -> None:
    _check_verbs(errors, path, rule)
    for field, one, several in (("apiGroups", "api group", "api groups"), ("resources", "resource", "resources")):
        values = rule.get(field) or []
        if not values:
            errors.append(required(path / field, f"resource rules must supply at least one {one}"))
        elif len(values) > 1 and "*" in values:
            errors.append(invalid(path / field, values, f"if '*' is present, must not specify other {several}"))
    namespaces, here = rule.get("namespaces") or [], path / "namespaces"
    if not namespaces and not rule.get("clusterScope"):
        why = "resource rules that are not cluster scoped must supply at least one namespace"
        errors.append(required(here, why))
    elif "*" in namespaces:
        if len(namespaces) > 1:
            errors.append(invalid(here, namespaces, "if '*' is present, must not specify other namespaces"))
    else:
        for index, namespace in enumerate(namespaces):
            for why in validate_dns1123_label(namespace):
                intro = "each member of this list must be '*' or a DNS-1123 label; "
                errors.append(invalid(here[index], namespace, intro + why))


def _check_urls(errors: Errors, path: Path, urls: list[str]) -> None:
    if not urls:
        errors.append(required(path, "nonResourceURLs must contain at least one value"))
    elif "*" in urls:
        if len(urls) > 1:
            errors.append(invalid(path, urls, "if '*' is present, must not specify other non-resource URLs"))
    else:
        for index, url in enumerate(urls):
            if why := _url_problem(url):
                errors.append(invalid(path[index], url, why))


def _url_problem(url: str) -> str:
    if not url:
        return "must not be empty"
    if url == "/":
        return ""
    if not url.startswith("/"):
        return "must start with slash"
    if " " in url:
        return "must not contain white-space"
    if "//" in url:
        return "must not contain double slash"
    if "*" in url[:-1] or (url.endswith("*") and not url.endswith("/*")):
        return "wildcard can only do suffix matching"
    return ""


def _missing_level(schema: Object) -> str:
    condition = find_by(get_path(schema, "status", "conditions"), "type", "Dangling")
    return "?" if condition is None else condition.get("status") or ""


FLOW_SCHEMAS = Resource(
    ref=refs.FLOW_SCHEMAS,
    definition="io.k8s.api.flowcontrol.v1.FlowSchema",
    singular="flowschema",
    subresources=(STATUS,),
    strategy=FlowSchemaStrategy(),
    columns=(
        NAME,
        Column(
            "PriorityLevel",
            cell_at("spec", "priorityLevelConfiguration", "name"),
            description="The level of the requests that match.",
        ),
        Column(
            "MatchingPrecedence",
            cell_at("spec", "matchingPrecedence", default=0),
            description="Of several schemas that match, the lowest counts.",
        ),
        Column(
            "DistinguisherMethod",
            cell_at("spec", "distinguisherMethod", "type", default=NONE),
            description="What tells flows apart.",
        ),
        AGE,
        Column("MissingPL", plain(_missing_level), description="Whether its priority level does not exist."),
    ),
    storage_prefix="/registry/flowschemas/",
    has_status=True,
)

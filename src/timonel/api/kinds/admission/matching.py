"""Which requests a webhook or policy is asked about: rules, selectors, conditions."""

from __future__ import annotations

from timonel.api.field_errors import Path, duplicate, invalid, not_supported, required, too_many
from timonel.api.kinds.admission.expressions import PolicyExpressions
from timonel.api.kinds.rules import Errors, check_label_selector, check_option, check_qualified_name, check_text
from timonel.api.names import validate_path_segment
from timonel.api.objects import Object

FAILURE_POLICIES = ("Fail", "Ignore")
MATCH_POLICIES = ("Equivalent", "Exact")
REINVOCATION_POLICIES = ("IfNeeded", "Never")
_OPERATIONS = ("*", "CONNECT", "CREATE", "DELETE", "UPDATE")
_SCOPES = ("*", "Cluster", "Namespaced")
_MOST_CONDITIONS = 64
_STATIC_SUFFIX = ".static.k8s.io"


def name_warnings(obj: Object) -> list[str]:
    if not (obj["metadata"].get("name") or "").endswith(_STATIC_SUFFIX):
        return []
    return [
        f'metadata.name: names ending with "{_STATIC_SUFFIX}" are reserved for static manifest-based configurations '
        "and cannot be managed via the API"
    ]


def default_selectors(target: Object) -> None:
    """Of a webhook or of match resources."""
    target.setdefault("matchPolicy", "Equivalent")
    target.setdefault("namespaceSelector", {})
    target.setdefault("objectSelector", {})


def default_rules(rules: list[Object] | None) -> None:
    for rule in rules or ():
        rule.setdefault("scope", "*")


def default_match_resources(resources: Object | None) -> None:
    if resources is not None:
        default_selectors(resources)
        default_rules(resources.get("resourceRules"))
        default_rules(resources.get("excludeResourceRules"))


def check_match_resources(errors: Errors, path: Path, resources: Object | None) -> None:
    if resources is None:
        return
    if resources.get("matchPolicy") is None:
        errors.append(required(path / "matchPolicy"))
    check_option(errors, path / "matchPolicy", resources.get("matchPolicy"), MATCH_POLICIES)
    for field in ("namespaceSelector", "objectSelector"):
        if resources.get(field) is None:
            errors.append(required(path / field))
        check_label_selector(errors, path / field, resources.get(field))
    for field in ("resourceRules", "excludeResourceRules"):
        for index, rule in enumerate(resources.get(field) or ()):
            here, names = (path / field)[index], rule.get("resourceNames") or []
            for position, name in enumerate(names):
                check_text(errors, (here / "resourceNames")[position], name, validate_path_segment)
                if name in names[:position]:
                    errors.append(duplicate((here / "resourceNames")[position], name))
            check_rule(errors, here, rule)


def check_rule(errors: Errors, path: Path, rule: Object) -> None:
    """Operations on resources, each list either with names or with the one wildcard."""
    operations = rule.get("operations") or []
    if not operations:
        errors.append(required(path / "operations"))
    if len(operations) > 1 and "*" in operations:
        why = "if '*' is present, must not specify other operations"
        errors.append(invalid(path / "operations", operations, why))
    for index, operation in enumerate(operations):
        if operation not in _OPERATIONS:
            errors.append(not_supported((path / "operations")[index], operation, _OPERATIONS))
    for field, called in (("apiGroups", "API groups"), ("apiVersions", "API versions")):
        values = rule.get(field) or []
        if not values:
            errors.append(required(path / field))
        if len(values) > 1 and "*" in values:
            errors.append(invalid(path / field, values, f"if '*' is present, must not specify other {called}"))
    for index, version in enumerate(rule.get("apiVersions") or ()):
        if not version:
            errors.append(required((path / "apiVersions")[index]))
    _check_resources(errors, path / "resources", rule.get("resources") or [])
    check_option(errors, path / "scope", rule.get("scope"), _SCOPES)


def _check_resources(errors: Errors, path: Path, resources: list[str]) -> None:
    """Such as "pods", "pods/log", "pods/*", "*/scale", "*", "*/*"; what a wildcard covers is not named again."""
    if not resources:
        errors.append(required(path))
    with_all_parts: set[str] = set()
    parts_of_all: set[str] = set()
    plain = False
    for index, text in enumerate(resources):
        if not text:
            errors.append(required(path[index]))
            continue
        resource, slash, part = text.partition("/")
        if not slash:
            plain = text != "*"
            continue
        if resource in with_all_parts:
            errors.append(invalid(path[index], text, f"if '{resource}/*' is present, must not specify {text}"))
        if part in parts_of_all:
            errors.append(invalid(path[index], text, f"if '*/{part}' is present, must not specify {text}"))
        if part == "*":
            with_all_parts.add(resource)
        if resource == "*":
            parts_of_all.add(part)
    if len(resources) > 1 and "*/*" in resources:
        errors.append(invalid(path, resources, "if '*/*' is present, must not specify other resources"))
    if "*" in resources and plain:
        why = "if '*' is present, must not specify other resources without subresources"
        errors.append(invalid(path, resources, why))


def check_match_conditions(errors: Errors, path: Path, conditions: list[Object], *, params: bool = False) -> None:
    """`params`: they can name parameters. They cannot name a policy's variables."""
    expressions = PolicyExpressions(params=params, composed=False)
    if len(conditions) > _MOST_CONDITIONS:
        errors.append(too_many(path, len(conditions), _MOST_CONDITIONS))
    seen: set[str] = set()
    for index, condition in enumerate(conditions):
        name, text = condition.get("name") or "", (condition.get("expression") or "").strip()
        if text:
            expressions.check(errors, path[index] / "expression", text, "bool")
        else:
            errors.append(required(path[index] / "expression"))
        if not name:
            errors.append(required(path[index] / "name"))
            continue
        check_qualified_name(errors, path[index] / "name", name)
        if name in seen:
            errors.append(duplicate(path[index] / "name", name))
        seen.add(name)

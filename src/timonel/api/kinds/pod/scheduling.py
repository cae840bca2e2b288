"""Where a pod may run: affinity, tolerations, topology spread, gates.

Source: kubernetes.io/docs/concepts/scheduling-eviction
"""

from __future__ import annotations

from timonel.api.field_errors import Path, duplicate, forbidden, invalid, not_supported, required
from timonel.api.kinds.rules import (
    Errors,
    check_label,
    check_label_selector,
    check_option,
    check_positive,
    check_qualified_name,
    check_subdomain,
    check_text,
)
from timonel.api.names import validate_label_value
from timonel.api.objects import Object

TAINT_EFFECTS = ("NoSchedule", "PreferNoSchedule", "NoExecute")
_REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
_PREFERRED = "preferredDuringSchedulingIgnoredDuringExecution"


def check_affinity(errors: Errors, path: Path, affinity: Object | None) -> None:
    if not affinity:
        return
    node = affinity.get("nodeAffinity")
    if node is not None:
        _check_node_affinity(errors, path / "nodeAffinity", node)
    for kind in ("podAffinity", "podAntiAffinity"):
        terms = affinity.get(kind)
        if terms is None:
            continue
        for index, term in enumerate(terms.get(_REQUIRED) or ()):
            _check_pod_term(errors, (path / kind / _REQUIRED)[index], term)
        for index, weighted in enumerate(terms.get(_PREFERRED) or ()):
            here = (path / kind / _PREFERRED)[index]
            _check_weight(errors, here / "weight", weighted.get("weight") or 0)
            _check_pod_term(errors, here / "podAffinityTerm", weighted.get("podAffinityTerm") or {})


def _check_weight(errors: Errors, path: Path, weight: int) -> None:
    if not 1 <= weight <= 100:
        errors.append(invalid(path, weight, "must be in the range 1-100"))


def _check_node_affinity(errors: Errors, path: Path, affinity: Object) -> None:
    selector = affinity.get(_REQUIRED)
    if selector is not None:
        check_node_selector(errors, path / _REQUIRED, selector)
    for index, term in enumerate(affinity.get(_PREFERRED) or ()):
        here = (path / _PREFERRED)[index]
        _check_weight(errors, here / "weight", term.get("weight") or 0)
        # Label values that no node can have are tolerated here: a preference that never holds does no harm.
        _check_node_term(errors, here / "preference", term.get("preference") or {}, any_value=True)


def check_node_selector(errors: Errors, path: Path, selector: Object) -> None:
    terms = selector.get("nodeSelectorTerms") or []
    if not terms:
        errors.append(required(path / "nodeSelectorTerms", "must have at least one node selector term"))
    for index, term in enumerate(terms):
        _check_node_term(errors, (path / "nodeSelectorTerms")[index], term, any_value=False)


def _check_node_term(errors: Errors, path: Path, term: Object, *, any_value: bool) -> None:
    for index, expression in enumerate(term.get("matchExpressions") or ()):
        _check_node_expression(errors, (path / "matchExpressions")[index], expression, any_value)
    for index, expression in enumerate(term.get("matchFields") or ()):
        _check_node_field(errors, (path / "matchFields")[index], expression)


def _check_node_expression(errors: Errors, path: Path, expression: Object, any_value: bool) -> None:
    operator, values = expression.get("operator") or "", expression.get("values") or []
    if operator in ("In", "NotIn"):
        if not values:
            errors.append(required(path / "values", "must be specified when `operator` is 'In' or 'NotIn'"))
    elif operator in ("Exists", "DoesNotExist"):
        if values:
            why = "may not be specified when `operator` is 'Exists' or 'DoesNotExist'"
            errors.append(forbidden(path / "values", why))
    elif operator in ("Gt", "Lt"):
        if len(values) != 1:
            errors.append(required(path / "values", "must be specified single value when `operator` is 'Lt' or 'Gt'"))
    else:
        errors.append(invalid(path / "operator", operator, "not a valid selector operator"))
    check_qualified_name(errors, path / "key", expression.get("key") or "")
    if not any_value:
        for index, value in enumerate(values):
            check_text(errors, (path / "values")[index], value, validate_label_value)


def _check_node_field(errors: Errors, path: Path, expression: Object) -> None:
    operator, values, key = (
        expression.get("operator") or "",
        expression.get("values") or [],
        expression.get("key") or "",
    )
    if operator in ("In", "NotIn"):
        if len(values) != 1:
            why = "must be only one value when `operator` is 'In' or 'NotIn' for node field selector"
            errors.append(required(path / "values", why))
    else:
        errors.append(invalid(path / "operator", operator, "not a valid selector operator"))
    if key != "metadata.name":
        errors.append(invalid(path / "key", key, "not a valid field selector key"))
        return
    for index, value in enumerate(values):
        check_subdomain(errors, (path / "values")[index], value)


def _check_pod_term(errors: Errors, path: Path, term: Object) -> None:
    check_label_selector(errors, path / "labelSelector", term.get("labelSelector"))
    check_label_selector(errors, path / "namespaceSelector", term.get("namespaceSelector"))
    for namespace in term.get("namespaces") or ():
        check_label(errors, path / "namespace", namespace)
    match, mismatch = term.get("matchLabelKeys") or [], term.get("mismatchLabelKeys") or []
    _check_label_keys(errors, path, match, mismatch, term.get("labelSelector"))
    key = term.get("topologyKey") or ""
    if not key:
        errors.append(required(path / "topologyKey", "can not be empty"))
    check_qualified_name(errors, path / "topologyKey", key)


def _check_label_keys(
    errors: Errors, path: Path, match: list[str], mismatch: list[str], selector: Object | None
) -> None:
    """By the time of validation the keys are merged into the selector: there, each may stand once."""
    for field, keys in (("matchLabelKeys", match), ("mismatchLabelKeys", mismatch)):
        if keys and selector is None:
            errors.append(forbidden(path / field, "must not be specified when labelSelector is not set"))
            continue
        for index, key in enumerate(keys):
            check_qualified_name(errors, (path / field)[index], key)
    if selector is not None and match:
        seen = set(selector.get("matchLabels") or ())
        for expression in selector.get("matchExpressions") or ():
            key = expression.get("key") or ""
            if key in match and key in seen:
                why = "exists in both matchLabelKeys and labelSelector"
                errors.append(invalid(path[len(match) - 1 - match[::-1].index(key)], key, why))
            seen.add(key)
    for index, key in enumerate(match):
        if key in mismatch:
            why = "exists in both matchLabelKeys and mismatchLabelKeys"
            errors.append(invalid((path / "matchLabelKeys")[index], key, why))


def check_topology_spread(errors: Errors, path: Path, constraints: list[Object]) -> None:
    for index, constraint in enumerate(constraints):
        here = path[index]
        key, action = constraint.get("topologyKey") or "", constraint.get("whenUnsatisfiable") or ""
        check_positive(errors, here / "maxSkew", constraint.get("maxSkew") or 0)
        if not key:
            errors.append(required(here / "topologyKey", "can not be empty"))
        if action not in ("DoNotSchedule", "ScheduleAnyway"):
            errors.append(not_supported(here / "whenUnsatisfiable", action, ("DoNotSchedule", "ScheduleAnyway")))
        for other in constraints[index + 1 :]:
            if (other.get("topologyKey") or "") == key and (other.get("whenUnsatisfiable") or "") == action:
                errors.append(duplicate(here / "{topologyKey, whenUnsatisfiable}", f"{{{key}, {action}}}"))
                break
        domains = constraint.get("minDomains")
        if domains is not None:
            check_positive(errors, here / "minDomains", domains)
            if action != "DoNotSchedule":
                why = f"can only use minDomains if whenUnsatisfiable=DoNotSchedule, not {action}"
                errors.append(invalid(here / "minDomains", domains, why))
        for field in ("nodeAffinityPolicy", "nodeTaintsPolicy"):
            check_option(errors, here / field, constraint.get(field), ("Honor", "Ignore"))
        selector = constraint.get("labelSelector")
        _check_label_keys(errors, here, constraint.get("matchLabelKeys") or [], [], selector)
        check_label_selector(errors, here / "labelSelector", selector)


def check_tolerations(errors: Errors, path: Path, tolerations: list[Object]) -> None:
    for index, toleration in enumerate(tolerations):
        key, value = toleration.get("key") or "", toleration.get("value") or ""
        operator, effect = toleration.get("operator") or "", toleration.get("effect") or ""
        here = path[index]
        if key:
            check_qualified_name(errors, here / "key", key)
        elif operator != "Exists":
            why = 'operator must be Exists when `key` is empty, which means "match all values and all keys"'
            errors.append(invalid(here / "operator", operator, why))
        if toleration.get("tolerationSeconds") is not None and effect != "NoExecute":
            errors.append(
                invalid(here / "effect", effect, "effect must be 'NoExecute' when `tolerationSeconds` is set")
            )
        if operator in ("Equal", ""):
            findings = validate_label_value(value)
            if findings:
                errors.append(invalid(here / "operator", value, ";".join(findings)))
        elif operator == "Exists":
            if value:
                errors.append(invalid(here / "operator", value, "value must be empty when `operator` is 'Exists'"))
        elif operator in ("Lt", "Gt"):
            errors.append(not_supported(here / "operator", operator, ("Equal", "Exists", "Lt", "Gt")))
        else:
            errors.append(not_supported(here / "operator", operator, ("Equal", "Exists")))
        if effect:
            check_option(errors, here / "effect", effect, TAINT_EFFECTS)


def check_gates(errors: Errors, path: Path, gates: list[Object]) -> None:
    seen: set[str] = set()
    for index, gate in enumerate(gates):
        name = gate.get("name") or ""
        check_qualified_name(errors, path[index], name)
        if name in seen:
            errors.append(duplicate(path[index], name))
        seen.add(name)


def merge_label_keys(spec: Object, labels: Object) -> None:
    """Writes the values of matchLabelKeys and mismatchLabelKeys into the selectors; done once, at creation."""
    affinity = spec.get("affinity") or {}
    for kind in ("podAffinity", "podAntiAffinity"):
        terms = affinity.get(kind) or {}
        for weighted in terms.get(_PREFERRED) or ():
            _merge_keys(weighted.get("podAffinityTerm") or {}, labels)
        for term in terms.get(_REQUIRED) or ():
            _merge_keys(term, labels)
    for constraint in spec.get("topologySpreadConstraints") or ():
        _merge_keys(constraint, labels)


def _merge_keys(term: Object, labels: Object) -> None:
    selector = term.get("labelSelector")
    if selector is None:
        return
    for field, operator in (("matchLabelKeys", "In"), ("mismatchLabelKeys", "NotIn")):
        for key in term.get(field) or ():
            if key in labels:
                expression = {"key": key, "operator": operator, "values": [labels[key]]}
                selector.setdefault("matchExpressions", []).append(expression)

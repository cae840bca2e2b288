"""Bindings of admission policies: where a policy holds, with which parameters, and what its refusal means."""

from __future__ import annotations

from timonel.api import refs
from timonel.api.errors import FieldError
from timonel.api.field_errors import Path, duplicate, forbidden, invalid, not_supported, required
from timonel.api.kinds.admission.matching import check_match_resources, default_match_resources, name_warnings
from timonel.api.kinds.columns import AGE, NAME, UNSET, cell_at, plain
from timonel.api.kinds.rules import Errors, check_choice, check_label_selector, check_subdomain, check_text
from timonel.api.names import validate_path_segment
from timonel.api.objects import Object, get_path
from timonel.api.resource import Column, Resource, Strategy

_SPEC = Path("spec")
_ACTIONS = ("Audit", "Deny", "Warn")
_EXCLUSIVE = "name and selector are mutually exclusive"


class BindingStrategy(Strategy):
    """Both kinds; only `validating` policies have actions."""

    allow_unconditional_update = False

    def __init__(self, *, validating: bool) -> None:
        self._validating = validating

    def default(self, obj: Object) -> None:
        default_match_resources(get_path(obj, "spec", "matchResources"))

    def validate_create(self, obj: Object) -> list[FieldError]:
        errors: Errors = []
        spec = obj.get("spec") or {}
        if spec.get("policyName"):
            check_subdomain(errors, _SPEC / "policyName", spec["policyName"])
        else:
            errors.append(required(_SPEC / "policyName"))
        if spec.get("paramRef") is not None:
            _check_params(errors, _SPEC / "paramRef", spec["paramRef"])
        check_match_resources(errors, _SPEC / "matchResources", spec.get("matchResources"))
        if self._validating:
            _check_actions(errors, _SPEC / "validationActions", spec.get("validationActions") or [])
        return errors

    def warnings(self, obj: Object, old: Object | None) -> list[str]:
        return name_warnings(obj)


def _check_params(errors: Errors, path: Path, params: Object) -> None:
    name, selector = params.get("name"), params.get("selector")
    if name:
        check_text(errors, path / "name", name, validate_path_segment)
    if name and selector is not None:
        errors.append(forbidden(path / "name", _EXCLUSIVE))
    if selector is not None:
        check_label_selector(errors, path / "selector", selector)
    if name and selector is not None:
        errors.append(forbidden(path / "selector", _EXCLUSIVE))
    if not name and selector is None:
        errors.append(required(path, "one of name or selector must be specified"))
    action = params.get("parameterNotFoundAction")
    check_choice(errors, path / "parameterNotFoundAction", action, ("Deny", "Allow"))


def _check_actions(errors: Errors, path: Path, actions: list[str]) -> None:
    for index, action in enumerate(actions):
        if action not in _ACTIONS:
            errors.append(not_supported(path[index], action, _ACTIONS))
        if action in actions[:index]:
            errors.append(duplicate(path[index], action))
    if "Deny" in actions and "Warn" in actions:
        why = (
            "must not contain both Deny and Warn (repeating the same validation failure information in the API "
            "response and headers serves no purpose)"
        )
        errors.append(invalid(path, actions, why))
    if not actions:
        errors.append(required(path, "at least one validation action is required"))


def _params(binding: Object) -> str:
    params = get_path(binding, "spec", "paramRef")
    if params is None:
        return UNSET
    if params.get("name"):
        # Whether parameters are in a namespace cannot be told from here: "*" stands for any or none.
        return f"{params.get('namespace') or '*'}/{params['name']}"
    selector = params.get("selector")
    return UNSET if selector is None else _go_text(selector)


def _go_text(selector: Object) -> str:
    """A LabelSelector as upstream's column shows it."""
    labels = "".join(f"{key}: {value}," for key, value in sorted((selector.get("matchLabels") or {}).items()))
    expressions = "".join(
        f"LabelSelectorRequirement{{Key:{e.get('key') or ''},Operator:{e.get('operator') or ''},"
        f"Values:[{' '.join(e.get('values') or ())}],}},"
        for e in selector.get("matchExpressions") or ()
    )
    return (
        f"&LabelSelector{{MatchLabels:map[string]string{{{labels}}},"
        f"MatchExpressions:[]LabelSelectorRequirement{{{expressions}}},}}"
    )


_COLUMNS = (
    NAME,
    Column("PolicyName", cell_at("spec", "policyName"), description="The policy it puts into force."),
    Column("ParamRef", plain(_params), description="Parameters of the policy."),
    AGE,
)

VALIDATING_ADMISSION_POLICY_BINDINGS = Resource(
    ref=refs.VALIDATING_ADMISSION_POLICY_BINDINGS,
    definition="io.k8s.api.admissionregistration.v1.ValidatingAdmissionPolicyBinding",
    singular="validatingadmissionpolicybinding",
    categories=("api-extensions",),
    strategy=BindingStrategy(validating=True),
    columns=_COLUMNS,
    storage_prefix="/registry/validatingadmissionpolicybindings/",
)

MUTATING_ADMISSION_POLICY_BINDINGS = Resource(
    ref=refs.MUTATING_ADMISSION_POLICY_BINDINGS,
    definition="io.k8s.api.admissionregistration.v1.MutatingAdmissionPolicyBinding",
    singular="mutatingadmissionpolicybinding",
    categories=("api-extensions",),
    strategy=BindingStrategy(validating=False),
    columns=_COLUMNS,
    storage_prefix="/registry/mutatingadmissionpolicybindings/",
)

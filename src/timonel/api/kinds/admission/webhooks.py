"""Webhook configurations: servers that are asked before something is written.

Source: kubernetes.io/docs/reference/access-authn-authz/extensible-admission-controllers
"""

from __future__ import annotations

from timonel.api import refs
from timonel.api.errors import FieldError
from timonel.api.field_errors import Path, duplicate, invalid, required
from timonel.api.kinds.admission.clients import REVIEW_VERSIONS, check_client, check_review_versions, default_client
from timonel.api.kinds.admission.matching import (
    FAILURE_POLICIES,
    MATCH_POLICIES,
    REINVOCATION_POLICIES,
    check_match_conditions,
    check_rule,
    default_rules,
    default_selectors,
    name_warnings,
)
from timonel.api.kinds.columns import AGE, NAME, plain
from timonel.api.kinds.rules import Errors, check_label_selector, check_option
from timonel.api.names import validate_dns1123_subdomain
from timonel.api.objects import Object
from timonel.api.resource import Column, Resource, Strategy

_WEBHOOKS = Path("webhooks")
_SIDE_EFFECTS = ("None", "NoneOnDryRun")
_DEFAULT_TIMEOUT = 10  # seconds


class WebhookStrategy(Strategy):
    """Both kinds; `mutating` ones may be asked again after others changed the object."""

    allow_unconditional_update = False

    def __init__(self, *, mutating: bool = False) -> None:
        self._mutating = mutating

    def default(self, obj: Object) -> None:
        for hook in obj.get("webhooks") or ():
            hook.setdefault("failurePolicy", "Fail")
            default_selectors(hook)
            hook.setdefault("timeoutSeconds", _DEFAULT_TIMEOUT)
            if self._mutating:
                hook.setdefault("reinvocationPolicy", "Never")
            default_rules(hook.get("rules"))
            default_client(hook.get("clientConfig"))

    def validate_create(self, obj: Object) -> list[FieldError]:
        return _findings(obj, None)

    def validate_update(self, new: Object, old: Object) -> list[FieldError]:
        return _findings(new, old)

    def warnings(self, obj: Object, old: Object | None) -> list[str]:
        return name_warnings(obj)


def _findings(obj: Object, old: Object | None) -> Errors:
    """Conditions that nobody changed are not looked at again."""
    changed = old is None or _conditions(obj) != _conditions(old)
    errors: Errors = []
    names: set[str] = set()
    for index, hook in enumerate(obj.get("webhooks") or ()):
        path, name = _WEBHOOKS[index], hook.get("name") or ""
        _check_hook(errors, path, hook, conditions=changed)
        versions = hook.get("admissionReviewVersions") or []
        missing = f"must specify one of {', '.join(REVIEW_VERSIONS)}"
        check_review_versions(errors, path / "admissionReviewVersions", versions, missing)
        if name and name in names:
            errors.append(duplicate(path / "name", name))
        names.add(name)
    return errors


def _conditions(configuration: Object) -> list[list[Object]]:
    return [hook.get("matchConditions") or [] for hook in configuration.get("webhooks") or ()]


def _check_hook(errors: Errors, path: Path, hook: Object, *, conditions: bool) -> None:
    check_fully_qualified_name(errors, path / "name", hook.get("name") or "")
    for index, rule in enumerate(hook.get("rules") or ()):
        check_rule(errors, (path / "rules")[index], rule)
    check_option(errors, path / "failurePolicy", hook.get("failurePolicy"), FAILURE_POLICIES)
    check_option(errors, path / "matchPolicy", hook.get("matchPolicy"), MATCH_POLICIES)
    if hook.get("sideEffects") is None:
        errors.append(required(path / "sideEffects", f"must specify one of {', '.join(_SIDE_EFFECTS)}"))
    check_option(errors, path / "sideEffects", hook.get("sideEffects"), _SIDE_EFFECTS)
    timeout = hook.get("timeoutSeconds")
    if timeout is not None and not 1 <= timeout <= 30:
        why = "the timeout value must be between 1 and 30 seconds"
        errors.append(invalid(path / "timeoutSeconds", timeout, why))
    for field in ("namespaceSelector", "objectSelector"):
        check_label_selector(errors, path / field, hook.get(field))
    check_option(errors, path / "reinvocationPolicy", hook.get("reinvocationPolicy"), REINVOCATION_POLICIES)
    check_client(errors, path / "clientConfig", hook.get("clientConfig") or {})
    if conditions:
        check_match_conditions(errors, path / "matchConditions", hook.get("matchConditions") or [])


def check_fully_qualified_name(errors: Errors, path: Path, name: str) -> None:
    """A DNS name of at least three labels."""
    if not name:
        errors.append(required(path))
    elif found := validate_dns1123_subdomain(name):
        errors.append(invalid(path, name, ",".join(found)))
    elif name.count(".") < 2:
        why = "should be a domain with at least three segments separated by dots"
        errors.append(invalid(path, name, why))


_COLUMNS = (
    NAME,
    Column(
        "Webhooks",
        plain(lambda configuration: len(configuration.get("webhooks") or ())),
        type="integer",
        description="Number of webhooks.",
    ),
    AGE,
)

VALIDATING_WEBHOOK_CONFIGURATIONS = Resource(
    ref=refs.VALIDATING_WEBHOOK_CONFIGURATIONS,
    definition="io.k8s.api.admissionregistration.v1.ValidatingWebhookConfiguration",
    singular="validatingwebhookconfiguration",
    categories=("api-extensions",),
    strategy=WebhookStrategy(),
    columns=_COLUMNS,
    storage_prefix="/registry/validatingwebhookconfigurations/",
)

MUTATING_WEBHOOK_CONFIGURATIONS = Resource(
    ref=refs.MUTATING_WEBHOOK_CONFIGURATIONS,
    definition="io.k8s.api.admissionregistration.v1.MutatingWebhookConfiguration",
    singular="mutatingwebhookconfiguration",
    categories=("api-extensions",),
    strategy=WebhookStrategy(mutating=True),
    columns=_COLUMNS,
    storage_prefix="/registry/mutatingwebhookconfigurations/",
)

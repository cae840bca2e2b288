"""What a claim asks for: devices by class, selectors and count, constraints among them, and their configuration."""

from __future__ import annotations

from collections.abc import Mapping

from timonel.api.field_errors import Path, forbidden, internal, invalid, not_supported, required, too_long
from timonel.api.kinds.devices.common import (
    check_configuration,
    check_full_attribute_name,
    check_list,
    check_set,
    own_name,
)
from timonel.api.kinds.rules import (
    Errors,
    check_choice,
    check_label,
    check_qualified_name,
    check_subdomain,
    check_text,
)
from timonel.api.names import validate_label_value
from timonel.api.objects import Object

MOST_REQUESTS = 32
MOST_CONFIGURATIONS = 32
MOST_SELECTORS = 32
TAINT_EFFECTS = ("NoExecute", "NoSchedule", "None")
_MOST_CONSTRAINTS = 32
_MOST_ALTERNATIVES = 8
_EXPRESSION_LIMIT = 10 * 1024
_MODES = ("All", "ExactCount")
_OPERATORS = ("Equal", "Exists")
_NO_REQUEST = "must be the name of a request in the claim or the name of a request and a subrequest separated by '/'"

RequestNames = Mapping[str, frozenset[str]]
"""Names of requests, each with those of its alternatives."""


def default_requests(spec: Object | None) -> None:
    """`spec` of a claim, or of a template's claim."""
    for request in ((spec or {}).get("devices") or {}).get("requests") or ():
        exactly = request.get("exactly")
        for each in [*([exactly] if exactly is not None else []), *(request.get("firstAvailable") or ())]:
            if not each.get("allocationMode"):
                each["allocationMode"] = "ExactCount"
            if each["allocationMode"] == "ExactCount" and not each.get("count"):
                each["count"] = 1
            for toleration in each.get("tolerations") or ():
                if not toleration.get("operator"):
                    toleration["operator"] = "Equal"


def request_names(devices: Object) -> RequestNames:
    return {
        own_name(request): frozenset(own_name(part) for part in request.get("firstAvailable") or ())
        for request in devices.get("requests") or ()
    }


def check_device_claim(errors: Errors, path: Path, devices: Object) -> None:
    names = request_names(devices)
    check_set(errors, path / "requests", devices.get("requests") or [], MOST_REQUESTS, _check_request, own_name)

    def check_constraint(errors: Errors, path: Path, constraint: Object) -> None:
        check_request_names(errors, path / "requests", constraint.get("requests") or [], names)
        for field in ("matchAttribute", "distinctAttribute"):
            if constraint.get(field) is not None:
                check_full_attribute_name(errors, path / field, constraint[field])
                return
        why = 'exactly one of "matchAttribute" or "distinctAttribute" is required, but multiple fields are set'
        errors.append(required(path, why))

    def check_one_configuration(errors: Errors, path: Path, configuration: Object) -> None:
        check_request_names(errors, path / "requests", configuration.get("requests") or [], names)
        check_configuration(errors, path, configuration)

    constraints, configurations = devices.get("constraints") or [], devices.get("config") or []
    check_list(errors, path / "constraints", constraints, _MOST_CONSTRAINTS, check_constraint)
    check_list(errors, path / "config", configurations, MOST_CONFIGURATIONS, check_one_configuration)


def check_request_names(errors: Errors, path: Path, given: list[str], names: RequestNames) -> None:
    def check(errors: Errors, path: Path, name: str) -> None:
        check_request_name(errors, path, name, names)

    check_set(errors, path, given, MOST_REQUESTS, check, str)


def check_request_name(errors: Errors, path: Path, name: str, names: RequestNames) -> None:
    request, slash, part = name.partition("/")
    if "/" in part:
        errors.append(invalid(path, name, _NO_REQUEST))
        return
    for segment in (request, part) if slash else (request,):
        check_label(errors, path, segment)
    if request not in names or (slash and part not in names[request]):
        errors.append(invalid(path, name, _NO_REQUEST))


def check_selectors(errors: Errors, path: Path, selectors: list[Object]) -> None:
    check_list(errors, path, selectors, MOST_SELECTORS, _check_selector)


def _check_selector(errors: Errors, path: Path, selector: Object) -> None:
    cel = selector.get("cel")
    if cel is None:
        errors.append(required(path / "cel"))
        return
    here, text = path / "cel" / "expression", cel.get("expression") or ""
    if len(text.encode()) > _EXPRESSION_LIMIT:
        errors.append(too_long(here, _EXPRESSION_LIMIT))
        return
    # Here: the compiler is large, and most clusters have no devices.
    from timonel.api.cel.devices import MOST_COST, compile_selector, selector_cost
    from timonel.api.cel.issues import CompileError
    from timonel.api.cel.program import Unusable, WrongResult

    try:
        if selector_cost(compile_selector(text)) > MOST_COST:
            errors.append(forbidden(here, "too complex, exceeds cost limit"))
    except CompileError as exc:
        errors.append(invalid(here, text, f"compilation failed: {exc}"))
    except WrongResult as exc:
        errors.append(invalid(here, text, str(exc)))
    except Unusable as exc:
        errors.append(internal(here, str(exc)))


def _check_request(errors: Errors, path: Path, request: Object) -> None:
    check_label(errors, path / "name", own_name(request))
    exactly, alternatives = request.get("exactly"), request.get("firstAvailable") or []
    one = "exactly one of `exactly` or `firstAvailable` is required"
    if exactly is None and not alternatives:
        errors.append(required(path, one))
    elif exactly is not None and alternatives:
        errors.append(invalid(path, None, f"{one}, but multiple fields are set"))
    elif exactly is not None:
        _check_asked(errors, path / "exactly", exactly)
    else:
        check_set(errors, path / "firstAvailable", alternatives, _MOST_ALTERNATIVES, _check_alternative, own_name)


def _check_alternative(errors: Errors, path: Path, request: Object) -> None:
    check_label(errors, path / "name", own_name(request))
    _check_asked(errors, path, request)


def _check_asked(errors: Errors, path: Path, request: Object) -> None:
    if request.get("deviceClassName"):
        check_subdomain(errors, path / "deviceClassName", request["deviceClassName"])
    else:
        errors.append(required(path / "deviceClassName"))
    check_selectors(errors, path / "selectors", request.get("selectors") or [])
    mode, count = request.get("allocationMode") or "", request.get("count") or 0
    if mode not in _MODES:
        errors.append(not_supported(path / "allocationMode", mode, _MODES))
    elif mode == "All" and count:
        errors.append(invalid(path / "count", count, "must not be specified when allocationMode is 'All'"))
    elif mode == "ExactCount" and count <= 0:
        errors.append(invalid(path / "count", count, "must be greater than zero"))
    for index, toleration in enumerate(request.get("tolerations") or ()):
        _check_toleration(errors, (path / "tolerations")[index], toleration)


def _check_toleration(errors: Errors, path: Path, toleration: Object) -> None:
    operator, value = toleration.get("operator"), toleration.get("value") or ""
    if toleration.get("key"):
        check_qualified_name(errors, path / "key", toleration["key"])
    check_choice(errors, path / "operator", operator, _OPERATORS)
    if operator == "Exists" and value:
        errors.append(invalid(path / "value", value, "must be empty for operator `Exists`"))
    elif operator == "Equal":
        check_text(errors, path / "value", value, validate_label_value)
    if toleration.get("effect"):
        check_choice(errors, path / "effect", toleration["effect"], TAINT_EFFECTS)

"""IngressClass: the controller that implements Ingresses of a class, and where its parameters are."""

from __future__ import annotations

import re

from timonel.api import refs
from timonel.api.errors import FieldError
from timonel.api.field_errors import Path, forbidden, invalid, not_supported, required, too_long
from timonel.api.kinds.columns import AGE, NONE, cell_at, plain
from timonel.api.kinds.networking.ingress import check_typed_reference
from timonel.api.kinds.rules import Errors, check_immutable, check_label, check_subdomain
from timonel.api.kinds.storage.cells import name_column
from timonel.api.objects import Object, get_path
from timonel.api.resource import Column, Resource, Strategy

_SPEC = Path("spec")
_PARAMETERS = _SPEC / "parameters"
_DEFAULT_CLASS = "ingressclass.kubernetes.io/is-default-class"
_CONTROLLER_LIMIT = 250
_SCOPES = ("Cluster", "Namespace")
_HTTP_PATH = r"[A-Za-z0-9/\-._~%!$&'()*+,;=:]+"
_http_path_match = re.compile(_HTTP_PATH).fullmatch


class IngressClassStrategy(Strategy):
    def default(self, obj: Object) -> None:
        parameters = get_path(obj, "spec", "parameters")
        if parameters is not None:
            parameters.setdefault("scope", "Cluster")

    def validate_create(self, obj: Object) -> list[FieldError]:
        errors: Errors = []
        spec = obj.get("spec") or {}
        controller = spec.get("controller") or ""
        if len(controller.encode()) > _CONTROLLER_LIMIT:
            errors.append(too_long(_SPEC / "controller", _CONTROLLER_LIMIT))
        check_domain_prefixed_path(errors, _SPEC / "controller", controller)
        if spec.get("parameters") is not None:
            _check_parameters(errors, spec["parameters"])
        return errors

    def validate_update(self, new: Object, old: Object) -> list[FieldError]:
        errors: Errors = []
        controller = get_path(new, "spec", "controller", default="")
        check_immutable(errors, _SPEC / "controller", controller, get_path(old, "spec", "controller", default=""))
        return errors + self.validate_create(new)


def check_domain_prefixed_path(errors: Errors, path: Path, text: str) -> None:
    """A name such as "acme.io/foo"."""
    if not text:
        errors.append(required(path))
        return
    domain, _, rest = text.partition("/")
    if not domain or not rest:
        errors.append(invalid(path, text, 'must be a domain-prefixed path (such as "acme.io/foo")'))
        return
    check_subdomain(errors, path, domain)
    if not _http_path_match(rest):
        errors.append(invalid(path, rest, f"Invalid path (regex used for validation is '{_HTTP_PATH}')"))


def _check_parameters(errors: Errors, parameters: Object) -> None:
    check_typed_reference(errors, _PARAMETERS, parameters)
    scope, namespace = parameters.get("scope"), parameters.get("namespace")
    if scope is None:
        errors.append(required(_PARAMETERS / "scope"))
    elif scope not in _SCOPES:
        errors.append(not_supported(_PARAMETERS / "scope", scope, _SCOPES))
    elif scope == "Cluster" and namespace is not None:
        errors.append(forbidden(_PARAMETERS / "namespace", "`parameters.scope` is set to 'Cluster'"))
    elif scope == "Namespace" and namespace is None:
        errors.append(required(_PARAMETERS / "namespace", "`parameters.scope` is set to 'Namespace'"))
    elif namespace is not None:
        check_label(errors, _PARAMETERS / "namespace", namespace)


def _parameters(ingress_class: Object) -> str:
    parameters = get_path(ingress_class, "spec", "parameters")
    if parameters is None:
        return NONE
    group = parameters.get("apiGroup")
    kind = parameters.get("kind") or ""
    return f"{kind if group is None else f'{kind}.{group}'}/{parameters.get('name') or ''}"


INGRESS_CLASSES = Resource(
    ref=refs.INGRESS_CLASSES,
    definition="io.k8s.api.networking.v1.IngressClass",
    singular="ingressclass",
    strategy=IngressClassStrategy(),
    columns=(
        name_column(_DEFAULT_CLASS),
        Column("Controller", cell_at("spec", "controller"), description="Who implements Ingresses of this class."),
        Column("Parameters", plain(_parameters), description="Where its parameters are."),
        AGE,
    ),
    storage_prefix="/registry/ingressclasses/",
)

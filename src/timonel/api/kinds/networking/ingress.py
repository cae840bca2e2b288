"""Ingress: which requests from outside go to which Services.

Source: kubernetes.io/docs/reference/kubernetes-api/service-resources/ingress-v1
"""

from __future__ import annotations

from timonel.api import refs
from timonel.api.errors import FieldError
from timonel.api.field_errors import Path, invalid, not_supported, required
from timonel.api.kinds.columns import AGE, NAME, NONE, cell_at, plain
from timonel.api.kinds.networking.addresses import address_warnings
from timonel.api.kinds.rules import Errors, check_ip, check_label, check_subdomain, check_text, parse_ip
from timonel.api.kinds.subresources import STATUS
from timonel.api.names import (
    validate_path_segment,
    validate_port_name,
    validate_port_number,
    validate_wildcard_dns1123_subdomain,
)
from timonel.api.objects import Object, annotations_of, get_path
from timonel.api.resource import Column, Resource, Strategy

_SPEC = Path("spec")
_INGRESS = Path("status") / "loadBalancer" / "ingress"
_CLASS = "kubernetes.io/ingress.class"
_PATH_TYPES = ("Exact", "ImplementationSpecific", "Prefix")
_BAD_SEQUENCES = ("//", "/./", "/../", "%2f", "%2F")
_BAD_SUFFIXES = ("/..", "/.")
_NOT_AN_ADDRESS = "must be a DNS name, not an IP address"


class IngressStrategy(Strategy):
    def validate_create(self, obj: Object) -> list[FieldError]:
        errors: Errors = []
        _check_spec(errors, obj.get("spec") or {})
        name, annotation = get_path(obj, "spec", "ingressClassName"), annotations_of(obj).get(_CLASS)
        if annotation is not None and name is not None and annotation != name:
            why = "must match `ingressClassName` when both are specified"
            errors.append(invalid(Path("annotations") / _CLASS, annotation, why))
        return errors

    def validate_update(self, new: Object, old: Object) -> list[FieldError]:
        errors: Errors = []
        _check_spec(errors, new.get("spec") or {})
        return errors

    def validate_status_update(self, new: Object, old: Object) -> list[FieldError]:
        errors: Errors = []
        known = [entry.get("ip") or "" for entry in get_path(old, "status", "loadBalancer", "ingress", default=[])]
        for index, entry in enumerate(get_path(new, "status", "loadBalancer", "ingress", default=[])):
            if entry.get("ip"):
                check_ip(errors, _INGRESS[index] / "ip", entry["ip"], known)
            if entry.get("hostname"):
                check_subdomain(errors, _INGRESS[index] / "hostname", entry["hostname"])
                if parse_ip(entry["hostname"]) is not None:
                    errors.append(invalid(_INGRESS[index] / "hostname", entry["hostname"], _NOT_AN_ADDRESS))
        return errors

    def warnings(self, obj: Object, old: Object | None) -> list[str]:
        if old is None and _CLASS in annotations_of(obj) and get_path(obj, "spec", "ingressClassName") is None:
            return [f"annotation \"{_CLASS}\" is deprecated, please use 'spec.ingressClassName' instead"]
        return []

    def status_warnings(self, obj: Object, old: Object) -> list[str]:
        return [
            warning
            for index, entry in enumerate(get_path(obj, "status", "loadBalancer", "ingress", default=[]))
            for warning in address_warnings(_INGRESS[index], entry.get("ip") or "")
        ]


def _check_spec(errors: Errors, spec: Object) -> None:
    rules, backend = spec.get("rules") or [], spec.get("defaultBackend")
    if not rules and backend is None:
        why = "either `defaultBackend` or `rules` must be specified"
        errors.append(invalid(_SPEC, spec.get("rules"), why))
    if backend is not None:
        _check_backend(errors, _SPEC / "defaultBackend", backend)
    for index, rule in enumerate(rules):
        _check_rule(errors, (_SPEC / "rules")[index], rule)
    for index, tls in enumerate(spec.get("tls") or ()):
        path = (_SPEC / "tls")[index]
        for position, host in enumerate(tls.get("hosts") or ()):
            _check_host(errors, (path / "hosts")[position], host)
        if tls.get("secretName"):
            check_subdomain(errors, path / "secretName", tls["secretName"])
    if spec.get("ingressClassName") is not None:
        check_subdomain(errors, _SPEC / "ingressClassName", spec["ingressClassName"])


def _check_host(errors: Errors, path: Path, host: str) -> None:
    if "*" in host:
        check_text(errors, path, host, validate_wildcard_dns1123_subdomain)
    else:
        check_subdomain(errors, path, host)


def _check_rule(errors: Errors, path: Path, rule: Object) -> None:
    host = rule.get("host")
    if host:
        if parse_ip(host) is not None:
            errors.append(invalid(path / "host", host, _NOT_AN_ADDRESS))
        _check_host(errors, path / "host", host)
    http = rule.get("http")
    if http is None:
        return
    if not http.get("paths"):
        errors.append(required(path / "http" / "paths"))
    for index, item in enumerate(http.get("paths") or ()):
        _check_path(errors, (path / "http" / "paths")[index], item)


def _check_path(errors: Errors, path: Path, item: Object) -> None:
    kind, target = item.get("pathType"), item.get("path") or ""
    if kind is None:
        errors.append(required(path / "pathType", "pathType must be specified"))
        return
    if kind not in _PATH_TYPES:
        errors.append(not_supported(path / "pathType", kind, _PATH_TYPES))
    elif not target.startswith("/") and (target or kind != "ImplementationSpecific"):
        errors.append(invalid(path / "path", target, "must be an absolute path"))
    if kind in ("Exact", "Prefix"):
        for sequence in _BAD_SEQUENCES:
            if sequence in target:
                errors.append(invalid(path / "path", target, f"must not contain '{sequence}'"))
        for suffix in _BAD_SUFFIXES:
            if target.endswith(suffix):
                errors.append(invalid(path / "path", target, f"cannot end with '{suffix}'"))
    _check_backend(errors, path / "backend", item.get("backend") or {})


def _check_backend(errors: Errors, path: Path, backend: Object) -> None:
    resource, service = backend.get("resource"), backend.get("service")
    if resource is not None and service is not None:
        errors.append(invalid(path, "", "cannot set both resource and service backends"))
    elif resource is not None:
        check_typed_reference(errors, path / "resource", resource)
    elif service is None:
        errors.append(invalid(path, "", "resource or service backend is required"))
    else:
        _check_service(errors, path, service)


def _check_service(errors: Errors, path: Path, service: Object) -> None:
    here, name = path / "service", service.get("name")
    if name:
        check_label(errors, here / "name", name)
    else:
        errors.append(required(here / "name"))
    port = service.get("port") or {}
    port_name, number = port.get("name"), port.get("number")
    if port_name and number:
        errors.append(invalid(path, "", "cannot set both port name & port number"))
    elif port_name:
        check_text(errors, here / "port" / "name", port_name, validate_port_name)
    elif number:
        for why in validate_port_number(number):
            errors.append(invalid(here / "port" / "number", number, why))
    else:
        errors.append(required(path, "port name or number is required"))


def check_typed_reference(errors: Errors, path: Path, reference: Object) -> None:
    """apiGroup, kind and name of any object."""
    if reference.get("apiGroup") is not None:
        check_subdomain(errors, path / "apiGroup", reference["apiGroup"])
    for part in ("kind", "name"):
        if reference.get(part):
            check_text(errors, path / part, reference[part], validate_path_segment)
        else:
            errors.append(required(path / part))


_SHOWN_HOSTS = 3


def _hosts(ingress: Object) -> str:
    rules = get_path(ingress, "spec", "rules", default=[])
    hosts = [rule["host"] for rule in rules if rule.get("host")]
    shown = ",".join(hosts[:_SHOWN_HOSTS]) or "*"
    # Rules, not hosts, are counted: one after the third shown host is "more" even without a host of its own.
    third = [index for index, rule in enumerate(rules) if rule.get("host")][_SHOWN_HOSTS - 1 : _SHOWN_HOSTS]
    if third and len(rules) > third[0] + 1:
        return f"{shown} + {len(rules) - _SHOWN_HOSTS} more..."
    return shown


def _addresses(ingress: Object) -> str:
    entries = get_path(ingress, "status", "loadBalancer", "ingress", default=[])
    return ",".join(sorted({text for entry in entries if (text := entry.get("ip") or entry.get("hostname"))}))


INGRESSES = Resource(
    ref=refs.INGRESSES,
    definition="io.k8s.api.networking.v1.Ingress",
    singular="ingress",
    short_names=("ing",),
    subresources=(STATUS,),
    strategy=IngressStrategy(),
    columns=(
        NAME,
        Column("Class", cell_at("spec", "ingressClassName", default=NONE), description="Who implements it."),
        Column("Hosts", plain(_hosts), description="Hosts it is about."),
        Column("Address", plain(_addresses), description="Where it can be reached."),
        Column(
            "Ports",
            plain(lambda ingress: "80, 443" if get_path(ingress, "spec", "tls") else "80"),
            description="Ports that it opens.",
        ),
        AGE,
    ),
    storage_prefix="/registry/ingress/",
    has_status=True,
)

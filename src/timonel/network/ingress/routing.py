"""Who answers what: every Ingress that is ours, as one table of hosts and paths. Pure.

An exact path goes before a prefix, a longer prefix before a shorter one; a host goes before a wildcard, and that
before no host at all. What a host's rules do not match goes to the default backend. Of two Ingresses that want the
same, the older has it.
Source: kubernetes.io/docs/concepts/services-networking/ingress
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from timonel.api.objects import Object, ObjectKey, annotations_of, find_by, get_path, key_of, name_of

CONTROLLER = "timonel.dev/ingress"
"""spec.controller of the classes that are ours."""
CLASS_ANNOTATION = "kubernetes.io/ingress.class"
_PATH = re.compile(r"/[A-Za-z0-9\-._~!$&'()*+,;=:@%/]*")
"""RFC 3986's path: whatever else a client may write into one does not reach the configuration."""
_HOST = re.compile(r"(\*\.)?[a-z0-9]([a-z0-9.-]*[a-z0-9])?")


@dataclass(frozen=True, slots=True, order=True)
class Backend:
    namespace: str
    service: str
    port: int
    address: str = ""
    """The Service's own; "": it has none, and is answered with 503."""


@dataclass(frozen=True, slots=True, order=True)
class Route:
    host: str
    """"" for every host, "*.example.org" for those one label below."""
    path: str
    is_exact: bool
    backend: Backend


@dataclass(frozen=True, slots=True, order=True)
class Certificate:
    hosts: tuple[str, ...]
    secret: ObjectKey


@dataclass(frozen=True, slots=True)
class Routing:
    routes: tuple[Route, ...] = ()
    default: Backend | None = None
    certificates: tuple[Certificate, ...] = ()
    served: tuple[ObjectKey, ...] = ()
    problems: Mapping[ObjectKey, tuple[str, ...]] = field(default_factory=dict)
    """What of an Ingress is not as it wants, for its events."""


def is_ours(ingress: Object, classes: Mapping[str, Object]) -> bool:
    name = get_path(ingress, "spec", "ingressClassName") or annotations_of(ingress).get(CLASS_ANNOTATION)
    found = classes.get(name or "")
    return found is not None and get_path(found, "spec", "controller") == CONTROLLER


def plan_routing(
    ingresses: Iterable[Object],
    classes: Iterable[Object],
    services: Mapping[ObjectKey, Object],
    secrets: Iterable[ObjectKey],
) -> Routing:
    """`secrets`: keys of those that hold a certificate that can be used."""
    by_name = {name_of(item): item for item in classes}
    known_secrets = set(secrets)
    ours = sorted(
        (item for item in ingresses if is_ours(item, by_name)),
        key=lambda item: (item["metadata"].get("creationTimestamp") or "", key_of(item)),
    )
    routes: dict[tuple[str, str, bool], Route] = {}
    default: Backend | None = None
    certificates: dict[ObjectKey, set[str]] = {}
    problems: dict[ObjectKey, list[str]] = {}
    for ingress in ours:
        key, spec = key_of(ingress), ingress.get("spec") or {}
        told = problems.setdefault(key, [])
        if spec.get("defaultBackend"):
            backend = _backend(key.namespace, spec["defaultBackend"], services, told)
            if default is None:
                default = backend
            elif backend != default:
                told.append("the default backend is another Ingress's, which is older")
        for rule in spec.get("rules") or []:
            host = (rule.get("host") or "").lower()
            if host and not _HOST.fullmatch(host):
                told.append(f"host {host!r} cannot be served")
                continue
            for path in get_path(rule, "http", "paths", default=None) or []:
                text, is_exact = path.get("path") or "/", path.get("pathType") == "Exact"
                if not _PATH.fullmatch(text):
                    told.append(f"path {text!r} cannot be served: it is no path of a URL")
                    continue
                text = text if is_exact else text.rstrip("/") + "/"
                made = Route(host, text, is_exact, _backend(key.namespace, path["backend"], services, told))
                if routes.setdefault((host, text, is_exact), made) != made:
                    told.append(
                        f"{host or 'every host'} {path.get('path') or '/'} is another Ingress's, which is older"
                    )
        for entry in spec.get("tls") or []:
            secret = ObjectKey(key.namespace, entry.get("secretName") or "")
            if not secret.name:
                continue
            if secret not in known_secrets:
                told.append(f"Secret {secret.name} is not there, or holds no certificate and key")
                continue
            hosts = certificates.setdefault(secret, set())
            hosts |= {host.lower() for host in entry.get("hosts") or [] if _HOST.fullmatch(host.lower())}
    return Routing(
        tuple(sorted(routes.values())),
        default,
        tuple(sorted(Certificate(tuple(sorted(hosts)), secret) for secret, hosts in certificates.items())),
        tuple(key_of(item) for item in ours),
        {key: tuple(dict.fromkeys(texts)) for key, texts in problems.items() if texts},
    )


def _backend(namespace: str, backend: Object, services: Mapping[ObjectKey, Object], told: list[str]) -> Backend:
    """Without an address where there is nobody to ask."""
    wanted = backend.get("service")
    if not wanted:
        told.append("backends that are no Services are not served")
        return Backend(namespace, "-", 0)
    name, port = wanted["name"], wanted.get("port") or {}
    service = services.get(ObjectKey(namespace, name))
    spec = (service or {}).get("spec") or {}
    ports = spec.get("ports") or []
    if port.get("name"):
        found = find_by(ports, "name", port["name"])
    else:
        found = find_by(ports, "port", port.get("number"))
    if service is None or found is None:
        told.append(f"Service {name} is not there" if service is None else f"Service {name} has no such port")
        return Backend(namespace, name, port.get("number") or 0)
    address = spec.get("clusterIP") or ""
    if address in ("", "None"):
        told.append(f"Service {name} has no address of its own")
        address = ""
    return Backend(namespace, name, found["port"], address)

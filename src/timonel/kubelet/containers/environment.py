"""The environment of a container. Pure: objects it refers to come from a lookup.

Source: kubernetes.io/docs/tasks/inject-data-application; services: kubernetes.io/docs/concepts/services-networking/
service, "Environment variables".
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from timonel.api.objects import Object, name_of, namespace_of
from timonel.kubelet.containers.downward import pod_field, resource_field
from timonel.kubelet.containers.expansion import expand

LookupObject = Callable[[str, str], Object | None]
"""("configmap" | "secret", name) in the pod's namespace -> object, or None when there is none."""


class ConfigError(Exception):
    """The container cannot be configured: CreateContainerConfigError, tried again later."""


@dataclass(frozen=True, slots=True)
class EnvironmentSource:
    lookup: LookupObject
    pod_ips: tuple[str, ...]
    host_ips: tuple[str, ...]
    allocatable: Object
    services: Mapping[str, str]


def service_variables(services: Iterable[Object]) -> dict[str, str]:
    """`WEB_SERVICE_HOST` and its companions for every service that has a cluster IP."""
    variables: dict[str, str] = {}
    for service in services:
        spec = service.get("spec") or {}
        address = spec.get("clusterIP")
        ports = spec.get("ports") or []
        if not address or address == "None" or not ports:
            continue
        prefix = name_of(service).upper().replace("-", "_")
        host = f"[{address}]" if ":" in address else address
        variables[f"{prefix}_SERVICE_HOST"] = address
        variables[f"{prefix}_SERVICE_PORT"] = str(ports[0]["port"])
        for port in ports:
            if port.get("name"):
                variables[f"{prefix}_SERVICE_PORT_{port['name'].upper().replace('-', '_')}"] = str(port["port"])
        for index, port in enumerate(ports):
            protocol = port.get("protocol") or "TCP"
            url = f"{protocol.lower()}://{host}:{port['port']}"
            if index == 0:
                variables[f"{prefix}_PORT"] = url
            name = f"{prefix}_PORT_{port['port']}_{protocol}"
            variables[name] = url
            variables[f"{name}_PROTO"] = protocol.lower()
            variables[f"{name}_PORT"] = str(port["port"])
            variables[f"{name}_ADDR"] = address
    return variables


def visible_services(services: Iterable[Object], namespace: str, service_links: bool) -> list[Object]:
    """Those of the pod's namespace, unless it does not want them, and always the API's own service."""
    chosen: dict[str, Object] = {}
    for service in services:
        home = namespace_of(service)
        if home == "default" and name_of(service) == "kubernetes":
            chosen.setdefault("kubernetes", service)
        elif home == namespace and service_links:
            chosen[name_of(service)] = service
    return list(chosen.values())


def make_environment(pod: Object, container: Object, source: EnvironmentSource) -> dict[str, str]:
    """Name -> value, in the order CRI gets them. Raises ConfigError."""
    result: dict[str, str] = {}
    for entry in container.get("envFrom") or ():
        result |= _all_of(pod, entry, source.lookup)

    def known(name: str) -> str | None:
        value = result.get(name)
        return source.services.get(name) if value is None else value

    for variable in container.get("env") or ():
        if variable.get("valueFrom"):
            value = _referenced(pod, container, variable["valueFrom"], source)
            if value is None:
                continue
        else:
            value = expand(variable.get("value") or "", known)
        result[variable["name"]] = value
    for name, value in source.services.items():
        result.setdefault(name, value)
    return result


def _all_of(pod: Object, entry: Object, lookup: LookupObject) -> dict[str, str]:
    prefix = entry.get("prefix") or ""
    if "configMapRef" in entry:
        reference, kind = entry["configMapRef"], "configmap"
    elif "secretRef" in entry:
        reference, kind = entry["secretRef"], "secret"
    else:
        return {}
    found = lookup(kind, reference.get("name", ""))
    if found is None:
        if reference.get("optional"):
            return {}
        raise ConfigError(f'{kind} "{reference.get("name", "")}" not found')
    values = found.get("data") or {}
    if kind == "secret":
        values = {key: decode_secret(value) for key, value in values.items()}
    return {prefix + key: values[key] for key in sorted(values) if "=" not in prefix + key}


def decode_secret(value: str) -> str:
    return base64.b64decode(value).decode(errors="surrogateescape")


def _referenced(pod: Object, container: Object, value_from: Object, source: EnvironmentSource) -> str | None:
    try:
        if value_from.get("fieldRef"):
            return pod_field(pod, value_from["fieldRef"]["fieldPath"], source.pod_ips, source.host_ips)
        if value_from.get("resourceFieldRef"):
            return resource_field(pod, value_from["resourceFieldRef"], container, source.allocatable)
    except ValueError as exc:
        raise ConfigError(str(exc)) from exc
    if value_from.get("configMapKeyRef"):
        return _one_of(pod, "configmap", "ConfigMap", value_from["configMapKeyRef"], source.lookup)
    if value_from.get("secretKeyRef"):
        value = _one_of(pod, "secret", "Secret", value_from["secretKeyRef"], source.lookup)
        return None if value is None else decode_secret(value)
    raise ConfigError(f"environment source {', '.join(value_from)} is not built")


def _one_of(pod: Object, kind: str, shown: str, reference: Object, lookup: LookupObject) -> str | None:
    found = lookup(kind, reference.get("name", ""))
    if found is None:
        if reference.get("optional"):
            return None
        raise ConfigError(f'{kind} "{reference.get("name", "")}" not found')
    value: str | None = (found.get("data") or {}).get(reference["key"])
    if value is None and not reference.get("optional"):
        where = f"{namespace_of(pod)}/{reference.get('name', '')}"
        raise ConfigError(f"couldn't find key {reference['key']} in {shown} {where}")
    return value


def referenced_objects(container: Object) -> set[tuple[str, str]]:
    """Every ("configmap" | "secret", name) that the container's environment reads."""
    found: set[tuple[str, str]] = set()
    for entry in container.get("envFrom") or ():
        for field, kind in (("configMapRef", "configmap"), ("secretRef", "secret")):
            if entry.get(field):
                found.add((kind, entry[field].get("name", "")))
    for variable in container.get("env") or ():
        source = variable.get("valueFrom") or {}
        for field, kind in (("configMapKeyRef", "configmap"), ("secretKeyRef", "secret")):
            if source.get(field):
                found.add((kind, source[field].get("name", "")))
    return found

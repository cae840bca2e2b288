"""What is allowed in a pod but rarely meant: the texts of `Warning` headers."""

from __future__ import annotations

from collections.abc import Mapping

import orjson

from timonel.api.field_errors import Path, quote
from timonel.api.kinds.pod.known_specs import known_specs
from timonel.api.kinds.pod.path_overlaps import overlap_warnings
from timonel.api.kinds.pod.security import each_container
from timonel.api.kinds.resource_lists import quantity_of
from timonel.api.kinds.rules import ip_warnings
from timonel.api.names import validate_label_value
from timonel.api.objects import Object

_GONE = "deprecated in {}, non-functional in {}+"
_VOLUMES = {
    "photonPersistentDisk": ("photonPersistentDisk", _GONE.format("v1.11", "v1.16")),
    "gitRepo": ("gitRepo", "deprecated in v1.11, and disabled by default in v1.33+"),
    "scaleIO": ("scaleIO", _GONE.format("v1.16", "v1.22")),
    "flocker": ("flocker", _GONE.format("v1.22", "v1.25")),
    "storageos": ("storageOS", _GONE.format("v1.22", "v1.25")),
    "quobyte": ("quobyte", _GONE.format("v1.22", "v1.25")),
    "glusterfs": ("glusterfs", _GONE.format("v1.25", "v1.26")),
    "cephfs": ("cephfs", _GONE.format("v1.28", "v1.31")),
    "rbd": ("rbd", _GONE.format("v1.28", "v1.31")),
}
_ANNOTATIONS = {
    "scheduler.alpha.kubernetes.io/critical-pod": 'non-functional in v1.16+; use the "priorityClassName" field instead',
    "security.alpha.kubernetes.io/sysctls": 'non-functional in v1.11+; use the "sysctls" field instead',
    "security.alpha.kubernetes.io/unsafe-sysctls": 'non-functional in v1.11+; use the "sysctls" field instead',
}
DEPRECATED_LABELS = {
    "beta.kubernetes.io/arch": 'deprecated since v1.14; use "kubernetes.io/arch" instead',
    "beta.kubernetes.io/os": 'deprecated since v1.14; use "kubernetes.io/os" instead',
    "failure-domain.beta.kubernetes.io/region": 'deprecated since v1.17; use "topology.kubernetes.io/region" instead',
    "failure-domain.beta.kubernetes.io/zone": 'deprecated since v1.17; use "topology.kubernetes.io/zone" instead',
    "beta.kubernetes.io/instance-type": 'deprecated since v1.17; use "node.kubernetes.io/instance-type" instead',
    "app.kubernetes.io/created-by": "deprecated since v1.9",
    "scheduler.alpha.kubernetes.io/preferAvoidPods": "deprecated since v1.22; use Taints and Tolerations instead",
    "node-role.kubernetes.io/master": 'use "node-role.kubernetes.io/control-plane" instead',
}
"""Of nodes, in selectors of any kind."""
_SECCOMP_FIELD = 'non-functional in v1.27+; use the "seccompProfile" field instead'
_SECCOMP_POD = "seccomp.security.alpha.kubernetes.io/pod"
_SECCOMP_CONTAINER = "container.seccomp.security.alpha.kubernetes.io/"
_NO_SELECTOR = "a null labelSelector results in matching no pod"
_REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
_PREFERRED = "preferredDuringSchedulingIgnoredDuringExecution"


def pod_warnings(path: Path, metadata: Object, spec: Object) -> list[str]:
    """`path` is the root of the pod or of the template ("spec.template")."""
    annotations = metadata.get("annotations") or {}
    known = known_specs()
    key = known.key(spec, b"warnings", orjson.dumps(annotations))
    if known.is_good(key):
        return []
    found = _find_warnings(path, annotations, spec)
    if not found:
        known.learn(key)
    return found


def _find_warnings(path: Path, annotations: Mapping[str, str], spec: Object) -> list[str]:
    found: list[str] = []
    _warn_of_labels(found, path / "spec", spec)
    for key, why in _ANNOTATIONS.items():
        if key in annotations:
            found.append(f"{(path / 'metadata' / 'annotations')[key]}: {why}")
    for index, volume in enumerate(spec.get("volumes") or ()):
        for kind, (called, why) in _VOLUMES.items():
            if volume.get(kind) is not None:
                found.append(f"{(path / 'spec' / 'volumes')[index] / called}: {why}")
        claim = (volume.get("ephemeral") or {}).get("volumeClaimTemplate")
        if claim is not None:
            here = (path / "spec" / "volumes")[index] / "ephemeral" / "volumeClaimTemplate" / "spec"
            found += claim_warnings(here, claim.get("spec") or {})
    found += overlap_warnings(spec.get("volumes") or ())
    _warn_of_repeats(found, path / "spec", spec)
    _warn_of_fraction(found, path / "spec" / "overhead", spec.get("overhead") or {})
    if (spec.get("securityContext") or {}).get("seccompProfile") is None and _SECCOMP_POD in annotations:
        found.append(f"{(path / 'metadata' / 'annotations')[_SECCOMP_POD]}: {_SECCOMP_FIELD}")
    for container, here in each_container(spec, path / "spec"):
        key = _SECCOMP_CONTAINER + (container.get("name") or "")
        if annotations and key in annotations and not (container.get("securityContext") or {}).get("seccompProfile"):
            found.append(f"{(path / 'metadata' / 'annotations')[key]}: {_SECCOMP_FIELD}")
        _warn_of_fractions(found, here, container)
        if len(container.get("env") or ()) > 1:
            _warn_of_hidden_env(found, here / "env", container["env"])
    _warn_of_ports(found, path / "spec", spec)
    period = spec.get("terminationGracePeriodSeconds")
    if period is not None and period < 0:
        why = "must be >= 0; negative values are invalid and will be treated as 1"
        found.append(f"{path / 'spec' / 'terminationGracePeriodSeconds'}: {why}")
    _warn_of_selectors(found, path / "spec", spec)
    for index, server in enumerate((spec.get("dnsConfig") or {}).get("nameservers") or ()):
        found += ip_warnings((path / "spec" / "dnsConfig" / "nameservers")[index], server)
    for index, alias in enumerate(spec.get("hostAliases") or ()):
        found += ip_warnings((path / "spec" / "hostAliases")[index] / "ip", alias.get("ip") or "")
    return found


def _warn_of_labels(found: list[str], path: Path, spec: Object) -> None:
    for key in spec.get("nodeSelector") or ():
        if key in DEPRECATED_LABELS:
            found.append(f"{(path / 'nodeSelector')[key]}: {DEPRECATED_LABELS[key]}")
    node = (spec.get("affinity") or {}).get("nodeAffinity") or {}
    terms = [
        ((path / "affinity" / "nodeAffinity" / _REQUIRED / "nodeSelectorTerms")[index], term, False)
        for index, term in enumerate((node.get(_REQUIRED) or {}).get("nodeSelectorTerms") or ())
    ] + [
        ((path / "affinity" / "nodeAffinity" / _PREFERRED)[index] / "preference", term.get("preference") or {}, True)
        for index, term in enumerate(node.get(_PREFERRED) or ())
    ]
    for here, term, preferred in terms:
        for index, expression in enumerate(term.get("matchExpressions") or ()):
            key, where = expression.get("key"), (here / "matchExpressions")[index]
            if key in DEPRECATED_LABELS:
                found.append(f"{where / 'key'}: {key} is {DEPRECATED_LABELS[key]}")
            if preferred:
                for position, value in enumerate(expression.get("values") or ()):
                    found += [
                        f"{(where / 'values')[position]}: {value} is invalid, {why}"
                        for why in validate_label_value(value)
                    ]


def _warn_of_selectors(found: list[str], path: Path, spec: Object) -> None:
    for index, constraint in enumerate(spec.get("topologySpreadConstraints") or ()):
        here, key = (path / "topologySpreadConstraints")[index], constraint.get("topologyKey")
        if key in DEPRECATED_LABELS:
            found.append(f"{here / 'topologyKey'}: {key} is {DEPRECATED_LABELS[key]}")
        if constraint.get("labelSelector") is None:
            found.append(f"{here / 'labelSelector'}: {_NO_SELECTOR}")
    for kind in ("podAffinity", "podAntiAffinity"):
        terms = (spec.get("affinity") or {}).get(kind) or {}
        for index, term in enumerate(terms.get(_REQUIRED) or ()):
            if term.get("labelSelector") is None:
                found.append(f"{(path / 'affinity' / kind / _REQUIRED)[index] / 'labelSelector'}: {_NO_SELECTOR}")
        for index, weighted in enumerate(terms.get(_PREFERRED) or ()):
            if (weighted.get("podAffinityTerm") or {}).get("labelSelector") is None:
                here = (path / "affinity" / kind / _PREFERRED)[index] / "podAffinityTerm"
                found.append(f"{here / 'labelSelector'}: {_NO_SELECTOR}")


def _warn_of_repeats(found: list[str], path: Path, spec: Object) -> None:
    for field, key in (("hostAliases", "ip"), ("imagePullSecrets", "name")):
        seen: set[str] = set()
        for index, item in enumerate(spec.get(field) or ()):
            value = item.get(key) or ""
            if value in seen:
                found.append(f"{(path / field)[index] / key}: duplicate {key} {quote(value)}")
            seen.add(value)
    for index, item in enumerate(spec.get("imagePullSecrets") or ()):
        if not item.get("name"):
            found.append(f'{(path / "imagePullSecrets")[index] / "name"}: invalid empty name ""')


def _warn_of_fractions(found: list[str], path: Path, container: Object) -> None:
    for kind in ("limits", "requests"):
        amounts = (container.get("resources") or {}).get(kind)
        if amounts:
            _warn_of_fraction(found, path / "resources" / kind, amounts)


def _warn_of_fraction(
    found: list[str], path: Path, amounts: Object, names: tuple[str, ...] = ("memory", "ephemeral-storage")
) -> None:
    for name in names:
        amount = amounts.get(name)
        value = quantity_of(amount) if amount is not None else None
        if value is not None and value != value.to_integral_value():
            found.append(f"{path[name]}: fractional byte value {quote(str(amount))} is invalid, must be an integer")


def claim_warnings(path: Path, claim_spec: Object) -> list[str]:
    """Of what a PersistentVolumeClaim asks for; `path` is its spec."""
    found: list[str] = []
    resources = claim_spec.get("resources") or {}
    for kind in ("requests", "limits"):
        _warn_of_fraction(found, path / "resources" / kind, resources.get(kind) or {}, ("storage",))
    return found


def _warn_of_hidden_env(found: list[str], path: Path, variables: list[Object]) -> None:
    seen: set[str] = set()
    for index, variable in enumerate(variables):
        name, value = variable.get("name") or "", variable.get("value") or ""
        if name in seen:
            itself = f"$({name})"
            if variable.get("valueFrom") is not None or value == itself or itself not in value:
                why = f"hides previous definition of {quote(name)}, which may be dropped when using apply"
                found.append(f"{path[index]}: {why}")
        seen.add(name)


def _shown_port(port: Object) -> str:
    """As upstream prints it."""
    return (
        f"{{Name:{port.get('name') or ''} HostPort:{port.get('hostPort') or 0} ContainerPort:"
        f"{port.get('containerPort') or 0} Protocol:{port.get('protocol') or ''} HostIP:{port.get('hostIP') or ''}}}"
    )


def _warn_of_ports(found: list[str], path: Path, spec: Object) -> None:
    numbers: dict[tuple[int, str], list[tuple[Path, Object]]] = {}
    names: dict[str, Path] = {}
    repeated_names: list[str] = []
    for container, container_path in each_container(spec, path):
        for index, port in enumerate(container.get("ports") or ()):
            here = (container_path / "ports")[index]
            host_ip, host_port = port.get("hostIP") or "", port.get("hostPort") or 0
            if host_ip and not host_port:
                found.append(f"{here}: hostIP set without hostPort: {_shown_port(port)}")
            others = numbers.setdefault((port.get("containerPort") or 0, port.get("protocol") or ""), [])
            for other_path, other in others:
                other_ip, other_port = other.get("hostIP") or "", other.get("hostPort") or 0
                if (host_ip, host_port) == (other_ip, other_port):
                    found.append(f"{here}: duplicate port definition with {other_path}")
                elif not host_port or not other_port:
                    found.append(f"{here}: overlapping port definition with {other_path}")
                elif host_port == other_port and bool(host_ip) != bool(other_ip):
                    found.append(f"{here}: dangerously ambiguous port definition with {other_path}")
            others.append((here, port))
            name = port.get("name")
            if name and name in names:
                why = f"services and probes that select ports by name will use {names[name]}"
                repeated_names.append(f"{here}: duplicate port name {quote(name)} with {names[name]}, {why}")
            elif name:
                names[name] = here
    found += repeated_names

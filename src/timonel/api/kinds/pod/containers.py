"""Containers, init containers and sidecars: what they have in common and what each kind may not have."""

from __future__ import annotations

from dataclasses import dataclass

from timonel.api.field_errors import Path, duplicate, forbidden, invalid, not_found, not_supported, required, too_many
from timonel.api.kinds.pod.env import check_env, check_env_from
from timonel.api.kinds.pod.mounts import check_mounts
from timonel.api.kinds.pod.probes import check_lifecycle, check_probes
from timonel.api.kinds.pod.resources import check_container_resources
from timonel.api.kinds.pod.security import check_container_security
from timonel.api.kinds.rules import PROTOCOLS, Errors, check_choice, check_port, check_required_label, check_text
from timonel.api.names import validate_port_name
from timonel.api.objects import Object

_MESSAGE_POLICIES = ("File", "FallbackToLogsOnError")
_PULL_POLICIES = ("Always", "IfNotPresent", "Never")
_RESTART_POLICIES = ("Always", "Never", "OnFailure")
_RULE_ACTIONS = ("Restart", "RestartAllContainers")
_INIT_FORBIDDEN = ("lifecycle", "livenessProbe", "readinessProbe", "startupProbe")
_EPHEMERAL_FORBIDDEN = (
    "ports", "resources", "resizePolicy", "restartPolicy", "restartPolicyRules", "livenessProbe", "readinessProbe",
    "startupProbe", "lifecycle",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class PodFacts:
    """What checks of containers need to know of their pod."""

    volumes: dict[str, Object]
    claims: frozenset[str]
    grace_period: int | None
    restart_policy: str
    host_users: bool
    system: str | None
    """spec.os.name"""


def check_containers(errors: Errors, path: Path, containers: list[Object], facts: PodFacts) -> None:
    if not containers:
        errors.append(required(path))
        return
    names: set[str] = set()
    for index, container in enumerate(containers):
        here = path[index]
        _check_common(errors, here, container, facts)
        name = container.get("name") or ""
        if name in names:
            errors.append(duplicate(here / "name", name))
        names.add(name)
        if container.get("lifecycle") is not None:
            check_lifecycle(errors, here / "lifecycle", container["lifecycle"], facts.grace_period, facts.system)
        check_probes(errors, here, container, facts.grace_period)
        _check_restart_policy(errors, here, container)
    _check_host_ports(errors, path, containers)


def check_init_containers(
    errors: Errors, path: Path, containers: list[Object], regular: list[Object], facts: PodFacts
) -> None:
    names = {container.get("name") for container in regular}
    for index, container in enumerate(containers):
        here = path[index]
        _check_common(errors, here, container, facts)
        _check_restart_policy(errors, here, container, init=True)
        name = container.get("name") or ""
        if name in names:
            errors.append(duplicate(here / "name", name))
        elif name:
            names.add(name)
        # Init containers run one after another, so only their own ports can collide.
        _check_host_ports(errors, path, [container])
        if container.get("restartPolicy") == "Always":
            check_lifecycle(errors, here / "lifecycle", container.get("lifecycle"), facts.grace_period, facts.system)
            check_probes(errors, here, container, facts.grace_period)
            continue
        for field in _INIT_FORBIDDEN:
            if container.get(field) is not None:
                why = "may not be set for init containers without restartPolicy=Always"
                errors.append(forbidden(here / field, why))
        for position, policy in enumerate(container.get("resizePolicy") or ()):
            if policy.get("restartPolicy") == "RestartContainer":
                why = "must not be set to 'RestartContainer' for non-sidecar initContainers"
                errors.append(invalid((here / "resizePolicy")[position] / "restartPolicy", "RestartContainer", why))


def check_ephemeral_containers(
    errors: Errors, path: Path, containers: list[Object], others: list[Object], facts: PodFacts
) -> None:
    fixed = {container.get("name") for container in others}
    names = set(fixed)
    for index, container in enumerate(containers):
        here = path[index]
        _check_common(errors, here, container, facts)
        check_image_padding(errors, here, container)
        name = container.get("name") or ""
        if name in names:
            errors.append(duplicate(here / "name", name))
        names.add(name)
        target = container.get("targetContainerName")
        if target and target not in fixed:
            errors.append(not_found(here / "targetContainerName", target))
        for field in _EPHEMERAL_FORBIDDEN:
            if container.get(field):
                errors.append(forbidden(here / field, "cannot be set for an Ephemeral Container"))
        for position, mount in enumerate(container.get("volumeMounts") or ()):
            for field in ("subPath", "subPathExpr"):
                if mount.get(field):
                    where = (here / "volumeMounts")[position] / field
                    errors.append(forbidden(where, "cannot be set for an Ephemeral Container"))


def check_image_padding(errors: Errors, path: Path, container: Object) -> None:
    """For pods alone: a template may hold " " until something fills in the image."""
    image = container.get("image") or ""
    if image != image.strip():
        errors.append(invalid(path / "image", image, "must not have leading or trailing whitespace"))


def _check_common(errors: Errors, path: Path, container: Object, facts: PodFacts) -> None:
    check_required_label(errors, path / "name", container.get("name") or "")
    if not container.get("image"):
        errors.append(required(path / "image"))
    policy = container.get("terminationMessagePolicy")
    if policy not in _MESSAGE_POLICIES:
        check_choice(errors, path / "terminationMessagePolicy", policy, _MESSAGE_POLICIES)
    if container.get("ports"):
        _check_ports(errors, path / "ports", container["ports"])
    if container.get("env"):
        check_env(errors, path / "env", container["env"])
    if container.get("envFrom"):
        check_env_from(errors, path / "envFrom", container["envFrom"])
    check_mounts(errors, path, container, facts.volumes)
    policy = container.get("imagePullPolicy")
    if policy not in _PULL_POLICIES:
        check_choice(errors, path / "imagePullPolicy", policy, _PULL_POLICIES)
    check_container_resources(errors, path / "resources", container.get("resources"), facts.claims)
    if container.get("resizePolicy"):
        _check_resize_policy(errors, path / "resizePolicy", container["resizePolicy"], facts.restart_policy)
    check_container_security(
        errors, path / "securityContext", container.get("securityContext"), host_users=facts.host_users
    )


def _check_ports(errors: Errors, path: Path, ports: list[Object]) -> None:
    names: set[str] = set()
    for index, port in enumerate(ports):
        name = port.get("name")
        if name:
            before = len(errors)
            check_text(errors, path[index] / "name", name, validate_port_name)
            if len(errors) == before:
                if name in names:
                    errors.append(duplicate(path[index] / "name", name))
                names.add(name)
        if not port.get("containerPort"):
            errors.append(required(path[index] / "containerPort"))
        else:
            check_port(errors, path[index] / "containerPort", port["containerPort"])
        if port.get("hostPort"):
            check_port(errors, path[index] / "hostPort", port["hostPort"])
        if port.get("protocol") not in PROTOCOLS:
            check_choice(errors, path[index] / "protocol", port.get("protocol"), PROTOCOLS)


def _check_host_ports(errors: Errors, path: Path, containers: list[Object]) -> None:
    seen: set[str] = set()
    for index, container in enumerate(containers):
        for position, port in enumerate(container.get("ports") or ()):
            number = port.get("hostPort")
            if not number:
                continue
            key = f"{port.get('protocol') or ''}/{port.get('hostIP') or ''}/{number}"
            if key in seen:
                errors.append(duplicate((path[index] / "ports")[position] / "hostPort", key))
            seen.add(key)


def _check_resize_policy(errors: Errors, path: Path, policies: list[Object], pod_restart_policy: str) -> None:
    seen: set[str] = set()
    for index, policy in enumerate(policies):
        name, restart = policy.get("resourceName") or "", policy.get("restartPolicy") or ""
        if name in seen:
            errors.append(duplicate(path[index], name))
        seen.add(name)
        check_choice(errors, path, name, ("cpu", "memory"))
        check_choice(errors, path, restart, ("NotRequired", "RestartContainer"))
        if pod_restart_policy == "Never" and restart != "NotRequired":
            errors.append(invalid(path, restart, "must be 'NotRequired' when pod `restartPolicy` is 'Never'"))


def _check_restart_policy(errors: Errors, path: Path, container: Object, *, init: bool = False) -> None:
    policy, rules = container.get("restartPolicy"), container.get("restartPolicyRules") or []
    if policy is None:
        if rules:
            why = "must specify restartPolicy when restart rules are used"
            errors.append(required(path / "restartPolicy", why))
        if init:
            return
    elif policy not in _RESTART_POLICIES:
        errors.append(not_supported(path / "restartPolicy", policy, _RESTART_POLICIES))
    if len(rules) > 20:
        errors.append(too_many(path / "restartPolicyRules", len(rules), 20))
    for index, rule in enumerate(rules):
        here = (path / "restartPolicyRules")[index]
        if rule.get("action") not in _RULE_ACTIONS:
            errors.append(not_supported(here / "action", rule.get("action") or "", _RULE_ACTIONS))
        codes = rule.get("exitCodes")
        if codes is None:
            errors.append(required(here / "exitCodes", "must be specified"))
            continue
        if codes.get("operator") not in ("In", "NotIn"):
            where = here / "exitCodes" / "operator"
            errors.append(not_supported(where, codes.get("operator") or "", ("In", "NotIn")))
        values = codes.get("values") or []
        if len(values) > 255:
            errors.append(too_many(here / "exitCodes" / "values", len(values), 255))

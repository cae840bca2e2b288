"""Node: what a kubelet reports of its host, and where the scheduler may place pods."""

from __future__ import annotations

from timonel.api import refs
from timonel.api.errors import FieldError
from timonel.api.field_errors import Path, duplicate, forbidden, go_struct, invalid
from timonel.api.kinds.columns import AGE, NAME, NONE, UNKNOWN, cell_at, joined, plain
from timonel.api.kinds.fields import flag_at
from timonel.api.kinds.pod.resources import check_quantity, is_counted
from timonel.api.kinds.pod.scheduling import TAINT_EFFECTS
from timonel.api.kinds.resource_lists import canonical_resource_list, quantity_of
from timonel.api.kinds.rules import Errors, check_choice, check_cidr, check_qualified_name, is_dual_stack
from timonel.api.kinds.subresources import PROXY_VERBS, STATUS
from timonel.api.names import validate_label_value
from timonel.api.objects import Object, find_by, get_path, labels_of
from timonel.api.resource import Column, Resource, Strategy, Subresource

ROLE_PREFIX = "node-role.kubernetes.io/"
ROLE_LABEL = "kubernetes.io/role"


NODE_INFO = (
    "machineID", "systemUUID", "bootID", "kernelVersion", "osImage", "containerRuntimeVersion", "kubeletVersion",
    "kubeProxyVersion", "operatingSystem", "architecture",
)  # fmt: skip
_SPEC = Path("spec")
_STATUS = Path("status")
# Upstream reports taints below metadata.
_TAINTS = Path("metadata") / "taints"
_CIDRS = _SPEC / "podCIDRs"


class NodeStrategy(Strategy):
    tracks_generation = False
    status_on_create = True  # a kubelet registers with what it knows of its host
    shares_parts = True

    def default(self, obj: Object) -> None:
        spec = obj.setdefault("spec", {})
        single, plural = spec.get("podCIDR"), spec.get("podCIDRs")
        if single and (not plural or plural[0] != single):
            spec["podCIDRs"] = [single]
        elif plural and not single:
            spec["podCIDR"] = plural[0]
        self.default_status(obj)

    def default_status(self, obj: Object) -> None:
        status = obj.setdefault("status", {})
        for name in ("capacity", "allocatable"):
            if status.get(name):
                canonical_resource_list(status[name])
        if status.get("allocatable") is None and status.get("capacity") is not None:
            status["allocatable"] = dict(status["capacity"])
        endpoints = status.setdefault("daemonEndpoints", {})
        endpoints.setdefault("kubeletEndpoint", {}).setdefault("Port", 0)
        info = status.setdefault("nodeInfo", {})
        for name in NODE_INFO:
            info.setdefault(name, "")

    def prepare_create(self, obj: Object) -> None:
        obj["spec"].pop("configSource", None)
        obj["status"].pop("config", None)

    def prepare_update(self, new: Object, old: Object) -> None:
        if get_path(old, "spec", "configSource") is None:
            new.get("spec", {}).pop("configSource", None)

    def prepare_status_update(self, new: Object, old: Object) -> None:
        if get_path(old, "status", "config") is None:
            new.get("status", {}).pop("config", None)

    def validate_create(self, obj: Object) -> list[FieldError]:
        errors: Errors = []
        spec = obj.get("spec") or {}
        check_taints(errors, _TAINTS, spec.get("taints") or [])
        _check_resources(errors, obj.get("status") or {})
        cidrs = spec.get("podCIDRs") or []
        for index, cidr in enumerate(cidrs):
            check_cidr(errors, _CIDRS[index], cidr)
        if len(cidrs) > 1:
            addresses = [cidr.partition("/")[0] for cidr in cidrs]
            if len(cidrs) > 2 or not is_dual_stack(addresses):
                errors.append(invalid(_CIDRS, cidrs, "may specify no more than one CIDR for each IP family"))
        return errors

    def validate_update(self, new: Object, old: Object) -> list[FieldError]:
        return self.validate_create(new) + self._validate_change(new, old)

    def _validate_change(self, new: Object, old: Object) -> Errors:
        errors: Errors = []
        spec, before = new.get("spec") or {}, old.get("spec") or {}
        status = new.get("status") or {}
        _check_resources(errors, status)
        seen: list[Object] = []
        for index, address in enumerate(status.get("addresses") or ()):
            if address in seen:
                errors.append(duplicate((_STATUS / "addresses")[index], address))
            seen.append(address)
        if before.get("podCIDRs") and before["podCIDRs"] != spec.get("podCIDRs"):
            errors.append(forbidden(_CIDRS, 'node updates may not change podCIDR except from "" to valid'))
        if before.get("providerID") and before["providerID"] != spec.get("providerID"):
            why = 'node updates may not change providerID except from "" to valid'
            errors.append(forbidden(_SPEC / "providerID", why))
        check_taints(errors, _TAINTS, spec.get("taints") or [])
        if (spec.get("externalID") or "") != (before.get("externalID") or ""):
            errors.append(forbidden(_SPEC / "externalID", "may not be updated"))
        return errors

    def validate_status_update(self, new: Object, old: Object) -> list[FieldError]:
        return self._validate_change(new, old)

    def warnings(self, obj: Object, old: Object | None) -> list[str]:
        spec, found = obj.get("spec") or {}, []
        if spec.get("configSource") is not None:
            found.append("spec.configSource: the feature is removed")
        if spec.get("externalID"):
            found.append("spec.externalID: this field is deprecated, and is unused by Kubernetes")
        return found


def check_taints(errors: Errors, path: Path, taints: list[Object]) -> None:
    """Each taint once for a key and an effect."""
    seen: set[tuple[str, str]] = set()
    for index, taint in enumerate(taints):
        key, effect, here = taint.get("key") or "", taint.get("effect") or "", path[index]
        check_qualified_name(errors, here / "key", key)
        findings = validate_label_value(taint.get("value") or "")
        if findings:
            errors.append(invalid(here / "value", taint["value"], ";".join(findings)))
        check_choice(errors, here / "effect", effect, TAINT_EFFECTS)
        if (key, effect) in seen:
            finding = duplicate(here, go_struct(taint, {"key": "", "value": "", "effect": "", "timeAdded": None}))
            why = f"{finding.message}: taints must be unique by key and effect pair"
            errors.append(FieldError(finding.reason, finding.field, why))
        seen.add((key, effect))


def _check_resources(errors: Errors, status: Object) -> None:
    for kind in ("capacity", "allocatable"):
        for name, amount in (status.get(kind) or {}).items():
            value = quantity_of(amount)
            if value is None or value < 0 or is_counted(name):
                check_quantity(errors, _STATUS / kind / name, name, amount)


def node_status_text(node: Object) -> str:
    """Gives "Ready", "NotReady" or "Unknown", with ",SchedulingDisabled" after cordon."""
    ready = find_by(get_path(node, "status", "conditions"), "type", "Ready")
    if ready is None:
        status = "Unknown"
    else:
        status = "Ready" if ready.get("status") == "True" else "NotReady"
    return f"{status},SchedulingDisabled" if get_path(node, "spec", "unschedulable") else status


def node_roles(node: Object) -> list[str]:
    """From labels node-role.kubernetes.io/ROLE and kubernetes.io/role=ROLE, sorted."""
    roles = set()
    for key, value in labels_of(node).items():
        if key.startswith(ROLE_PREFIX):
            roles.add(key.removeprefix(ROLE_PREFIX))
        elif key == ROLE_LABEL:
            roles.add(value)
    return sorted(roles - {""})


def _address(node: Object, kind: str) -> str:
    address = find_by(get_path(node, "status", "addresses"), "type", kind)
    return address.get("address", "") if address else NONE


def _info(node: Object, field: str) -> str:
    return get_path(node, "status", "nodeInfo", field, default="") or UNKNOWN


def _kernel(node: Object) -> str:
    architecture = get_path(node, "status", "nodeInfo", "architecture", default="")
    return _info(node, "kernelVersion") + (f" ({architecture})" if architecture else "")


NODES = Resource(
    ref=refs.NODES,
    definition="io.k8s.api.core.v1.Node",
    singular="node",
    short_names=("no",),
    subresources=(Subresource("proxy", verbs=PROXY_VERBS, kind="NodeProxyOptions"), STATUS),
    strategy=NodeStrategy(),
    columns=(
        NAME,
        Column("Status", plain(node_status_text), description="Whether it is ready and takes pods."),
        Column("Roles", plain(lambda node: joined(node_roles(node))), description="What its labels call it."),
        AGE,
        Column("Version", cell_at("status", "nodeInfo", "kubeletVersion"), description="Version of its kubelet."),
        Column("Internal-IP", plain(lambda node: _address(node, "InternalIP")), priority=1, description="Address."),
        Column("External-IP", plain(lambda node: _address(node, "ExternalIP")), priority=1, description="Address."),
        Column("OS-Image", plain(lambda node: _info(node, "osImage")), priority=1, description="Operating system."),
        Column("Kernel-Version", plain(_kernel), priority=1, description="Kernel."),
        Column(
            "Container-Runtime",
            plain(lambda node: _info(node, "containerRuntimeVersion")),
            priority=1,
            description="Container runtime and its version.",
        ),
    ),
    selectable_fields={"spec.unschedulable": flag_at("spec", "unschedulable")},
    storage_prefix="/registry/minions/",
    has_status=True,
)

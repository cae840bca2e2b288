"""Node: what a kubelet reports of its host, and where the scheduler may place pods."""

from __future__ import annotations

from timonel.api import refs
from timonel.api.kinds.columns import AGE, NAME, NONE, UNKNOWN, cell_at, joined, plain
from timonel.api.kinds.fields import flag_at
from timonel.api.kinds.subresources import PROXY_VERBS, STATUS
from timonel.api.objects import Object, find_by, get_path, labels_of
from timonel.api.resource import Column, Resource, Strategy, Subresource

ROLE_PREFIX = "node-role.kubernetes.io/"
ROLE_LABEL = "kubernetes.io/role"


class NodeStrategy(Strategy):
    tracks_generation = False


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

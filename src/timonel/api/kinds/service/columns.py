"""What `kubectl get services` shows."""

from __future__ import annotations

from timonel.api.kinds.columns import AGE, NAME, NONE, UNKNOWN, cell_at, format_labels, joined, plain
from timonel.api.objects import Object, get_path
from timonel.api.resource import Column


def external_ip(service: Object) -> str:
    spec = service.get("spec") or {}
    kind = spec.get("type")
    external = list(spec.get("externalIPs") or ())
    if kind in ("ClusterIP", "NodePort"):
        return joined(external)
    if kind == "LoadBalancer":
        ingress = get_path(service, "status", "loadBalancer", "ingress", default=[])
        assigned = sorted({entry.get("ip") or entry.get("hostname") or "" for entry in ingress} - {""})
        return ",".join(assigned + external) or "<pending>"
    if kind == "ExternalName":
        return str(spec.get("externalName") or "")
    return UNKNOWN


def format_ports(service: Object) -> str:
    """Gives "80/TCP" or, with a node port, "80:30080/TCP"."""
    pieces = []
    for port in get_path(service, "spec", "ports", default=[]):
        number = f"{port.get('port', 0)}:{port['nodePort']}" if port.get("nodePort") else f"{port.get('port', 0)}"
        pieces.append(f"{number}/{port.get('protocol', '')}")
    return joined(pieces)


SERVICE_COLUMNS = (
    NAME,
    Column("Type", cell_at("spec", "type"), description="How it is reached."),
    Column(
        "Cluster-IP",
        plain(lambda obj: get_path(obj, "spec", "clusterIPs", 0, default="") or NONE),
        description="Address inside the cluster.",
    ),
    Column("External-IP", plain(external_ip), description="Addresses outside the cluster."),
    Column("Port(s)", plain(format_ports), description="Ports, with the node ports before the protocol."),
    AGE,
    Column(
        "Selector",
        plain(lambda obj: format_labels(get_path(obj, "spec", "selector"))),
        priority=1,
        description="Labels of the pods behind it.",
    ),
)

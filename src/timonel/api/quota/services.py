"""What Services use: themselves, node ports and load balancers."""

from __future__ import annotations

from timonel.api.objects import Object
from timonel.api.quota.amounts import Amounts
from timonel.api.quota.evaluator import Evaluator, Surroundings
from timonel.api.refs import SERVICES


class ServiceEvaluator(Evaluator):
    def __init__(self) -> None:
        super().__init__(SERVICES.group_resource)
        self.names |= {"services.nodeports", "services.loadbalancers"}

    def handles(self, operation: str, subresource: str, new: Object, old: Object | None) -> bool:
        return operation in ("CREATE", "UPDATE") and not subresource

    def usage(self, obj: Object, around: Surroundings) -> Amounts:
        spec = obj.get("spec") or {}
        kind, ports = spec.get("type"), spec.get("ports") or []
        node_ports = 0
        if kind == "NodePort" or (kind == "LoadBalancer" and spec.get("allocateLoadBalancerNodePorts") is not False):
            # By intent: they are not allocated yet.
            node_ports = len(ports)
        elif kind == "LoadBalancer":
            node_ports = sum(1 for port in ports if port.get("nodePort"))
        return {
            self.count_name: "1",
            "services": "1",
            "services.nodeports": str(node_ports),
            "services.loadbalancers": "1" if kind == "LoadBalancer" else "0",
        }

    def releases(self, old: Object, new: Object, around: Surroundings) -> bool:
        return self.usage(old, around) != self.usage(new, around)

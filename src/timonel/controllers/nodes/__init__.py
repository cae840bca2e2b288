"""Nodes: their health, their taints, the pods that must leave them, and their pod networks."""

from timonel.controllers.nodes.eviction import TaintEvictionController
from timonel.controllers.nodes.ipam import NodeIpamConfig, NodeIpamController
from timonel.controllers.nodes.lifecycle import NodeLifecycleConfig, NodeLifecycleController
from timonel.controllers.nodes.zones import EvictionConfig

__all__ = [
    "EvictionConfig",
    "NodeIpamConfig",
    "NodeIpamController",
    "NodeLifecycleConfig",
    "NodeLifecycleController",
    "TaintEvictionController",
]

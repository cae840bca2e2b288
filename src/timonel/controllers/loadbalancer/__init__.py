"""Addresses for Services of type LoadBalancer where no cloud gives them: the nodes' own, or some of a pool.

planner.py     which addresses a Service gets, or why it gets none (pure)
controller.py  informers → plan → status, finalizer, events
"""

from timonel.controllers.loadbalancer.controller import ServiceLoadBalancerController
from timonel.controllers.loadbalancer.planner import LoadBalancerConfig

__all__ = ["LoadBalancerConfig", "ServiceLoadBalancerController"]

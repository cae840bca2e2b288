"""The kinds of networking.k8s.io: policies, ingresses, and the addresses that Services are given."""

from __future__ import annotations

from timonel.api.kinds.networking.allocation import IP_ADDRESSES, SERVICE_CIDRS
from timonel.api.kinds.networking.ingress import INGRESSES
from timonel.api.kinds.networking.ingressclass import INGRESS_CLASSES
from timonel.api.kinds.networking.networkpolicy import NETWORK_POLICIES

NETWORKING_ROWS = (NETWORK_POLICIES, INGRESSES, INGRESS_CLASSES, IP_ADDRESSES, SERVICE_CIDRS)

__all__ = ["NETWORKING_ROWS"]

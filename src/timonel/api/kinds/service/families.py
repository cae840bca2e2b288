"""IPv4, IPv6 or both: which address families a Service gets. The registry's allocator asks, as it knows the cluster's.

Source: kubernetes.io/docs/concepts/services-networking/dual-stack
"""

from __future__ import annotations

from collections.abc import Sequence

from timonel.api.field_errors import Path, invalid
from timonel.api.kinds.rules import Errors, parse_ip
from timonel.api.kinds.service.defaults import HEADLESS, needs_cluster_ip
from timonel.api.kinds.service.validation import check_cluster_ips
from timonel.api.objects import Object

_SPEC = Path("spec")
_POLICY = _SPEC / "ipFamilyPolicy"
SINGLE_STACK = "SingleStack"


def family_of(address: str) -> str:
    parsed = parse_ip(address)
    return "IPv6" if parsed is not None and parsed.version == 6 else "IPv4"


def assign_families(spec: Object, before: Object | None, cluster: Sequence[str]) -> Errors:
    """Sets ipFamilyPolicy and ipFamilies before addresses are allocated; returns why that cannot be.

    `cluster` holds the families the cluster has, its primary one first: ("IPv4",) or ("IPv4", "IPv6").
    """
    if not needs_cluster_ip(spec):
        return []
    selectorless = spec.get("clusterIP") == HEADLESS and not spec.get("selector")
    if spec.get("ipFamilyPolicy") is None:
        if before is not None and before.get("ipFamilyPolicy") is not None:
            spec["ipFamilyPolicy"] = before["ipFamilyPolicy"]
        else:
            spec["ipFamilyPolicy"] = "RequireDualStack" if selectorless else SINGLE_STACK
    errors: Errors = []
    check_cluster_ips(errors, spec, before)
    if errors:
        return errors
    policy = spec["ipFamilyPolicy"]
    if before is not None:
        _shrink(errors, spec, before, policy)
    if policy == SINGLE_STACK:
        for field, what in (("clusterIPs", "cluster IPs"), ("ipFamilies", "IP families")):
            if len(spec.get(field) or ()) == 2:
                why = f"must be 'RequireDualStack' or 'PreferDualStack' when multiple {what} are specified"
                errors.append(invalid(_POLICY, policy, why))
    families = list(spec.get("ipFamilies") or ())
    for index, address in enumerate(spec.get("clusterIPs") or ()):
        if address == HEADLESS:
            break
        family = family_of(address)
        if index < len(families):
            continue
        if family in cluster:
            families.append(family)
        else:
            why = f"{family} is not configured on this cluster"
            errors.append(invalid((_SPEC / "clusterIPs")[index], spec["clusterIPs"], why))
    if errors:
        return errors
    if not selectorless:
        if policy == "RequireDualStack" and len(cluster) < 2:
            errors.append(invalid(_POLICY, policy, "this cluster is not configured for dual-stack services"))
        for index, family in enumerate(families):
            if family not in cluster:
                errors.append(invalid((_SPEC / "ipFamilies")[index], family, "not configured on this cluster"))
        if errors:
            return errors
    families = families or [cluster[0]]
    if policy != SINGLE_STACK and len(families) == 1 and (selectorless or len(cluster) == 2):
        families.append("IPv6" if families[0] == "IPv4" else "IPv4")
    spec["ipFamilies"] = families
    return []


def _shrink(errors: Errors, spec: Object, before: Object, policy: str) -> None:
    """From two families to one: said by the policy; shorter lists alone are refused."""
    for field, what in (("clusterIPs", "cluster IP"), ("ipFamilies", "IP family")):
        now, was = spec.get(field) or [], before.get(field) or []
        if policy == SINGLE_STACK:
            if now == was and len(now) > 1:
                spec[field] = now[:1]
        elif now and len(now) < len(was):
            errors.append(invalid(_POLICY, policy, f"must be 'SingleStack' to release the secondary {what}"))

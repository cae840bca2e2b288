"""Service: one stable address before pods that come and go.

Addresses and ports are allocated by the registry, which asks `families.assign_families` first.
"""

from __future__ import annotations

from timonel.api import refs
from timonel.api.errors import FieldError
from timonel.api.field_errors import Path
from timonel.api.kinds.fields import text_at
from timonel.api.kinds.rules import ip_warnings
from timonel.api.kinds.service.columns import SERVICE_COLUMNS
from timonel.api.kinds.service.defaults import (
    HEADLESS,
    default_service,
    drop_fields_of_old_type,
    keep_allocated,
    normalize_cluster_ips,
)
from timonel.api.kinds.service.validation import validate_service, validate_service_status, validate_service_update
from timonel.api.kinds.subresources import PROXY_VERBS, STATUS
from timonel.api.names import validate_dns1123_label
from timonel.api.objects import Object
from timonel.api.resource import Resource, Strategy, Subresource

_SPEC = Path("spec")
_HINTS = "service.kubernetes.io/topology-aware-hints"


class ServiceStrategy(Strategy):
    create_on_update = True
    tracks_generation = False

    def validate_name(self, name: str) -> list[str]:
        # Since v1.36 a name may begin with a digit.
        return validate_dns1123_label(name)

    def default(self, obj: Object) -> None:
        default_service(obj)

    def prepare_create(self, obj: Object) -> None:
        obj["status"] = {"loadBalancer": {}}
        _drop_unused_policy(obj["spec"])
        normalize_cluster_ips(obj["spec"], None)

    def validate_create(self, obj: Object) -> list[FieldError]:
        return validate_service(obj, None)

    def prepare_update(self, new: Object, old: Object) -> None:
        spec, before = new["spec"], old["spec"]
        drop_fields_of_old_type(spec, before)
        _drop_unused_policy(spec)
        if spec.get("type") != "LoadBalancer":
            new["status"] = {**(new.get("status") or {}), "loadBalancer": {}}
        keep_allocated(spec, before)
        normalize_cluster_ips(spec, before)

    def validate_update(self, new: Object, old: Object) -> list[FieldError]:
        return validate_service_update(new, old)

    def validate_status_update(self, new: Object, old: Object) -> list[FieldError]:
        return validate_service_status(new, old)

    def warnings(self, obj: Object, old: Object | None) -> list[str]:
        spec = obj.get("spec") or {}
        found: list[str] = []
        if _HINTS in (obj["metadata"].get("annotations") or ()):
            use = "please use service.kubernetes.io/topology-mode instead"
            found.append(f"annotation {_HINTS} is deprecated, {use}")
        kind, external = spec.get("type"), spec.get("externalIPs") or []
        headless = kind == "ClusterIP" and spec.get("clusterIP") == HEADLESS
        if headless:
            if spec.get("loadBalancerIP"):
                found.append("spec.loadBalancerIP is ignored for headless services")
            if external:
                found.append("spec.externalIPs is ignored for headless services")
            if spec.get("sessionAffinity") != "None":
                found.append("spec.SessionAffinity is ignored for headless services")
        else:
            for index, address in enumerate(spec.get("clusterIPs") or ()):
                found += ip_warnings((_SPEC / "clusterIPs")[index], address)
        for index, address in enumerate(external):
            found += ip_warnings((_SPEC / "externalIPs")[index], address)
        if external and not headless and kind != "ExternalName":
            found.append("spec.externalIPs is deprecated and may no longer be implemented in some clusters")
        if spec.get("loadBalancerIP"):
            found += ip_warnings(_SPEC / "loadBalancerIP", spec["loadBalancerIP"])
        if kind == "ExternalName" and external:
            found.append('spec.externalIPs is ignored when spec.type is "ExternalName"')
        if kind != "ExternalName" and spec.get("externalName"):
            found.append('spec.externalName is ignored when spec.type is not "ExternalName"')
        if spec.get("trafficDistribution") == "PreferClose":
            found.append('spec.trafficDistribution: "PreferClose" is deprecated; use "PreferSameZone"')
        return found


def _drop_unused_policy(spec: Object) -> None:
    """A name elsewhere has no endpoints to choose from."""
    if spec.get("type") == "ExternalName" and spec.get("internalTrafficPolicy") in ("Cluster", "Local"):
        del spec["internalTrafficPolicy"]


SERVICES = Resource(
    ref=refs.SERVICES,
    definition="io.k8s.api.core.v1.Service",
    singular="service",
    short_names=("svc",),
    categories=("all",),
    subresources=(Subresource("proxy", verbs=PROXY_VERBS, kind="ServiceProxyOptions"), STATUS),
    strategy=ServiceStrategy(),
    columns=SERVICE_COLUMNS,
    selectable_fields={"spec.clusterIP": text_at("spec", "clusterIP"), "spec.type": text_at("spec", "type")},
    storage_prefix="/registry/services/specs/",
    has_status=True,
)

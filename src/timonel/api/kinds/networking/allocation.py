"""ServiceCIDR: a network that Services get addresses from. IPAddress: one that is taken, and by whom."""

from __future__ import annotations

from timonel.api import refs
from timonel.api.errors import FieldError
from timonel.api.field_errors import Path, invalid, required
from timonel.api.kinds.columns import AGE, NAME, NONE, plain
from timonel.api.kinds.networking.addresses import canonical_ip_findings, check_canonical_cidr, same_family
from timonel.api.kinds.rules import IMMUTABLE, Errors, check_immutable, check_subdomain, check_text
from timonel.api.kinds.subresources import STATUS
from timonel.api.names import validate_path_segment
from timonel.api.objects import Object, get_path
from timonel.api.resource import Column, Resource, Strategy

_CIDRS = Path("spec") / "cidrs"
_PARENT = Path("spec") / "parentRef"


class IPAddressStrategy(Strategy):
    tracks_generation = False

    def validate_name(self, name: str) -> list[str]:
        return canonical_ip_findings(name)

    def validate_create(self, obj: Object) -> list[FieldError]:
        errors: Errors = []
        parent = get_path(obj, "spec", "parentRef")
        if parent is None:
            errors.append(required(_PARENT))
            return errors
        if parent.get("group"):
            check_subdomain(errors, _PARENT / "group", parent["group"])
        for part in ("resource", "name", "namespace"):
            if parent.get(part):
                check_text(errors, _PARENT / part, parent[part], validate_path_segment)
            elif part != "namespace":
                errors.append(required(_PARENT / part))
        return errors

    def validate_update(self, new: Object, old: Object) -> list[FieldError]:
        errors = self.validate_create(new)
        check_immutable(errors, _PARENT, get_path(new, "spec", "parentRef"), get_path(old, "spec", "parentRef"))
        return errors


class ServiceCIDRStrategy(Strategy):
    status_carries = ()
    tracks_generation = False

    def validate_create(self, obj: Object) -> list[FieldError]:
        return _validate_cidrs(obj.get("spec") or {})

    def validate_update(self, new: Object, old: Object) -> list[FieldError]:
        """A second network, of the other family, may be added; nothing else changes."""
        spec = new.get("spec") or {}
        cidrs, before = spec.get("cidrs") or [], get_path(old, "spec", "cidrs", default=[])
        grows = len(before) == 1 and len(cidrs) == 2
        if len(before) != len(cidrs) and not grows:
            return [invalid(_CIDRS, cidrs, IMMUTABLE)]
        errors: Errors = [
            invalid(_CIDRS[index], cidrs[index], IMMUTABLE)
            for index, text in enumerate(before)
            if cidrs[index] != text
        ]  # fmt: skip
        return errors + _validate_cidrs(spec) if grows else errors


def _validate_cidrs(spec: Object) -> Errors:
    errors: Errors = []
    cidrs = spec.get("cidrs") or []
    if not cidrs:
        return [required(_CIDRS, "at least one CIDR required")]
    if len(cidrs) > 2:
        return [invalid(_CIDRS, spec, "may only hold up to 2 values")]
    for index, text in enumerate(cidrs):
        check_canonical_cidr(errors, _CIDRS[index], text)
    if len(cidrs) == 2 and same_family(cidrs[0], cidrs[1]):
        why = "may specify no more than one IP for each IP family, i.e 192.168.0.0/24 and 2001:db8::/64"
        errors.append(invalid(_CIDRS, cidrs, why))
    return errors


def _parent(address: Object) -> str:
    parent = get_path(address, "spec", "parentRef")
    if parent is None:
        return NONE
    group, resource = parent.get("group"), parent.get("resource") or ""
    steps = [(f"{resource}.{group}" if group else resource).lower(), parent.get("namespace"), parent.get("name") or ""]
    return "/".join(step for step in steps if step is not None)


IP_ADDRESSES = Resource(
    ref=refs.IP_ADDRESSES,
    definition="io.k8s.api.networking.v1.IPAddress",
    singular="ipaddress",
    short_names=("ip",),
    strategy=IPAddressStrategy(),
    columns=(NAME, Column("ParentRef", plain(_parent), description="Whose address it is.")),
    storage_prefix="/registry/ipaddresses/",
)

SERVICE_CIDRS = Resource(
    ref=refs.SERVICE_CIDRS,
    definition="io.k8s.api.networking.v1.ServiceCIDR",
    singular="servicecidr",
    subresources=(STATUS,),
    strategy=ServiceCIDRStrategy(),
    columns=(
        NAME,
        Column(
            "CIDRs",
            plain(lambda cidr: ",".join(get_path(cidr, "spec", "cidrs", default=[]))),
            description="The networks.",
        ),
        AGE,
    ),
    storage_prefix="/registry/servicecidrs/",
    has_status=True,
)

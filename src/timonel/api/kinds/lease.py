"""Lease: who holds a lock, and until when; also the heartbeat of nodes."""

from __future__ import annotations

from timonel.api import refs
from timonel.api.errors import FieldError
from timonel.api.field_errors import Path, forbidden, invalid, not_supported
from timonel.api.kinds.columns import AGE, NAME, cell_at
from timonel.api.kinds.rules import Errors, check_not_negative, check_qualified_name
from timonel.api.objects import Object
from timonel.api.resource import Column, Resource, Strategy

_SPEC = Path("spec")
_STRATEGIES = ("OldestEmulationVersion",)


class LeaseStrategy(Strategy):
    create_on_update = True
    allow_unconditional_update = False
    tracks_generation = False

    def default(self, obj: Object) -> None:
        spec = obj.setdefault("spec", {})
        # Coordinated leader election is off by default in v1.36; what is sent of it is left out.
        for field in ("strategy", "preferredHolder"):
            spec.pop(field, None)

    def validate_create(self, obj: Object) -> list[FieldError]:
        errors: Errors = []
        spec = obj.get("spec") or {}
        seconds = spec.get("leaseDurationSeconds")
        if seconds is not None and seconds <= 0:
            errors.append(invalid(_SPEC / "leaseDurationSeconds", seconds, "must be greater than 0"))
        check_not_negative(errors, _SPEC / "leaseTransitions", spec.get("leaseTransitions"))
        strategy = spec.get("strategy")
        if strategy is not None and strategy not in _STRATEGIES:
            _check_strategy(errors, strategy)
        if spec.get("preferredHolder") and not strategy:
            why = "may only be specified if `strategy` is defined"
            errors.append(forbidden(_SPEC / "preferredHolder", why))
        return errors


def _check_strategy(errors: Errors, strategy: str) -> None:
    """Strategies of others carry a domain. The path is upstream's."""
    path = _SPEC / "strategy" / "strategy"
    if "/" in strategy:
        check_qualified_name(errors, path, strategy)
    else:
        errors.append(not_supported(path, strategy, _STRATEGIES))


LEASES = Resource(
    ref=refs.LEASES,
    definition="io.k8s.api.coordination.v1.Lease",
    singular="lease",
    strategy=LeaseStrategy(),
    columns=(NAME, Column("Holder", cell_at("spec", "holderIdentity"), description="Who holds the lease."), AGE),
    storage_prefix="/registry/leases/",
)

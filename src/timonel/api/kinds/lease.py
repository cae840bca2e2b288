"""Lease: who holds a lock, and until when; also the heartbeat of nodes."""

from __future__ import annotations

from timonel.api import refs
from timonel.api.kinds.columns import AGE, NAME, cell_at
from timonel.api.resource import Column, Resource, Strategy


class LeaseStrategy(Strategy):
    create_on_update = True
    allow_unconditional_update = False
    tracks_generation = False


LEASES = Resource(
    ref=refs.LEASES,
    definition="io.k8s.api.coordination.v1.Lease",
    singular="lease",
    strategy=LeaseStrategy(),
    columns=(NAME, Column("Holder", cell_at("spec", "holderIdentity"), description="Who holds the lease."), AGE),
    storage_prefix="/registry/leases/",
)

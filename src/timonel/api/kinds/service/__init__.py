"""Service: one stable address before pods that come and go."""

from __future__ import annotations

from timonel.api import refs
from timonel.api.kinds.fields import text_at
from timonel.api.kinds.service.columns import SERVICE_COLUMNS
from timonel.api.kinds.subresources import PROXY_VERBS, STATUS
from timonel.api.resource import Resource, Strategy, Subresource


class ServiceStrategy(Strategy):
    create_on_update = True
    tracks_generation = False


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

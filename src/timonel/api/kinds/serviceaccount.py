"""ServiceAccount: the identity of pods; its tokens come from the token subresource."""

from __future__ import annotations

from timonel.api import refs
from timonel.api.kinds.columns import AGE, NAME
from timonel.api.resource import Resource, Strategy, Subresource


class ServiceAccountStrategy(Strategy):
    tracks_generation = False


SERVICE_ACCOUNTS = Resource(
    ref=refs.SERVICE_ACCOUNTS,
    definition="io.k8s.api.core.v1.ServiceAccount",
    singular="serviceaccount",
    short_names=("sa",),
    subresources=(
        Subresource("token", verbs=("create",), kind="TokenRequest", group="authentication.k8s.io", version="v1"),
    ),
    strategy=ServiceAccountStrategy(),
    columns=(NAME, AGE),
    storage_prefix="/registry/serviceaccounts/",
)

"""ServiceAccount: the identity of pods; its tokens come from the token subresource."""

from __future__ import annotations

from timonel.api import refs
from timonel.api.kinds.columns import AGE, NAME
from timonel.api.objects import Object
from timonel.api.resource import Resource, Strategy, Subresource


class ServiceAccountStrategy(Strategy):
    tracks_generation = False

    def prepare_create(self, obj: Object) -> None:
        _keep_names(obj)

    def prepare_update(self, new: Object, old: Object) -> None:
        _keep_names(new)


def _keep_names(account: Object) -> None:
    """Secrets are of the account's own namespace, so nothing but their names is kept."""
    if account.get("secrets"):
        account["secrets"] = [{"name": item["name"]} if item.get("name") else {} for item in account["secrets"]]


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

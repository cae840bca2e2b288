"""Every namespace has a ConfigMap with the certificate authority of the API server, which pods mount beside tokens.

Source: kubernetes.io/docs/reference/access-authn-authz/service-accounts-admin#bound-service-account-token-volume
"""

from __future__ import annotations

from timonel.api.clock import Clock
from timonel.api.objects import ObjectKey, annotations_of, is_deleting, namespace_of
from timonel.api.refs import CONFIGMAPS, NAMESPACES
from timonel.client.controller import Controller, Result, Watch
from timonel.client.informer import Informers
from timonel.client.protocol import ApiClient
from timonel.controllers.namespaces.content import create_once

NAME = "kube-root-ca.crt"
_ONLY = f"metadata.name={NAME}"
_DESCRIPTION = "kubernetes.io/description"
_TEXT = (
    "Contains a CA bundle that can be used to verify the kube-apiserver when using internal endpoints such as the "
    "internal service IP or kubernetes.default.svc. No other usage is guaranteed across distributions of Kubernetes "
    "clusters."
)


class RootCaPublisher(Controller):
    """Keys are namespaces. `ca` is the PEM text."""

    name = "root-ca-cert-publisher"
    watches = (
        Watch(NAMESPACES),
        Watch(CONFIGMAPS, key=lambda item: ObjectKey("", namespace_of(item)), field_selector=_ONLY),
    )

    def __init__(self, *, client: ApiClient, informers: Informers, clock: Clock, ca: str) -> None:
        super().__init__(client=client, informers=informers, clock=clock)
        self._data = {"ca.crt": ca}

    async def sync(self, key: ObjectKey) -> Result:
        namespace = self.lister(NAMESPACES).get(*key)
        if namespace is None or is_deleting(namespace):
            return Result()
        present = self.lister(CONFIGMAPS, field_selector=_ONLY).get(key.name, NAME)
        if present is None:
            wanted = {
                "kind": "ConfigMap",
                "apiVersion": "v1",
                "metadata": {"name": NAME, "namespace": key.name, "annotations": {_DESCRIPTION: _TEXT}},
                "data": self._data,
            }
            await create_once(self.client, CONFIGMAPS, wanted)
            return Result()
        if present.get("data") == self._data and annotations_of(present).get(_DESCRIPTION):
            return Result()
        annotations = {**annotations_of(present), _DESCRIPTION: _TEXT}
        metadata = present["metadata"] | {"annotations": annotations}
        await self.client.update(CONFIGMAPS, present | {"metadata": metadata, "data": self._data})
        return Result()

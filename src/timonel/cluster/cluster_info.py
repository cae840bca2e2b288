"""kube-public/cluster-info: where the cluster is and who vouches for it, for nodes that know no more than a token.

Source: kubernetes.io/docs/reference/access-authn-authz/bootstrap-tokens/#configmap-signing
"""

from __future__ import annotations

import base64
import logging
from typing import Protocol

import yaml

from timonel.api.bootstrap_tokens import CLUSTER_INFO, CLUSTER_INFO_NAMESPACE, KUBECONFIG
from timonel.api.errors import AlreadyExists, ApiError
from timonel.api.objects import Object
from timonel.api.refs import CONFIGMAPS
from timonel.apiserver.readers import Readers, Writer

log = logging.getLogger(__name__)


class Objects(Readers, Writer, Protocol):
    """The server's registry."""


async def publish_cluster_info(objects: Objects, *, server: str, authority: bytes) -> None:
    """Writes the ConfigMap where it is missing or says something else. `authority` is PEM. Signatures
    are the manager's work.
    """
    text = render_cluster_info(server, authority)
    live = objects.reader(CONFIGMAPS).get(CLUSTER_INFO_NAMESPACE, CLUSTER_INFO)
    if live is not None and (live.get("data") or {}).get(KUBECONFIG) == text:
        return

    def change(old: Object) -> Object:
        return old | {"data": {**(old.get("data") or {}), KUBECONFIG: text}}

    metadata = {"name": CLUSTER_INFO, "namespace": CLUSTER_INFO_NAMESPACE}
    made = {"kind": "ConfigMap", "apiVersion": "v1", "metadata": metadata, "data": {KUBECONFIG: text}}
    try:
        if live is None:
            await objects.create(CONFIGMAPS, made, CLUSTER_INFO_NAMESPACE)
        else:
            await objects.update(CONFIGMAPS, CLUSTER_INFO_NAMESPACE, CLUSTER_INFO, change)
    except AlreadyExists:
        return  # another server of this cluster was first
    except ApiError as error:
        # Only joining nodes miss it.
        log.warning("cluster description was not written error=%s", error)
        return
    log.info("cluster description was written server=%s", server)


def render_cluster_info(server: str, authority: bytes) -> str:
    """A kubeconfig without users or contexts."""
    cluster = {"certificate-authority-data": base64.b64encode(authority).decode(), "server": server}
    document: Object = {
        "apiVersion": "v1",
        "clusters": [{"cluster": cluster, "name": ""}],
        "contexts": None,
        "current-context": "",
        "kind": "Config",
        "preferences": {},
        "users": None,
    }
    return yaml.safe_dump(document, sort_keys=False, width=1 << 20)

"""Kubeconfig files that a client certificate opens: for people, and for the cluster's own parts."""

from __future__ import annotations

import base64
from pathlib import Path

import yaml

from timonel.cluster.certificates import Pair
from timonel.cluster.private_files import write_private


def write_kubeconfig(
    path: Path,
    *,
    server: str,
    ca: Path,
    client: Pair,
    context: str = "timonel",
    user: str = "",
    embed: bool = True,
    namespace: str = "",
) -> None:
    """A kubeconfig with one cluster, user and context, all named after `context` (the user after `user`, if given).

    With `embed` it holds the certificates themselves and can be carried away; without, it names the files, and
    renewed ones are picked up by whoever reads it again.
    """
    user = user or context

    def material(key: str, file: Path) -> dict[str, str]:
        if embed:
            return {f"{key}-data": base64.b64encode(file.read_bytes()).decode()}
        return {key: str(file)}

    cluster = {"server": server, **material("certificate-authority", ca)}
    credentials = {**material("client-certificate", client.cert), **material("client-key", client.key)}
    scope = {"cluster": context, "user": user, **({"namespace": namespace} if namespace else {})}
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": context, "cluster": cluster}],
        "users": [{"name": user, "user": credentials}],
        "contexts": [{"name": context, "context": scope}],
        "current-context": context,
        "preferences": {},
    }
    write_private(path, yaml.safe_dump(document, sort_keys=False).encode())

"""Registry credentials from image pull secrets. Pure.

Source: kubernetes.io/docs/concepts/containers/images, "Using a private registry", with its rules of matching.
"""

from __future__ import annotations

import base64
import binascii
import fnmatch
from collections.abc import Iterable, Iterator

import orjson

from timonel.api.objects import Object
from timonel.kubelet.cri import runtime_pb2 as cri
from timonel.kubelet.images.reference import repository

_FIELDS = {"kubernetes.io/dockerconfigjson": ".dockerconfigjson", "kubernetes.io/dockercfg": ".dockercfg"}
_DOCKER_HUB = ("index.docker.io", "docker.io", "registry-1.docker.io")


def _entries(secret: Object) -> Iterator[tuple[str, Object]]:
    field = _FIELDS.get(secret.get("type") or "")
    raw = (secret.get("data") or {}).get(field) if field else None
    if not raw:
        return
    try:
        parsed = orjson.loads(base64.b64decode(raw))
    except (ValueError, binascii.Error):
        return
    if not isinstance(parsed, dict):
        return
    auths = parsed.get("auths") if field == ".dockerconfigjson" else parsed
    if isinstance(auths, dict):
        yield from ((server, auth) for server, auth in auths.items() if isinstance(auth, dict))


def _location(server: str) -> tuple[str, str]:
    """Host pattern and path prefix: "https://quay.io/v1/" and "quay.io/team" both occur."""
    server = server.removeprefix("https://").removeprefix("http://").rstrip("/")
    host, _, path = server.partition("/")
    if path in ("v1", "v2"):
        path = ""
    return ("docker.io" if host in _DOCKER_HUB else host), path


def _host_matches(pattern: str, host: str) -> bool:
    """`*` stands for letters of one label, never for a dot; ports must be equal."""
    wanted, _, wanted_port = pattern.partition(":")
    given, _, given_port = host.partition(":")
    labels, parts = wanted.split("."), given.split(".")
    return (
        wanted_port == given_port
        and len(labels) == len(parts)
        and all(fnmatch.fnmatchcase(part, label) for part, label in zip(parts, labels, strict=True))
    )


def _auth(server: str, entry: Object) -> cri.AuthConfig | None:
    """None for what nobody can log in with: the API checks only that a secret is JSON, and other entries may do."""
    try:
        return _parse_auth(server, entry)
    except (TypeError, ValueError, AttributeError):
        return None


def _parse_auth(server: str, entry: Object) -> cri.AuthConfig:
    username, password = entry.get("username") or "", entry.get("password") or ""
    if entry.get("auth") and not (username or password):
        decoded = base64.b64decode(entry["auth"]).decode(errors="replace").rstrip("\0")
        username, _, password = decoded.partition(":")
    return cri.AuthConfig(
        username=username, password=password, server_address=server, identity_token=entry.get("identitytoken") or ""
    )


def credentials_for(image: str, secrets: Iterable[Object]) -> list[cri.AuthConfig]:
    """All that match the image's repository, the longest path first."""
    host, path = repository(image)
    found: list[tuple[int, cri.AuthConfig]] = []
    for secret in secrets:
        for server, entry in _entries(secret):
            pattern, prefix = _location(server)
            if _host_matches(pattern, host) and (
                not prefix or path == prefix or path.startswith(prefix.rstrip("/") + "/")
            ):
                auth = _auth(server, entry)
                if auth is not None:
                    found.append((len(prefix), auth))
    return [auth for _, auth in sorted(found, key=lambda item: -item[0])]

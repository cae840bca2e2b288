"""Which OpenAPI document a path names, made when first asked for, off the event loop, and kept packed.

The index of v3 needs hashes of documents that nobody has read yet; they are hashes of what the documents are made
from (the versions and the rows), so that asking for the index builds nothing.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Callable
from dataclasses import replace
from email.utils import formatdate
from importlib.metadata import version as package_version
from importlib.resources import files

import orjson

from timonel import GIT_VERSION
from timonel.api.resource import ResourceTable
from timonel.apiserver.discovery import Document
from timonel.apiserver.negotiation import first_type
from timonel.apiserver.openapi import gnostic, other_paths, v2, v3
from timonel.apiserver.responses import compress

V2_PROTOBUF_ASKED = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf"
V2_PROTOBUF = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf"
"""Clients ask with an "@", which is no valid media type in an answer: kubectl 1.20 fails to parse it there."""
_JSON = "application/json"
_V2_TYPES = (_JSON, V2_PROTOBUF_ASKED, V2_PROTOBUF)
_V3_TYPES = (_JSON,)
_SMALL = 16 * 1024
_KEPT_SECONDS = 365 * 24 * 3600


class OpenApi:
    def __init__(self, table: ResourceTable) -> None:
        self._table = table
        self._documents: dict[str, Document] = {}
        self._known_hashes: dict[str, str] = {}
        self._making: dict[str, asyncio.Task[Document]] = {}

    async def document(self, path: str, accept: str, known_hash: str = "") -> Document | None:
        """The document at "/openapi/v2", "/openapi/v3", "/openapi/v3/apis/apps/v1" …; None when nothing is there.

        A path with the hash that the index gives always names the same document, and may be kept for ever; one with
        another hash leads there. Raises NotAcceptable.
        """
        name = path.strip("/").removeprefix("openapi/v3/")
        if known_hash and (current := self._hashes().get(name)) and known_hash != current:
            return Document(b"", _JSON, location=_url(name, current))
        found = await self._document(path.strip("/").split("/"), accept)
        if found is None or not known_hash or name not in self._hashes():
            return found
        expires = formatdate(time.time() + _KEPT_SECONDS, usegmt=True)
        return replace(found, cache_control="public, immutable", expires=expires)

    async def _document(self, parts: list[str], accept: str) -> Document | None:
        match parts:
            case ["openapi", "v2"]:
                if first_type(accept, _V2_TYPES) != _JSON:
                    return await self._get("v2+protobuf", self._swagger_protobuf)
                return await self._get("v2", self._swagger_json)
            case ["openapi", "v3"]:
                return self._index()
            case ["openapi", "v3", "api", "v1"]:
                first_type(accept, _V3_TYPES)
                return await self._get("v3", lambda: self._group("", "v1"))
            case ["openapi", "v3", "apis", group, version] if (group, version) in self._group_versions():
                first_type(accept, _V3_TYPES)
                return await self._get(f"v3/{group}/{version}", lambda: self._group(group, version))
            case ["openapi", "v3", *rest] if "/".join(rest) in self._other_paths():
                first_type(accept, _V3_TYPES)
                name = "/".join(rest)
                return await self._get(f"v3/{name}", lambda: self._other(name))
        return None

    def _group_versions(self) -> list[tuple[str, str]]:
        return list(dict.fromkeys((row.ref.group, row.ref.version) for row in self._table.rows))

    def _other_paths(self) -> list[str]:
        return other_paths.names(dict.fromkeys(group for group, _ in self._group_versions() if group))

    def _index(self) -> Document:
        paths = {name: {"serverRelativeURL": _url(name, made)} for name, made in self._hashes().items()}
        return _document(orjson.dumps({"paths": paths}), _JSON)

    def _hashes(self) -> dict[str, str]:
        """By the documents' names: "apis/apps/v1"."""
        if not self._known_hashes:
            made_by = _made_by()
            for group, version in self._group_versions():
                name = f"apis/{group}/{version}" if group else f"api/{version}"
                self._known_hashes[name] = self._hash(group, version, made_by)
            for name in self._other_paths():
                self._known_hashes[name] = _digest(f"{made_by} {name}".encode())
        return self._known_hashes

    def _hash(self, group: str, version: str, made_by: str) -> str:
        described = [
            f"{row.definition} {row.verbs} {[(sub.name, sub.verbs, sub.kind) for sub in row.subresources]}"
            for row in self._table.rows
            if (row.ref.group, row.ref.version) == (group, version)
        ]
        return _digest("\n".join([made_by, *described]).encode())

    def _group(self, group: str, version: str) -> Document:
        return _document(v3.render_group(self._table, group, version), _JSON)

    def _other(self, name: str) -> Document:
        operation = other_paths.of_path(name)
        if operation is None:
            raise LookupError(name)
        return _document(v3.render_operation(operation), _JSON)

    def _swagger_json(self) -> Document:
        return _document(orjson.dumps(v2.swagger(self._table)), _JSON)

    def _swagger_protobuf(self) -> Document:
        return _document(gnostic.encode_document(v2.swagger(self._table)), V2_PROTOBUF)

    async def _get(self, key: str, make: Callable[[], Document]) -> Document:
        """Makes a document once, however many ask at the same time."""
        document = self._documents.get(key)
        if document is not None:
            return document
        task = self._making.get(key)
        if task is None:
            task = self._making[key] = asyncio.create_task(asyncio.to_thread(make), name=f"openapi-{key}")
        try:
            document = await asyncio.shield(task)
        finally:
            if task.done():
                self._making.pop(key, None)
        self._documents[key] = document
        return document


def _document(body: bytes, content_type: str) -> Document:
    etag = f'"{_digest(body)}"'
    if len(body) < _SMALL:
        return Document(body, content_type, etag)
    return Document(b"", content_type, etag, packed=compress(body))


def _made_by() -> str:
    """What documents are made by and of, beside the rows: a client that keeps one for ever must see it change."""
    sources = sorted(files(__package__).iterdir(), key=lambda file: file.name)
    text = b"".join(file.read_bytes() for file in sources if file.name.endswith(".py"))
    return f"{GIT_VERSION} {package_version('kubernetes-validate')} {_digest(text)}"


def _url(name: str, made_hash: str) -> str:
    return f"/openapi/v3/{name}?hash={made_hash}"


def _digest(data: bytes) -> str:
    return hashlib.sha512(data).hexdigest().upper()

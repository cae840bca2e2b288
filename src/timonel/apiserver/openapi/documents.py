"""Which OpenAPI document a path names, made when first asked for, off the event loop, and kept as bytes only.

The index of v3 needs hashes of documents that nobody has read yet; they are hashes of what the documents are made
from (the version and the rows), so that asking for the index builds nothing.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable

import orjson

from timonel import GIT_VERSION
from timonel.api.resource import ResourceTable
from timonel.apiserver.discovery import Document
from timonel.apiserver.openapi import gnostic, other_paths, v2, v3

V2_PROTOBUF_ASKED = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf"
V2_PROTOBUF = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf"
"""Clients ask with an "@", which is no valid media type in an answer: kubectl 1.20 fails to parse it there."""
_JSON = "application/json"


class OpenApi:
    def __init__(self, table: ResourceTable) -> None:
        self._table = table
        self._documents: dict[str, Document] = {}
        self._making: dict[str, asyncio.Task[Document]] = {}

    async def document(self, path: str, accept: str, _hash: str = "") -> Document | None:
        """The document at "/openapi/v2", "/openapi/v3", "/openapi/v3/apis/apps/v1" …; None when nothing is there."""
        parts = path.strip("/").split("/")
        match parts:
            case ["openapi", "v2"]:
                if V2_PROTOBUF_ASKED in accept or V2_PROTOBUF in accept:
                    return await self._get("v2+protobuf", self._swagger_protobuf)
                return await self._get("v2", self._swagger_json)
            case ["openapi", "v3"]:
                return self._index()
            case ["openapi", "v3", "api", "v1"]:
                return await self._get("v3", lambda: self._group("", "v1"))
            case ["openapi", "v3", "apis", group, version] if (group, version) in self._group_versions():
                return await self._get(f"v3/{group}/{version}", lambda: self._group(group, version))
            case ["openapi", "v3", *rest] if "/".join(rest) in self._other_paths():
                name = "/".join(rest)
                return await self._get(f"v3/{name}", lambda: self._other(name))
        return None

    def _group_versions(self) -> list[tuple[str, str]]:
        return list(dict.fromkeys((row.ref.group, row.ref.version) for row in self._table.rows))

    def _other_paths(self) -> list[str]:
        return other_paths.names(dict.fromkeys(group for group, _ in self._group_versions() if group))

    def _index(self) -> Document:
        paths = {}
        for group, version in self._group_versions():
            path = f"apis/{group}/{version}" if group else f"api/{version}"
            url = f"/openapi/v3/{path}?hash={self._hash(group, version)}"
            paths[path] = {"serverRelativeURL": url}
        for name in self._other_paths():
            made_of = hashlib.sha256(f"{GIT_VERSION} {name}".encode()).hexdigest().upper()
            paths[name] = {"serverRelativeURL": f"/openapi/v3/{name}?hash={made_of}"}
        return _document(orjson.dumps({"paths": paths}), _JSON)

    def _hash(self, group: str, version: str) -> str:
        described = [
            f"{row.definition} {row.verbs} {[(sub.name, sub.verbs, sub.kind) for sub in row.subresources]}"
            for row in self._table.rows
            if (row.ref.group, row.ref.version) == (group, version)
        ]
        return hashlib.sha256("\n".join([GIT_VERSION, *described]).encode()).hexdigest().upper()

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
    return Document(body, content_type, f'"{hashlib.sha256(body).hexdigest().upper()}"')

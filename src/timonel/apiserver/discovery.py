"""What is served, told to clients: /api, /apis, one document per group version, and all of it in one (aggregated).

Made of the resource table alone, once, as bytes. Source: kubernetes.io/docs/concepts/overview/kubernetes-api
("Discovery API") and the apidiscovery.k8s.io/v2 types.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass

import orjson

from timonel.api.errors import NotAcceptable
from timonel.api.objects import Object
from timonel.api.protobuf import PROTOBUF, encode_discovery
from timonel.api.resource import Resource, ResourceTable, Subresource
from timonel.apiserver.negotiation import AGGREGATED, AGGREGATED_GROUP, YAML, Answer, negotiate_discovery
from timonel.apiserver.responses import to_yaml

_MAX_DOCUMENTS = 256
_GROUP_ORDER = (
    "apiregistration.k8s.io", "apps", "events.k8s.io", "authentication.k8s.io", "authorization.k8s.io", "autoscaling",
    "batch", "certificates.k8s.io", "networking.k8s.io", "policy", "rbac.authorization.k8s.io", "storage.k8s.io",
    "admissionregistration.k8s.io", "apiextensions.k8s.io", "scheduling.k8s.io", "coordination.k8s.io", "node.k8s.io",
    "discovery.k8s.io", "resource.k8s.io", "flowcontrol.apiserver.k8s.io",
)  # fmt: skip
"""Clients that look for a kind without a group take the first one: upstream's order of groups."""

_HASHED_AS = {
    ("events.k8s.io", "v1", "Event"): "/v1",
    ("autoscaling", "v1", "HorizontalPodAutoscaler"): "autoscaling/v2",
    ("admissionregistration.k8s.io", "v1", "MutatingAdmissionPolicy"): "admissionregistration.k8s.io/v1beta1",
    ("admissionregistration.k8s.io", "v1", "MutatingAdmissionPolicyBinding"): "admissionregistration.k8s.io/v1beta1",
    ("apiextensions.k8s.io", "v1", "CustomResourceDefinition"): "apiextensions.k8s.io/v1beta1",
}
"""Group and version that the storage version hash is made of, where upstream stores another one than it serves."""
_VERSION = re.compile(r"v(\d+)(?:(alpha|beta)(\d+))?")

CACHE_NOTHING = "no-cache, private"


@dataclass(frozen=True, slots=True)
class Document:
    """`etag` includes its quotes; "" for documents that are not cached by clients."""

    body: bytes
    content_type: str = "application/json"
    etag: str = ""
    packed: bytes = b""
    """Large ones are kept as gzip, and `body` is empty then: nearly all clients take that, and it is a tenth."""
    cache_control: str = CACHE_NOTHING
    expires: str = ""
    location: str = ""
    """Where the document is to be found instead."""


class Discovery:
    def __init__(self, table: ResourceTable) -> None:
        self._table = table
        self._documents: dict[str, Document] = {}

    def groups(self) -> dict[str, list[str]]:
        """Versions by group, groups in upstream's order, the legacy group "" left out."""
        found: dict[str, list[str]] = {}
        for row in self._table.rows:
            if row.ref.group and row.ref.version not in found.setdefault(row.ref.group, []):
                found[row.ref.group].append(row.ref.version)
        order = {group: position for position, group in enumerate(_GROUP_ORDER)}
        for versions in found.values():
            versions.sort(key=_age)
        return dict(sorted(found.items(), key=lambda item: (order.get(item[0], len(order)), item[0])))

    def serves(self, group: str) -> bool:
        return not group or group in self.groups()

    def document(self, path: str, accept: str, server_address: str) -> Document | None:
        """The document at "/api", "/apis", "/apis/apps", "/apis/apps/v1" …; None when nothing is there.

        Raises NotAcceptable.
        """
        parts = path.strip("/").split("/")
        try:
            answer = negotiate_discovery(accept, is_root=len(parts) == 1)
        except NotAcceptable:
            if self._plain(parts, server_address) is None:
                return None
            raise
        key = f"{path.rstrip('/')}#{answer.media_type}#{answer.transform}#{server_address if parts == ['api'] else ''}"
        document = self._documents.get(key)
        if document is not None:
            return document
        if answer.transform:
            document = self._aggregated(parts[0], answer)
        else:
            content = self._plain(parts, server_address)
            document = None if content is None else Document(_render(content, answer.media_type), answer.media_type)
        if document is not None and len(self._documents) < _MAX_DOCUMENTS:
            self._documents[key] = document
        return document

    def _plain(self, parts: list[str], server_address: str) -> Object | None:
        groups = self.groups()
        match parts:
            case ["api"]:
                return {
                    "kind": "APIVersions",
                    "versions": ["v1"],
                    "serverAddressByClientCIDRs": [{"clientCIDR": "0.0.0.0/0", "serverAddress": server_address}],
                }
            case ["apis"]:
                return {
                    "kind": "APIGroupList",
                    "apiVersion": "v1",
                    "groups": [_group(name, versions) for name, versions in groups.items()],
                }
            case ["apis", group] if group in groups:
                return {"kind": "APIGroup", "apiVersion": "v1", **_group(group, groups[group])}
            case ["api", "v1"]:
                return {
                    "kind": "APIResourceList",
                    "groupVersion": "v1",
                    "resources": list(_resources(self._rows("", "v1"))),
                }
            case ["apis", group, version] if version in groups.get(group, ()):
                return {
                    "kind": "APIResourceList",
                    "apiVersion": "v1",
                    "groupVersion": f"{group}/{version}",
                    "resources": list(_resources(self._rows(group, version))),
                }
        return None

    def _rows(self, group: str, version: str) -> list[Resource]:
        rows = [row for row in self._table.rows if (row.ref.group, row.ref.version) == (group, version)]
        return sorted(rows, key=lambda row: row.ref.plural)

    def _aggregated(self, root: str, answer: Answer) -> Document:
        if root == "api":
            items: list[Object] = [{"metadata": {}, "versions": [self._aggregated_of("", "v1")]}]
        else:
            items = [
                {
                    "metadata": {"name": group},
                    "versions": [self._aggregated_of(group, each) for each in versions],
                }
                for group, versions in self.groups().items()
            ]
        content: Object = {
            "kind": AGGREGATED, "apiVersion": f"{AGGREGATED_GROUP}/{answer.version}", "metadata": {}, "items": items,
        }  # fmt: skip
        etag = '"' + hashlib.sha512(orjson.dumps(content)).hexdigest().upper() + '"'
        content_type = f"{answer.media_type};g={AGGREGATED_GROUP};v={answer.version};as={AGGREGATED}"
        return Document(_render(content, answer.media_type), content_type, etag, cache_control="public")

    def _aggregated_of(self, group: str, version: str) -> Object:
        resources = []
        for row in self._rows(group, version):
            entry: Object = {
                "resource": row.ref.plural,
                "responseKind": {"group": "", "version": "", "kind": row.ref.kind},
                "scope": "Namespaced" if row.ref.namespaced else "Cluster",
                "singularResource": row.singular,
                "verbs": sorted(row.verbs),
            }
            if row.short_names:
                entry["shortNames"] = list(row.short_names)
            if row.categories:
                entry["categories"] = list(row.categories)
            if row.subresources:
                entry["subresources"] = [
                    {"subresource": sub.name, "responseKind": _kind_of(row, sub), "verbs": sorted(sub.verbs)}
                    for sub in sorted(row.subresources, key=lambda sub: sub.name)
                ]
            resources.append(entry)
        return {"version": version, "resources": resources, "freshness": "Current"}


def _render(content: Object, media_type: str) -> bytes:
    if media_type == PROTOBUF:
        return encode_discovery(content)
    return to_yaml(content) if media_type == YAML else orjson.dumps(content) + b"\n"


def _group(name: str, versions: list[str]) -> Object:
    listed = [{"groupVersion": f"{name}/{version}", "version": version} for version in versions]
    return {"name": name, "versions": listed, "preferredVersion": listed[0]}


def _kind_of(row: Resource, sub: Subresource) -> Object:
    """Group and version are "" where they are the row's own, which clients then know."""
    group, version = (sub.group, sub.version or row.ref.version) if sub.kind else ("", "")
    if (group, version) == (row.ref.group, row.ref.version):
        group = version = ""
    return {"group": group, "version": version, "kind": sub.kind or row.ref.kind}


def _age(version: str) -> tuple[int, int, int, str]:
    """Sorts stable versions before beta before alpha, and the newer before the older of a kind."""
    match = _VERSION.fullmatch(version)
    if match is None:
        return 3, 0, 0, version
    return ("", "beta", "alpha").index(match[2] or ""), -int(match[1]), -int(match[3] or 0), version


def _resources(rows: Iterable[Resource]) -> Iterable[Object]:
    for row in rows:
        entry: Object = {
            "name": row.ref.plural,
            "singularName": row.singular,
            "namespaced": row.ref.namespaced,
            "kind": row.ref.kind,
            "verbs": sorted(row.verbs),
        }
        if row.short_names:
            entry["shortNames"] = list(row.short_names)
        if row.categories:
            entry["categories"] = list(row.categories)
        if row.storage_prefix:
            ref = row.ref
            stored = _HASHED_AS.get((ref.group, ref.version, ref.kind), f"{ref.group}/{ref.version}")
            digest = hashlib.sha256(f"{stored}/{ref.kind}".encode()).digest()
            entry["storageVersionHash"] = _base64(digest[:8])
        yield entry
        for sub in sorted(row.subresources, key=lambda sub: sub.name):
            kind = _kind_of(row, sub)
            made: Object = {
                "name": f"{row.ref.plural}/{sub.name}",
                "singularName": "",
                "namespaced": row.ref.namespaced,
            }
            if kind["version"]:
                made |= {"group": kind["group"], "version": kind["version"]}
            yield made | {"kind": kind["kind"], "verbs": sorted(sub.verbs)}


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()

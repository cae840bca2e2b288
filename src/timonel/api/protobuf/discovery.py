"""Discovery documents in protobuf: messages that no published schema describes, or that are no kinds.

Source: the meta.k8s.io/v1 and apidiscovery.k8s.io/v2 types of the Kubernetes API, and their .proto files.
"""

from __future__ import annotations

from typing import Any

from timonel.api.objects import Object
from timonel.api.protobuf.answers import enveloped
from timonel.api.protobuf.wire import VARINT, varint
from timonel.api.protobuf.writing import Field, MessageWriter, delimited_field, repeated_field, text_payload


def _text(number: int) -> Field:
    return delimited_field(number, text_payload)


def _texts(number: int) -> Field:
    return repeated_field(_text(number))


def _flag(number: int) -> Field:
    tag = varint(number << 3 | VARINT)

    def write(value: Any, out: bytearray) -> None:
        out += tag
        out.append(bool(value))

    return write


def _message(**fields: Field) -> MessageWriter:
    writer = MessageWriter()
    writer.fields = fields
    return writer


def _one(number: int, message: MessageWriter) -> Field:
    return delimited_field(number, message.payload)


def _many(number: int, message: MessageWriter) -> Field:
    return repeated_field(_one(number, message))


def _list_of_texts(number: int) -> Field:
    """A list that is a message of its own."""
    inner = _message(items=_texts(1))
    return delimited_field(number, lambda value: inner.payload({"items": value}))


_ADDRESS = _message(clientCIDR=_text(1), serverAddress=_text(2))
_GROUP_VERSION = _message(groupVersion=_text(1), version=_text(2))
_GROUP = _message(name=_text(1), versions=_many(2, _GROUP_VERSION), preferredVersion=_one(3, _GROUP_VERSION))
_RESOURCE = _message(
    name=_text(1), namespaced=_flag(2), kind=_text(3), verbs=_list_of_texts(4), shortNames=_texts(5),
    singularName=_text(6), categories=_texts(7), group=_text(8), version=_text(9), storageVersionHash=_text(10),
)  # fmt: skip
_KIND = _message(group=_text(1), version=_text(2), kind=_text(3))
_SUBRESOURCE = _message(subresource=_text(1), responseKind=_one(2, _KIND), verbs=_texts(4))
_RESOURCE_DISCOVERY = _message(
    resource=_text(1), responseKind=_one(2, _KIND), scope=_text(3), singularResource=_text(4), verbs=_texts(5),
    shortNames=_texts(6), categories=_texts(7), subresources=_many(8, _SUBRESOURCE),
)  # fmt: skip
_VERSION_DISCOVERY = _message(version=_text(1), resources=_many(2, _RESOURCE_DISCOVERY), freshness=_text(3))
_METADATA = _message(name=_text(1))
_GROUP_DISCOVERY = _message(metadata=_one(1, _METADATA), versions=_many(2, _VERSION_DISCOVERY))

_DOCUMENTS = {
    "APIVersions": _message(versions=_texts(1), serverAddressByClientCIDRs=_many(2, _ADDRESS)),
    "APIGroupList": _message(groups=_many(1, _GROUP)),
    "APIGroup": _GROUP,
    "APIResourceList": _message(groupVersion=_text(1), resources=_many(2, _RESOURCE)),
    "APIGroupDiscoveryList": _message(items=_many(2, _GROUP_DISCOVERY)),
}


def encode_discovery(document: Object) -> bytes:
    """A document of one of the five kinds, in the usual envelope. Some do not say their version."""
    kind = document["kind"]
    return enveloped(document.get("apiVersion") or "", kind, _DOCUMENTS[kind].payload(document))

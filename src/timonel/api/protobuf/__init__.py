"""Kubernetes' protobuf encoding, to plain JSON objects and from them.

Field numbers are in `numbers/`, a file per API package; names and types of fields come from the published schema, so
no message class and no second description of a kind exists. Answers are JSON for whoever takes both.
Source: kubernetes.io/docs/reference/using-api/api-concepts ("Kubernetes Protobuf encoding"),
protobuf.dev/programming-guides/encoding.
"""

from timonel.api.protobuf.answers import can_encode, encode_event, encode_protobuf
from timonel.api.protobuf.discovery import encode_discovery
from timonel.api.protobuf.envelope import PROTOBUF, decode_protobuf

__all__ = ["PROTOBUF", "can_encode", "decode_protobuf", "encode_discovery", "encode_event", "encode_protobuf"]

"""Request bodies in Kubernetes' protobuf encoding, read straight into plain JSON objects.

Field numbers are in `numbers/`, a file per API package; names and types of fields come from the published schema, so
no message class and no second description of a kind exists. Only requests are read this way: answers are JSON, which
every client that sends protobuf takes as well.
Source: kubernetes.io/docs/reference/using-api/api-concepts ("Kubernetes Protobuf encoding"),
protobuf.dev/programming-guides/encoding.
"""

from timonel.api.protobuf.envelope import PROTOBUF, decode_protobuf

__all__ = ["PROTOBUF", "decode_protobuf"]

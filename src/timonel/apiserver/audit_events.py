"""Audit events as the lines of the log. Pure.

Most of a line is the same as in some line before: who asked, from where, for what. Those parts can be kept, encoded,
by whoever sees the same again; a line then costs 4 µs, where making a dictionary of it and encoding that took 20.
Source: audit.k8s.io/v1 Event, level Metadata
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

import orjson

from timonel.api.clock import format_micro_time
from timonel.api.errors import ApiError
from timonel.apiserver.authn.user import UserInfo
from timonel.apiserver.authz.attributes import Attributes

_QUIET_PATHS = ("/livez", "/readyz", "/healthz", "/metrics", "/version", "/openapi", "/api", "/apis", "/.well-known")
_QUIET_VERBS = frozenset({"get", "head"})

Asked = tuple[str, str]
"""Members of an event that say who asked for what: those before the ones that say from where, and those after."""


def is_quiet(attributes: Attributes) -> bool:
    """Reads of health, discovery and metrics, and the stream of Events, say nothing about who did what."""
    if attributes.resource:
        return attributes.resource == "events"
    path = attributes.path
    return attributes.verb in _QUIET_VERBS and any(
        path == quiet or path.startswith(f"{quiet}/") for quiet in _QUIET_PATHS
    )


def encode_event(
    audit_id: str,
    asked: Asked,
    origin: str,
    outcome: str,
    received: datetime,
    now: datetime,
    annotations: Mapping[str, str],
    stage: str = "ResponseComplete",
) -> bytes:
    """The line, with its end. `audit_id` has letters, digits and dashes; the other texts are what the functions below
    made. `stage` is ResponseComplete, ResponseStarted (watches, streams) or Panic."""
    notes = f',"annotations":{orjson.dumps(annotations).decode()}' if annotations else ""
    return (
        f'{{"kind":"Event","apiVersion":"audit.k8s.io/v1","level":"Metadata","auditID":"{audit_id}","stage":"{stage}"'
        f'{asked[0]}{origin}{asked[1]},"responseStatus":{{"metadata":{{}},{outcome}}},'
        f'"requestReceivedTimestamp":"{format_micro_time(received)}",'
        f'"stageTimestamp":"{format_micro_time(now)}"{notes}}}\n'
    ).encode()


def encode_asked(a: Attributes, request_uri: str, impersonator: UserInfo | None = None) -> Asked:
    """Who asked for what. HTTP has no method with a letter that JSON would have to escape."""
    user = encode_user(a.user)
    if impersonator is not None:
        user = f'{encode_user(impersonator)},"impersonatedUser":{user}'
    return f',"requestURI":{encode_text(request_uri)},"verb":"{a.verb}","user":{user}', _encode_reference(a)


def encode_outcome(code: int, error: ApiError | None) -> str:
    if code < 400:
        return f'"code":{code}'
    reason, message = (error.status_reason, error.message) if error is not None else ("", "")
    text = f',"message":{encode_text(message)}' if message else ""
    text += f',"reason":{encode_text(reason)}' if reason else ""
    return f'"status":"Failure"{text},"code":{code}'


def encode_origin(addresses: Sequence[str], user_agent: str) -> str:
    """The members that say where a request came from."""
    text = f',"sourceIPs":[{",".join(map(encode_text, addresses))}]' if addresses else ""
    return f'{text},"userAgent":{encode_text(user_agent)}' if user_agent else text


def encode_text(text: str) -> str:
    """As a JSON string. Bytes that are no UTF-8, which the parser of heads lets through, are told as escapes."""
    try:
        return orjson.dumps(text).decode()
    except orjson.JSONEncodeError:
        return orjson.dumps(text.encode("utf-8", "backslashreplace").decode()).decode()


def encode_user(user: UserInfo) -> str:
    return orjson.dumps(user.as_object()).decode()


def _encode_reference(a: Attributes) -> str:
    if not a.resource:
        return ""
    reference = {
        "resource": a.resource,
        "namespace": a.namespace,
        "name": a.name,
        "apiGroup": a.group,
        "apiVersion": a.version,
        "subresource": a.subresource,
    }
    members = (f'"{key}":{encode_text(value)}' for key, value in reference.items() if value)
    return f',"objectRef":{{{",".join(members)}}}'

"""What the server answered: documents, refusals, and whether to ask again."""

from __future__ import annotations

import aiohttp
import orjson

from timonel.api.errors import ApiError, InternalError, error_from_status
from timonel.api.objects import Object

_LONGEST_TEXT = 500
"""Characters of an answer that is no Status, in the error that it becomes."""


def read_document(content: bytes) -> Object:
    """Raises InternalError for what is no JSON."""
    try:
        document: Object = orjson.loads(content)
    except orjson.JSONDecodeError as exc:
        raise InternalError(f"the server answered with something that is not JSON: {exc}") from exc
    return document


def seconds_to_wait(response: aiohttp.ClientResponse) -> float | None:
    """Before trying again, when the server asks for that."""
    if response.status != 429 and response.status < 500:
        return None
    header = response.headers.get("Retry-After", "")
    return float(header) if header.isdigit() else None


def error_of(response: aiohttp.ClientResponse, content: bytes) -> ApiError:
    """The error that the server raised; of answers that are no Status, their text."""
    try:
        status = orjson.loads(content)
    except orjson.JSONDecodeError:
        status = None
    if not isinstance(status, dict) or status.get("kind") != "Status":
        text = content.decode("utf-8", "replace").strip()[:_LONGEST_TEXT]
        status = {"message": text or f"the server answered {response.status} {response.reason or ''}".strip()}
    return error_from_status(status, response.status)

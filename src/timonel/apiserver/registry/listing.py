"""Lists: at which revision, in which pages.

A page after the first is read from the store as it was at the first page's revision, so a client sees one state; the
token carries all that is needed, which is why it outlives a restart of the server. Source:
kubernetes.io/docs/reference/using-api/api-concepts ("Retrieving large results sets in chunks", "Resource versions").
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from dataclasses import dataclass

import orjson

from timonel.api.errors import ApiError, BadRequest, Expired, FieldError, Timeout, invalid
from timonel.api.field_errors import Path, forbidden, not_supported, quote
from timonel.api.refs import ResourceRef
from timonel.apiserver.registry.resource_registry import ResourceRegistry
from timonel.apiserver.registry.selection import Selection
from timonel.storage.cached_object import CachedObject
from timonel.storage.protocol import Compacted

_LIST_OPTIONS = ResourceRef("meta.k8s.io", "", "listoptions", "ListOptions")
_TOKEN_VERSION = "meta.k8s.io/v1"
_INCONSISTENT = -1
_CHUNK = 500
"""Entries read at once when a selector thins a page out."""
_LONGEST_REVISION = 20
"""Digits of 64 bits; Python refuses to read numbers of some thousands."""


@dataclass(frozen=True, slots=True)
class ListOptions:
    limit: int = 0
    continue_: str = ""
    resource_version: str = ""
    match: str = ""
    """resourceVersionMatch: "", Exact or NotOlderThan."""
    sends_initial: bool = False
    """sendInitialEvents was given, which only watches know."""


@dataclass(frozen=True, slots=True)
class Page:
    items: Sequence[CachedObject]
    revision: int
    continue_: str = ""
    remaining: int | None = None


async def list_page(registry: ResourceRegistry, selection: Selection, options: ListOptions) -> Page:
    """Raises Expired for a token too old, Timeout for a revision of the future, Invalid for options at odds."""
    if options.continue_:
        check_list_options(options)
        return await _next_page(registry, selection, options)
    revision = 0
    if options.resource_version or options.match or options.sends_initial:
        check_list_options(options)
        try:
            revision = parse_revision(options.resource_version)
        except BadRequest as exc:
            raise BadRequest(f"invalid resource version: {exc.message}") from None
    cache = registry.cache
    if revision > cache.revision:
        raise too_large(revision, cache.revision)
    exact = options.match == "Exact" or (not options.match and bool(options.limit) and revision > 0)
    if exact and revision != cache.revision:
        return await _page_at(registry, selection, revision, "", options.limit)
    return _first_page(registry, selection, options.limit)


def _first_page(registry: ResourceRegistry, selection: Selection, limit: int) -> Page:
    cache = registry.cache
    revision = cache.revision
    items = selection.among(_candidates(registry, selection))
    if not limit or len(items) <= limit:
        return Page(items, revision)
    token = encode_token(revision, items[limit - 1].key)
    remaining = len(items) - limit if selection.matches is None else None
    return Page(items[:limit], revision, token, remaining)


def _candidates(registry: ResourceRegistry, selection: Selection) -> Sequence[CachedObject]:
    cache, resource = registry.cache, registry.resource
    if selection.name and (selection.namespace or not resource.ref.namespaced):
        found = registry.find(selection.namespace, selection.name)
        return [] if found is None else [found]
    if selection.field is not None and cache.is_indexed(selection.field[0]):
        items = cache.list_by_field(*selection.field)
        if selection.namespace:
            return [cached for cached in items if cached.namespace == selection.namespace]
        return items
    return cache.list(resource.storage_range(selection.namespace))


async def _next_page(registry: ResourceRegistry, selection: Selection, options: ListOptions) -> Page:
    revision, after = decode_token(options.continue_)
    prefix = registry.resource.storage_range(selection.namespace)
    if not after.startswith(prefix):
        raise _bad_token("it belongs to another list")
    start = after + "\0"
    if revision == _INCONSISTENT:
        revision = registry.cache.revision
    try:
        return await _page_at(registry, selection, revision, start, options.limit)
    except Compacted as exc:
        error = Expired(
            "The provided continue parameter is too old to display a consistent list result. You can start a new list "
            "without the continue parameter, or use the continue token in this response to retrieve the remainder of "
            "the results. Continuing with the provided token results in an inconsistent list - objects that were "
            "created, modified, or deleted between the time the first chunk was returned and now may show up in the "
            "list."
        )
        error.metadata["continue"] = encode_token(_INCONSISTENT, after)
        raise error from exc


async def _page_at(registry: ResourceRegistry, selection: Selection, revision: int, start: str, limit: int) -> Page:
    """A page of an older state. Raises Compacted."""
    prefix = registry.resource.storage_range(selection.namespace)
    items: list[CachedObject] = []
    matches = selection.matches
    step = limit if limit and matches is None else max(limit, _CHUNK) if limit else 0
    while True:
        try:
            found, more = await registry.cache.list_at(revision, prefix, start=start, limit=step)
        except Compacted as exc:
            if start:
                raise
            raise Expired(
                f"The resourceVersion for the provided list is too old: {exc.requested} ({exc.oldest})"
            ) from exc
        for position, cached in enumerate(found):
            if matches is not None and not matches(cached):
                continue
            items.append(cached)
            remaining = more + len(found) - position - 1
            if limit and len(items) == limit and remaining:
                token = encode_token(revision, cached.key)
                # How many of those to come match a selector, nobody has counted.
                return Page(items, revision, token, remaining if matches is None else None)
        if not more or not found:
            return Page(items, revision)
        start = found[-1].key + "\0"


def encode_token(revision: int, after: str) -> str:
    text = orjson.dumps({"v": _TOKEN_VERSION, "rv": revision, "start": after})
    return base64.urlsafe_b64encode(text).rstrip(b"=").decode()


def decode_token(token: str) -> tuple[int, str]:
    """Revision and the last key handed out. Raises BadRequest."""
    try:
        content = orjson.loads(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)))
    except (binascii.Error, ValueError) as exc:
        raise _bad_token(str(exc)) from exc
    if not isinstance(content, dict):
        raise _bad_token("it holds no object")
    version, revision, after = content.get("v", ""), content.get("rv", 0), content.get("start", "")
    if version != _TOKEN_VERSION:
        raise _bad_token(f"server does not recognize this encoded version {version}")
    if not isinstance(revision, int) or revision == 0 or revision < _INCONSISTENT:
        raise _bad_token(f"incorrect encoded start resourceVersion (version {_TOKEN_VERSION})")
    if not isinstance(after, str) or not after:
        raise _bad_token(f"encoded start key empty (version {_TOKEN_VERSION})")
    return revision, after


def _bad_token(why: str) -> BadRequest:
    return BadRequest(f"invalid continue token: continue key is not valid: {why}")


def parse_revision(text: str) -> int:
    """A resourceVersion as number; "" and "0" are 0. Raises BadRequest."""
    if not text:
        return 0
    if not (text.isascii() and text.isdigit()):
        shown = quote(text)
        raise BadRequest(f"resourceVersion: Invalid value: {shown}: strconv.ParseUint: parsing {shown}: invalid syntax")
    if len(text) > _LONGEST_REVISION or int(text) >= 1 << 64:
        shown = quote(text)
        why = f"strconv.ParseUint: parsing {shown}: value out of range"
        raise BadRequest(f"resourceVersion: Invalid value: {shown}: {why}")
    return int(text)


def too_large(requested: int, current: int) -> ApiError:
    """Upstream's answer to a revision it has not seen yet; clients know it by its cause and try again."""
    message = f"Timeout: Too large resource version: {requested}, current: {current}"
    causes = [{"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}]
    return Timeout(message, details={"causes": causes, "retryAfterSeconds": 1})


def check_list_options(options: ListOptions) -> None:
    """Raises Invalid for combinations upstream refuses. Source: KEP-2340, "resourceVersionMatch"."""
    found: list[FieldError] = []
    path = Path("resourceVersionMatch")
    if options.match:
        if not options.resource_version:
            found.append(forbidden(path, "resourceVersionMatch is forbidden unless resourceVersion is provided"))
        if options.continue_:
            found.append(forbidden(path, "resourceVersionMatch is forbidden when continue is provided"))
        if options.match not in ("Exact", "NotOlderThan"):
            found.append(not_supported(path, options.match, ("Exact", "NotOlderThan", "")))
        if options.match == "Exact" and options.resource_version == "0":
            found.append(forbidden(path, 'resourceVersionMatch "exact" is forbidden for resourceVersion "0"'))
    if options.sends_initial:
        found.append(forbidden(Path("sendInitialEvents"), "sendInitialEvents is forbidden for list"))
    if found:
        raise invalid(_LIST_OPTIONS, "", found)
    if options.continue_ and options.resource_version and options.resource_version != "0":
        raise BadRequest("specifying resource version is not allowed when using continue")

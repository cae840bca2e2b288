"""Which form of an answer the client takes: JSON, YAML or protobuf; the object itself, a Table, or its metadata alone.

Two questions, as upstream asks them: does the client name a type at all that is spoken here, and is there a clause
whose parameters can be honoured. Quality values order the clauses; even 0 refuses nothing. An error is sent in the
first form that is fit for errors (`negotiate_error`), and as indented JSON when there is none.
Source: kubernetes.io/docs/reference/using-api/api-concepts ("Receiving resources as Tables", "Resource encodings").
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from timonel.api.errors import NotAcceptable

JSON = "application/json"
YAML = "application/yaml"
PROTOBUF = "application/vnd.kubernetes.protobuf"
MEDIA_TYPES = (JSON, YAML, PROTOBUF)
"""In the server's own order of preference."""

_PRETTY_AGENTS = ("curl", "Wget", "Mozilla/5.0")
_TRUE = frozenset({"1", "t", "T", "TRUE", "true", "True"})
_MAX_REMEMBERED = 500
"""Characters: longer headers than any client's own are read anew each time, so that they cannot fill the memory."""
AGGREGATED = "APIGroupDiscoveryList"
AGGREGATED_GROUP = "apidiscovery.k8s.io"

_Form = tuple[str, str, str]
"""Group, version and kind that something can be shown as, beside its own."""
_FORMS_OF_OBJECTS = frozenset(
    ("meta.k8s.io", version, kind)
    for version in ("v1", "v1beta1")
    for kind in ("Table", "PartialObjectMetadata", "PartialObjectMetadataList")
)
_FORMS_OF_ROOTS = frozenset({(AGGREGATED_GROUP, "v2", AGGREGATED)})


@dataclass(frozen=True, slots=True)
class Answer:
    """`transform` is "", "Table", "PartialObjectMetadata", "PartialObjectMetadataList" or, of discovery,
    "APIGroupDiscoveryList"; `version` is of that."""

    media_type: str = JSON
    transform: str = ""
    version: str = "v1"
    stream: bool = False
    """The client named `stream=watch`, as watching clients do."""
    pretty: bool = False
    """Indented, whatever the query says."""


@dataclass(frozen=True, slots=True)
class _Clause:
    kind: str
    parameters: dict[str, str]
    quality: float


def is_pretty(option: list[str] | None, user_agent: str) -> bool:
    """Indented output: asked for by ?pretty, or taken for granted with people's own tools."""
    if option and option[0]:
        return option[0] in _TRUE
    return user_agent.startswith(_PRETTY_AGENTS)


def negotiate(accept: str, *, protobuf: bool = True, tables: bool = True) -> Answer:
    """The first acceptable clause in the client's order of preference. Raises NotAcceptable.

    `protobuf` says whether the kind has a message; metadata always has one. Who takes JSON too gets JSON: it is at
    hand, while protobuf has to be made. `tables`: whether it can be printed, as everything but reviews can.
    """
    return _remembered(accept, _FORMS_OF_OBJECTS, protobuf, tables)


def negotiate_discovery(accept: str, *, is_root: bool) -> Answer:
    """The form of a document of discovery. The roots, /api and /apis, can be shown with all below them, aggregated.

    Raises NotAcceptable.
    """
    return _remembered(accept, _FORMS_OF_ROOTS if is_root else frozenset(), True, True)


def _remembered(accept: str, forms: frozenset[_Form], protobuf: bool, tables: bool) -> Answer:
    if not accept:
        return Answer()
    if len(accept) > _MAX_REMEMBERED:
        return _negotiate.__wrapped__(accept, forms, protobuf, tables)
    return _negotiate(accept, forms, protobuf, tables)


@lru_cache(maxsize=512)
def _negotiate(accept: str, forms: frozenset[_Form], protobuf: bool, tables: bool) -> Answer:
    check_named(accept, MEDIA_TYPES)
    found = [answer for clause in _clauses(accept) if (answer := _answer(clause, forms, protobuf)) is not None]
    if not tables:
        found = [answer for answer in found if answer.transform != "Table"]
    if forms is _FORMS_OF_ROOTS:
        found.sort(key=lambda answer: not answer.transform)  # aggregated, whenever that is named at all
    if found:
        return _prefer_json(found)
    spoken = MEDIA_TYPES if protobuf else MEDIA_TYPES[:2]
    raise NotAcceptable(f"only the following media types are accepted: {', '.join(spoken)}")


def negotiate_error(accept: str) -> Answer:
    """The form of a Status: never transformed, and indented JSON for clients that take none of ours."""
    if not accept:
        return Answer()
    plain = [clause for clause in _clauses(accept) if "sv" not in clause.parameters and not _target(clause)]
    found = [answer for clause in plain if (answer := _answer(clause, frozenset())) is not None]
    return _prefer_json(found) if found else Answer(pretty=True)


def check_named(accept: str, offered: Sequence[str]) -> None:
    """Raises NotAcceptable when a header names none of the types, and not any type either."""
    if accept and not any(part.partition(";")[0].strip() in (*offered, "*/*") for part in accept.split(",")):
        raise _not_acceptable(offered)


def first_type(accept: str, offered: Sequence[str]) -> str:
    """Which of the types a client likes best, for documents that have one form in each. Raises NotAcceptable."""
    for clause in _clauses(accept or "*/*"):
        main, _, sub = clause.kind.partition("/")
        for media_type in offered:
            its_main, _, its_sub = media_type.partition("/")
            if main in (its_main, "*") and sub in (its_sub, "*"):
                return media_type
    raise _not_acceptable(offered)


def _not_acceptable(offered: Sequence[str]) -> NotAcceptable:
    return NotAcceptable(f"406: Not Acceptable\n\nAvailable representations: {', '.join(offered)}", details={})


def check_list_form(answer: Answer, kind: str, *, is_list: bool) -> None:
    """Raises NotAcceptable when metadata of a list is asked of one object, or the other way round."""
    if answer.transform == "PartialObjectMetadata" and is_list:
        raise NotAcceptable(f"you requested PartialObjectMetadata, but the requested object is a list ({kind}List)")
    if answer.transform == "PartialObjectMetadataList" and not is_list:
        raise NotAcceptable(f"you requested PartialObjectMetadataList, but the requested object is not a list ({kind})")


def _answer(clause: _Clause, forms: frozenset[_Form], protobuf: bool = True) -> Answer | None:
    """What the clause asks for; None if that cannot be had."""
    parameters = clause.parameters
    if parameters.get("stream", "watch") not in ("watch", "") or parameters.get("sv", "v1") not in ("v1", ""):
        return None
    transform = parameters.get("as", "")
    version = parameters.get("v", "v1") if transform else "v1"
    if _target(clause) and (parameters.get("g", ""), parameters.get("v", ""), transform) not in forms:
        return None
    for media_type in MEDIA_TYPES:
        if clause.kind not in (media_type, "application/*", "*/*"):
            continue
        if media_type == PROTOBUF and (transform == "Table" or not (protobuf or transform)):
            continue
        return Answer(
            media_type, transform, version, parameters.get("stream") == "watch", parameters.get("pretty") == "1"
        )
    return None


def _prefer_json(found: list[Answer]) -> Answer:
    first = found[0]
    if first.media_type == PROTOBUF:
        for other in found:
            if other.media_type == JSON and (other.transform, other.version) == (first.transform, first.version):
                return other
    return first


def _target(clause: _Clause) -> bool:
    """Whether the clause asks for another kind than the resource's own, even if incompletely."""
    return not clause.parameters.keys().isdisjoint(("as", "g", "v"))


def _clauses(accept: str) -> list[_Clause]:
    clauses = []
    for text in accept.split(","):
        kind, *rest = text.split(";")
        main, _, sub = (part.strip() for part in kind.partition("/"))
        if main == "*" and not sub:
            sub = "*"
        if not sub or "/" in sub:
            continue
        parameters = {}
        quality = 1.0
        for item in rest:
            key, _, value = item.partition("=")
            if not value or "=" in value:
                continue
            if key.strip() == "q":
                try:
                    quality = float(value)
                except ValueError:
                    quality = 0.0
            else:
                parameters[key.strip()] = value.strip()
        clauses.append(_Clause(f"{main}/{sub}", parameters, quality))
    # Then those that name their type exactly.
    return sorted(clauses, key=lambda clause: (-clause.quality, clause.kind.count("*")))

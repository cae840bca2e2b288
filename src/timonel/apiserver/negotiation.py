"""Which form of an answer the client takes: JSON or YAML; the object itself, a Table, or its metadata alone.

Protobuf is read in bodies and never written: a client that lists JSON too gets JSON, one that does not gets 406.
Source: kubernetes.io/docs/reference/using-api/api-concepts ("Receiving resources as Tables", "Resource encodings").
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from timonel.api.errors import NotAcceptable

JSON = "application/json"
YAML = "application/yaml"
PROTOBUF = "application/vnd.kubernetes.protobuf"
"""Read in request bodies, never written."""
_PRETTY_AGENTS = ("curl", "Wget", "Mozilla/5.0")
_TRANSFORMS = ("Table", "PartialObjectMetadata", "PartialObjectMetadataList")


@dataclass(frozen=True, slots=True)
class Answer:
    """`transform` is "", "Table", "PartialObjectMetadata" or "PartialObjectMetadataList"; `version` is of that."""

    media_type: str = JSON
    transform: str = ""
    version: str = "v1"
    stream: bool = False
    """The client named `stream=watch`, as watching clients do."""


@dataclass(frozen=True, slots=True)
class _Clause:
    kind: str
    parameters: dict[str, str]
    quality: float


def is_pretty(option: list[str] | None, user_agent: str) -> bool:
    """Indented output: asked for by ?pretty, or taken for granted with people's own tools."""
    if option:
        return option[0].lower() not in ("false", "0", "f")
    return user_agent.startswith(_PRETTY_AGENTS)


@lru_cache(maxsize=512)
def negotiate(accept: str, *, transforms: bool = True) -> Answer:
    """The first acceptable clause in the client's order of preference. Raises NotAcceptable.

    `transforms` says whether Table and PartialObjectMetadata can be made of this resource.
    """
    if not accept:
        return Answer()
    for clause in _clauses(accept):
        media_type = _media_type(clause.kind)
        if media_type is None:
            continue
        wanted = clause.parameters.get("as", "")
        version = "v1"
        if wanted:
            version = clause.parameters.get("v", "v1")
            if (
                not transforms
                or wanted not in _TRANSFORMS
                or clause.parameters.get("g", "") != "meta.k8s.io"
                or version not in ("v1", "v1beta1")
            ):
                continue
        return Answer(media_type, wanted, version, "stream" in clause.parameters)
    raise NotAcceptable(f"only the following media types are accepted: {JSON}, {YAML}")


def _media_type(kind: str) -> str | None:
    if kind in (JSON, "*/*", "application/*"):
        return JSON
    return YAML if kind == YAML else None


def _clauses(accept: str) -> list[_Clause]:
    clauses = []
    for text in accept.split(","):
        kind, *rest = text.split(";")
        parameters = {}
        quality = 1.0
        for item in rest:
            key, _, value = item.strip().partition("=")
            if key == "q":
                try:
                    quality = float(value)
                except ValueError:
                    quality = 0.0
            else:
                parameters[key] = value
        if kind.strip() and quality > 0:
            clauses.append(_Clause(kind.strip().lower(), parameters, quality))
    return sorted(clauses, key=lambda clause: -clause.quality)

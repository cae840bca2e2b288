"""Image names. Pure. Source: github.com/distribution/reference, the grammar at its top."""

from __future__ import annotations

import re

_COMPONENT = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_HOST = r"(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])(?:\.(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9]))*"
_DOMAIN = rf"(?:{_HOST}|\[[a-fA-F0-9:]+\])(?::[0-9]+)?"
_REFERENCE = re.compile(
    rf"(?P<name>(?:{_DOMAIN}/)?{_COMPONENT}(?:/{_COMPONENT})*)"
    r"(?::(?P<tag>\w[\w.-]{0,127}))?"
    r"(?:@(?P<digest>[A-Za-z][A-Za-z0-9]*(?:[-_+.][A-Za-z][A-Za-z0-9]*)*:[0-9a-fA-F]{32,}))?",
    re.ASCII,
)
_ID = re.compile(r"(sha256:)?[0-9a-f]{64}")


class InvalidImageName(ValueError):
    """As upstream words it, after `couldn't parse image name`."""


def with_default_tag(image: str) -> str:
    """`nginx` -> `nginx:latest`; a tag, a digest or an image id stays as it is. Raises InvalidImageName."""
    if _ID.fullmatch(image):
        return image
    match = _REFERENCE.fullmatch(image)
    if match is None:
        raise InvalidImageName(f'couldn\'t parse image name "{image}": invalid reference format')
    if match["tag"] or match["digest"]:
        return image
    return f"{image}:latest"


def repository(image: str) -> tuple[str, str]:
    """(registry host, path) as a registry is asked for it: `nginx` -> ("docker.io", "library/nginx")."""
    match = _REFERENCE.fullmatch(image)
    name = match["name"] if match else image
    first, _, rest = name.partition("/")
    if rest and ("." in first or ":" in first or first == "localhost"):
        return ("docker.io" if first == "index.docker.io" else first), rest
    return "docker.io", name if rest else f"library/{name}"


def full_name(image: str) -> str:
    """As runtimes list it: `nginx` -> "docker.io/library/nginx:latest"; an image id, or no name at all, stays."""
    match = _REFERENCE.fullmatch(image)
    if match is None or _ID.fullmatch(image):
        return image
    end = f"@{match['digest']}" if match["digest"] else f":{match['tag'] or 'latest'}"
    return "/".join(repository(image)) + end

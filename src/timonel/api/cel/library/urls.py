"""URLs, absolute ones or paths from the root.

Source: kubernetes.io/docs/reference/using-api/cel/#kubernetes-url-library
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import parse_qs, quote, unquote, urlsplit

from timonel.api.cel.issues import EvaluationError
from timonel.api.cel.overloads import Overload, declare
from timonel.api.cel.types import Type, struct_of
from timonel.api.cel.values import Opaque

URL = struct_of("kubernetes.URL")
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")
_BAD_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_KEPT = "/:@!$&'()*+,;=~-._"


@dataclass(frozen=True, slots=True)
class Url(Opaque):
    scheme: str
    host: str
    path: str  # as it was written
    query: str
    cel_type: Type = URL

    def hostname(self) -> str:
        if self.host.startswith("["):
            return self.host[1:].partition("]")[0]
        return self.host.partition(":")[0]

    def port(self) -> str:
        rest = self.host.rpartition("]")[2]
        return rest.rpartition(":")[2] if ":" in rest else ""


def parse_url(text: str) -> Url:
    """Raises EvaluationError for what is neither absolute nor a path from the root."""
    why = ""
    if _CONTROL.search(text):
        why = "net/url: invalid control character in URL"
    elif not text:
        why = "empty url"
    elif not text.startswith("/") and not _SCHEME.match(text):
        why = "missing protocol scheme" if text.startswith(":") else "invalid URI for request"
    elif found := _BAD_ESCAPE.search(text):
        why = f'invalid URL escape "{text[found.start() : found.start() + 3]}"'
    try:
        parts = urlsplit(text)
        if _SCHEME.match(text) and not text.partition(":")[2].startswith("/"):
            return Url(parts.scheme, "", "", "")  # such as mailto:a@b
        host = parts.netloc.rpartition("@")[2]
        if not why and " " in host:
            why = 'invalid character " " in host name'
        port = host.rpartition("]")[2].partition(":")[2]
        if not why and port and not port.isdigit():
            why = f'invalid port ":{port}" after host'
    except ValueError as exc:
        why = str(exc)
    if why:
        raise EvaluationError(f'URL parse error during conversion from string: parse "{text}": {why}')
    return Url(parts.scheme, unquote(host) if host.startswith("[") else host, parts.path, parts.query)


def _is_url(text: str) -> bool:
    try:
        parse_url(text)
    except EvaluationError:
        return False
    return True


def _query(url: Url) -> dict[str, list[str]]:
    return parse_qs(url.query, keep_blank_values=True)


URLS: tuple[Overload, ...] = (
    declare("string_to_url", "url", "(string) -> kubernetes.URL", parse_url),
    declare("url_get_scheme", "getScheme", "kubernetes.URL.() -> string", lambda url: url.scheme),
    declare("url_get_host", "getHost", "kubernetes.URL.() -> string", lambda url: url.host),
    declare("url_get_hostname", "getHostname", "kubernetes.URL.() -> string", Url.hostname),
    declare("url_get_port", "getPort", "kubernetes.URL.() -> string", Url.port),
    declare(
        "url_get_escaped_path", "getEscapedPath", "kubernetes.URL.() -> string",
        lambda url: quote(url.path, safe=_KEPT + "%"),
    ),
    declare("url_get_query", "getQuery", "kubernetes.URL.() -> map(string, list(string))", _query),
    declare("is_url_string", "isURL", "(string) -> bool", _is_url),
)  # fmt: skip

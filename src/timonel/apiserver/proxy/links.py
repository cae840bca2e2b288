"""Links of a proxied web page, led back through the proxy. Pure: text in, text out.

A page behind services/proxy that says `<a href="/about">` means its own server; the browser would ask the API server.
Such links get the proxied path in front; relative ones and those to other hosts stay. Everything else of the page is
passed on as it is, so what cannot be read as a tag does no harm. Cost: linear in the page.

Source: html.spec.whatwg.org (attributes that hold URLs), kubernetes.io/docs/tasks/administer-cluster/
access-cluster-services.
"""

from __future__ import annotations

import re
import zlib
from dataclasses import dataclass
from urllib.parse import urlsplit, urlunsplit

MAX_PAGE_BYTES = 8 << 20
"""Larger pages are passed on unread."""

_LINKS: dict[str, frozenset[str]] = {
    tag: frozenset(names.split())
    for tag, names in {
        "a": "href", "applet": "codebase", "area": "href", "audio": "src", "base": "href", "blockquote": "cite",
        "body": "background", "button": "formaction", "command": "icon", "del": "cite", "embed": "src",
        "form": "action", "frame": "longdesc src", "head": "profile", "html": "manifest", "iframe": "longdesc src",
        "img": "longdesc src usemap", "input": "formaction src usemap", "ins": "cite", "link": "href",
        "object": "classid codebase data usemap", "q": "cite", "script": "src", "source": "src", "video": "poster src",
    }.items()
}  # fmt: skip
_RAW = frozenset({"script", "style", "textarea", "title"})
"""Elements whose text may look like tags and is none."""
_NAME = re.compile(r"<([a-zA-Z][^\s/>]*+)")
_REST = re.compile(r"""(?:[^>"']++|"[^"]*+"|'[^']*+')*+>""")
_ATTRIBUTE = re.compile(r"""([^\s"'>/=]++)(\s*+=\s*+)("[^"]*+"|'[^']*+'|[^\s"'>]++)""")


@dataclass(frozen=True, slots=True)
class Proxied:
    """Where a page is from, and where it is seen."""

    prefix: str
    """Path of the proxy: "/api/v1/namespaces/default/services/web/proxy"."""
    own_hosts: frozenset[str]
    """The application's, as others may name it: host and port."""

    def lead(self, link: str) -> str:
        """The link as it must be to come back here."""
        try:
            parts = urlsplit(link)
        except ValueError:
            return link
        if parts.netloc and parts.netloc not in self.own_hosts:
            return link
        path = parts.path or ("/" if parts.netloc else "")
        if not path.startswith("/"):
            return link
        if path != self.prefix and not path.startswith(f"{self.prefix}/"):
            path = self.prefix + path
        return urlunsplit(("", "", path, parts.query, parts.fragment))

    def lead_page(self, page: bytes) -> bytes:
        """The page with its links led back; in any encoding that has ASCII in it."""
        return self._lead_text(page.decode("latin-1")).encode("latin-1")

    def _lead_text(self, text: str) -> str:
        done: list[str] = []
        copied = at = 0
        lower = ""
        while (start := text.find("<", at)) >= 0:
            if text.startswith("<!--", start):
                at = _after(text, "-->", start + 4)
                continue
            name = _NAME.match(text, start)
            if name is None:
                at = start + 1
                continue
            rest = _REST.match(text, name.end())
            if rest is None:
                break  # a tag that does not end: the page breaks off here
            tag = name[1].lower()
            if tag in _LINKS:
                done += (text[copied : name.end()], self._lead_attributes(rest[0], _LINKS[tag]))
                copied = rest.end()
            at = rest.end()
            if tag in _RAW:
                lower = lower or text.lower()
                at = _after(lower, f"</{tag}", at)
        done.append(text[copied:])
        return "".join(done)

    def _lead_attributes(self, text: str, names: frozenset[str]) -> str:
        def changed(found: re.Match[str]) -> str:
            if found[1].lower() not in names:
                return found[0]
            mark = found[3][0] if found[3][0] in "\"'" else ""
            link = found[3][1:-1] if mark else found[3]
            return f"{found[1]}{found[2]}{mark}{self.lead(link)}{mark}"

        return _ATTRIBUTE.sub(changed, text)


def _after(text: str, end: str, at: int) -> int:
    """Behind the next `end`; the whole text when there is none."""
    found = text.find(end, at)
    return len(text) if found < 0 else found + len(end)


def unpacked(body: bytes, encoding: str) -> bytes | None:
    """The body without its Content-Encoding; None for one not known, a broken one and one that is too large."""
    if encoding in ("", "identity"):
        return body
    if encoding not in ("gzip", "deflate"):
        return None
    # What goes by "deflate" is zlib's format by RFC 9110, and the bare stream in practice.
    for window in (31,) if encoding == "gzip" else (15, -15):
        stream = zlib.decompressobj(window)
        try:
            whole = stream.decompress(body, MAX_PAGE_BYTES)
        except zlib.error:
            continue
        # What follows the end is another member, which would be lost.
        return whole if stream.eof and not stream.unused_data else None
    return None

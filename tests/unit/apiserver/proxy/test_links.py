"""Links of proxied pages: those that mean the application's own server come back through the proxy."""

from __future__ import annotations

import gzip
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from timonel.apiserver.proxy.links import MAX_PAGE_BYTES, Proxied, unpacked

PREFIX = "/api/v1/namespaces/default/services/web/proxy"
PROXIED = Proxied(PREFIX, frozenset({"10.244.0.7:80", "api.example:6443"}))


@pytest.mark.parametrize(
    ("link", "led"),
    [
        ("/about", f"{PREFIX}/about"),
        ("/", f"{PREFIX}/"),
        ("/a/?q=1&amp;r=2#part", f"{PREFIX}/a/?q=1&amp;r=2#part"),
        ("http://10.244.0.7:80/about", f"{PREFIX}/about"),
        ("http://10.244.0.7:80", f"{PREFIX}/"),
        ("https://api.example:6443/about", f"{PREFIX}/about"),
        (f"{PREFIX}/about", f"{PREFIX}/about"),
        ("about", "about"),
        ("../about", "../about"),
        ("#part", "#part"),
        ("", ""),
        ("mailto:jane@example.org", "mailto:jane@example.org"),
        ("http://elsewhere.example/about", "http://elsewhere.example/about"),
        ("//elsewhere.example/about", "//elsewhere.example/about"),
        ("http://[broken/about", "http://[broken/about"),
    ],
)
def test_a_link(link: str, led: str) -> None:
    assert PROXIED.lead(link) == led


@pytest.mark.parametrize(
    ("page", "led"),
    [
        (b'<a href="/rewriteme">test</a>', b'<a href="%s/rewriteme">test</a>'),
        (b"<IMG SRC='/x.png'/>", b"<IMG SRC='%s/x.png'/>"),
        (b"<a class=b href=/x>y</a>", b"<a class=b href=%s/x>y</a>"),
        (b'<a\n title="a > b"\n href = "/x" >', b'<a\n title="a > b"\n href = "%s/x" >'),
        (b'<form action="/send"><input value="/no">', b'<form action="%s/send"><input value="/no">'),
        (b'<p title="/no" href="/no">', b'<p title="/no" href="/no">'),
        (b'<!-- <a href="/no"> --><a href="/x">', b'<!-- <a href="/no"> --><a href="%s/x">'),
        (b'<script>"<a href=\'/no\'>"</script><a href="/x">', b'<script>"<a href=\'/no\'>"</script><a href="%s/x">'),
        (b'<script src="/s.js"></script>', b'<script src="%s/s.js"></script>'),
        (b'\xc3\xa9 \xff <a href="/x">', b'\xc3\xa9 \xff <a href="%s/x">'),
        (b'1 < 2 <a href="/x">', b'1 < 2 <a href="%s/x">'),
        (b'<a href="/x"', b'<a href="/x"'),
        (b'<a href="/x>', b'<a href="/x>'),
        (b"", b""),
    ],
)
def test_a_page(page: bytes, led: bytes) -> None:
    assert PROXIED.lead_page(page) == led.replace(b"%s", PREFIX.encode())


@given(st.binary(max_size=300) | st.text("<>a/!-= \"'hrefscipt\n", max_size=300).map(str.encode))
def test_whatever_a_page_is_only_links_are_put_in(page: bytes) -> None:
    assert PROXIED.lead_page(page).replace(PREFIX.encode(), b"") == page


def test_packed_pages() -> None:
    bare = zlib.compressobj(wbits=-15)
    assert unpacked(gzip.compress(b"page"), "gzip") == b"page"
    assert unpacked(zlib.compress(b"page"), "deflate") == b"page"
    assert unpacked(bare.compress(b"page") + bare.flush(), "deflate") == b"page"
    assert unpacked(b"page", "") == b"page"


def test_what_cannot_be_read_is_left() -> None:
    assert unpacked(b"page", "br") is None
    assert unpacked(b"page", "gzip") is None
    assert unpacked(gzip.compress(b"page")[:-4], "gzip") is None
    assert unpacked(gzip.compress(bytes(MAX_PAGE_BYTES + 1)), "gzip") is None
    assert unpacked(gzip.compress(b"page") + gzip.compress(b"more"), "gzip") is None, "a part of it would be lost"

"""What is no HTTP, or too much of it: an answer and the end of the connection."""

from __future__ import annotations

import pytest

from timonel.testing.waiting import stays

MIB = 1024 * 1024


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"\x00\x01\x02\r\n\r\n", 400),
        (b"hello\r\n\r\n", 400),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
        (b"GET /healthz HTTP/9.9\r\nHost: x\r\n\r\n", 400),
        (b"GET /healthz HTTP/1.1\r\n\r\n", 400),
        (b"GET /healthz HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n", 400),
        (b"GET healthz HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        (b"GET /heal thz HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        (b"GET /healthz HTTP/1.1\r\nHost: x\r\nA B: c\r\n\r\n", 400),
        (b"GET /healthz HTTP/1.1\r\nHost: x\r\n: c\r\n\r\n", 400),
        (b"GET /healthz HTTP/1.1\r\nHost: x\r\nA: b\x00\r\n\r\n", 400),
        (b"POST /api HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n", 400),
        (b"POST /api HTTP/1.1\r\nHost: x\r\nContent-Length: abc\r\n\r\n", 400),
        (b"POST /api HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n", 400),
        (b"POST /api HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
        (b"GET /healthz HTTP/1.1\r\nHost: x\r\nX: " + b"a" * 2 * MIB + b"\r\n\r\n", 431),
        (b"GET /" + b"a" * 2 * MIB + b" HTTP/1.1\r\nHost: x\r\n\r\n", 431),
        (b"GET /healthz HTTP/1.1\r\nHost: x\r\n" + b"X: a\r\n" * 300_000 + b"\r\n", 431),
    ],
    ids=lambda value: value[:40] if isinstance(value, bytes) else None,
)
async def test_the_reason_and_the_end(rough, data, status):
    line = await rough.connect()
    try:
        await line.send(data)
    except ConnectionError:
        return  # it hung up before it had read all: that is an end as well
    answer = await line.rest()
    if len(data) < MIB or answer:
        assert answer.startswith(b"HTTP/1.1 %d " % status)
        assert b"Server:" not in answer
        assert b"aiohttp" not in answer
        assert b"Connection: close" in answer


@pytest.mark.parametrize(
    "extra",
    [b"X: " + b"a" * 300_000 + b"\r\n", b"".join(b"X-%d: a\r\n" % number for number in range(500))],
    ids=["long", "many"],
)
async def test_large_heads_below_the_limit_are_read(rough, extra):
    line = await rough.connect()
    await line.send(b"GET /healthz HTTP/1.1\r\nHost: x\r\n" + extra + b"\r\n")
    assert await line.answer() == (200, b"ok")


async def test_headers_without_an_end_are_not_kept(rough):
    line = await rough.connect()
    sent = 0
    try:
        await line.send(b"GET /healthz HTTP/1.1\r\nHost: x\r\n")
        while sent < 20 * MIB:
            await line.send(b"X: y\r\n" * 1000)
            sent += 6000
    except ConnectionError:
        pass
    assert sent < 20 * MIB, "it was hung up on, after what the sockets hold"
    assert b" 200 " not in await line.rest()


@pytest.mark.parametrize("data", [b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"\x16\x03\x01\xff\xff", b"\x00" * 500])
async def test_no_tls_at_all(rough, data):
    line = await rough.connect(tls=False)
    await line.send(data)
    line.writer.write_eof()
    answer = await line.rest()
    assert not answer or answer[0] == 21, "an alert at most"


@pytest.mark.server(request_head_seconds=0.2)
@pytest.mark.parametrize("sent", [b"", b"GET /healthz HT", b"GET /healthz HTTP/1.1\r\nHost: x\r\nA: b\r\n"])
async def test_heads_that_do_not_come_in_time(rough, sent):
    line = await rough.connect()
    await line.send(sent)
    assert await line.rest() == b""


@pytest.mark.server(request_head_seconds=0.3)
async def test_the_second_head_must_come_in_time_too_but_may_begin_late(rough):
    line = await rough.connect()
    await line.send(rough.head("GET", "/healthz"))
    assert await line.answer() == (200, b"ok")
    await stays(lambda: not line.reader.at_eof(), seconds=0.5)  # idle, which is no offence
    await line.send(rough.head("GET", "/healthz"))
    assert await line.answer() == (200, b"ok")
    await line.send(b"GET /healthz HTTP/1.1\r\n")
    assert await line.rest() == b""


@pytest.mark.server(request_timeout_seconds=0.2)
async def test_bodies_that_do_not_come_in_time(rough):
    line = await rough.connect()
    whole = rough.post("slow", 1000)
    await line.send(whole[:-500])
    status, body = await line.answer()
    assert status == 504
    assert b'"reason":"Timeout"' in body
    assert await line.rest() == b""


async def test_pipelined_requests_are_answered_in_order(rough):
    line = await rough.connect()
    paths = ["/healthz", "/version", "/nothing", "/livez/ping", "/readyz/none"] * 20
    await line.send(b"".join(rough.head("GET", path) for path in paths))
    expected = [200, 200, 404, 200, 404] * 20
    assert [(await line.answer())[0] for _ in paths] == expected


async def test_http_1_0_closes_and_gets_no_chunks(rough):
    line = await rough.connect()
    await line.send(rough.head("GET", "/healthz", version="1.0"))
    assert (await line.rest()).endswith(b"\r\n\r\nok")
    line = await rough.connect()
    path = "/api/v1/namespaces?watch=true&timeoutSeconds=1"
    await line.send(rough.head("GET", path, version="1.0"))
    answer = await line.rest()
    assert b"chunked" not in answer
    assert b'\r\n\r\n{"type":"ADDED"' in answer


async def test_expectations(rough):
    line = await rough.connect()
    await line.send(rough.head("POST", "/api/v1/namespaces", "Expect: miracles", "Content-Length: 2") + b"{}")
    assert (await line.answer())[0] == 417
    line = await rough.connect()
    head, body = rough.post("expected").split(b"\r\n\r\n")
    await line.send(head + b"\r\nExpect: 100-continue\r\n\r\n")
    assert await line.answer() == (100, b"")
    await line.send(body)
    assert (await line.answer())[0] == 201


async def test_content_encodings_are_not_looked_at(rough):
    """So that nothing small unpacks to something large."""
    line = await rough.connect()
    await line.send(rough.post("plain").replace(b"\r\n\r\n", b"\r\nContent-Encoding: gzip\r\n\r\n", 1))
    assert (await line.answer())[0] == 201


async def test_chunked_bodies(rough):
    line = await rough.connect()
    head = rough.head("POST", "/api/v1/namespaces", "Content-Type: application/json", "Transfer-Encoding: chunked")
    await line.send(head + b'16\r\n{"metadata": {"name": \r\n6\r\n"chu"}\r\n1\r\n}\r\n0\r\n\r\n')
    assert (await line.answer())[0] == 201
    await line.send(head + b"zz\r\n{}\r\n0\r\n\r\n")
    assert (await line.answer())[0] == 400
    assert await line.rest() == b""


async def test_chunked_bodies_have_the_same_limit(rough):
    line = await rough.connect()
    await line.send(
        rough.head("POST", "/api/v1/namespaces", "Content-Type: application/json", "Transfer-Encoding: chunked")
    )
    try:
        for _ in range(64):
            await line.send(b"10000\r\n" + b" " * 65536 + b"\r\n")
    except ConnectionError:
        return
    status, body = await line.answer()
    assert (status, b"limit is 3145728" in body) == (413, True)

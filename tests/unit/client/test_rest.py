"""The client against a small HTTP server: TLS, sockets, errors, retries, watch streams."""

import asyncio
import datetime
import ssl
from contextlib import aclosing, asynccontextmanager

import orjson
import pytest
from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from timonel.api.errors import AlreadyExists, Expired, NotFound, ServiceUnavailable, TooManyRequests
from timonel.api.refs import CONFIGMAPS, PODS
from timonel.client.rest import Client, ClientConfig, ConnectionFailed, RequestTimedOut


def certificate(folder, name="localhost"):
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    cert = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    cert_file, key_file = folder / "cert.pem", folder / "key.pem"
    cert_file.write_bytes(cert.public_bytes(serialization.Encoding.PEM))
    key_file.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return str(cert_file), str(key_file)


@asynccontextmanager
async def serving(handler, *, tls=None, socket_path=None):
    """Serves every request with `handler` on loopback, or on a Unix socket; gives the base URL."""
    runner = web.ServerRunner(web.Server(handler), shutdown_timeout=0.1)
    await runner.setup()
    try:
        scheme = "https" if tls else "http"
        if socket_path:
            await web.UnixSite(runner, socket_path, ssl_context=tls).start()
            yield f"{scheme}://localhost"
        else:
            site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls)
            await site.start()
            yield f"{scheme}://localhost:{site._server.sockets[0].getsockname()[1]}"
    finally:
        await runner.cleanup()


def status_response(status, **kwargs):
    return web.Response(status=status["code"], body=orjson.dumps(status), content_type="application/json", **kwargs)


async def echo(request):
    return web.json_response(
        {
            "method": request.method,
            "path": request.path,
            "query": dict(request.query),
            "type": request.headers.get("Content-Type"),
            "authorization": request.headers.get("Authorization"),
            "peer": (request.transport.get_extra_info("peercert") or {}).get("subject"),
            "body": orjson.loads(await request.read() or b"null"),
        }
    )


async def test_requests_have_the_documented_shape():
    pod = {"kind": "Pod", "apiVersion": "v1", "metadata": {"name": "p", "namespace": "ns"}}
    async with serving(echo) as url, Client(ClientConfig(server=url, token="secret")) as client:
        seen = await client.get(PODS, "p", "ns")
        assert (seen["method"], seen["path"]) == ("GET", "/api/v1/namespaces/ns/pods/p")
        assert seen["authorization"] == "Bearer secret"
        seen = await client.list(PODS, label_selector="a=b", limit=5, continue_="x")
        assert seen["query"] == {"labelSelector": "a=b", "limit": "5", "continue": "x"}
        seen = await client.create(PODS, pod, field_manager="me", dry_run=True)
        assert (seen["method"], seen["path"]) == ("POST", "/api/v1/namespaces/ns/pods")
        assert (seen["query"], seen["body"]) == ({"dryRun": "All", "fieldManager": "me"}, pod)
        seen = await client.update(PODS, pod, subresource="status")
        assert (seen["method"], seen["path"]) == ("PUT", "/api/v1/namespaces/ns/pods/p/status")
        seen = await client.patch(PODS, "p", {}, "ns", type="strategic")
        assert (seen["method"], seen["type"]) == ("PATCH", "application/strategic-merge-patch+json")
        seen = await client.delete(PODS, "p", "ns", grace_period_seconds=0, uid="u")
        assert seen["body"]["gracePeriodSeconds"] == 0
        assert seen["body"]["preconditions"] == {"uid": "u"}


@pytest.mark.parametrize("over_socket", [False, True])
async def test_tls_with_a_client_certificate(tmp_path, over_socket):
    cert_file, key_file = certificate(tmp_path)
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=cert_file)
    tls.verify_mode = ssl.CERT_REQUIRED
    tls.load_cert_chain(cert_file, key_file)
    path = str(tmp_path / "api.sock") if over_socket else None
    async with serving(echo, tls=tls, socket_path=path) as url:
        config = ClientConfig(server=url, ca_file=cert_file, cert_file=cert_file, key_file=key_file, unix_socket=path)
        async with Client(config) as client:
            assert (await client.get(PODS, "p", "ns"))["peer"] == [[["commonName", "localhost"]]]
        async with Client(ClientConfig(server=url, unix_socket=path)) as stranger:
            with pytest.raises(ConnectionFailed, match="certificate"):
                await stranger.get(PODS, "p", "ns")


async def test_plain_http_over_a_unix_socket(tmp_path):
    path = str(tmp_path / "api.sock")
    async with serving(echo, socket_path=path), Client(ClientConfig("http://x", unix_socket=path)) as client:
        assert (await client.get(PODS, "p", "ns"))["method"] == "GET"


async def test_errors_are_the_classes_the_server_raised():
    answers = iter(
        [
            {"kind": "Status", "code": 404, "reason": "NotFound", "message": 'pods "p" not found'},
            {"kind": "Status", "code": 409, "reason": "AlreadyExists", "message": "there"},
        ]
    )

    async def handler(request):
        return status_response(next(answers))

    async with serving(handler) as url, Client(ClientConfig(url)) as client:
        with pytest.raises(NotFound, match='pods "p" not found'):
            await client.get(PODS, "p", "ns")
        with pytest.raises(AlreadyExists):
            await client.get(PODS, "p", "ns")


async def test_answer_that_is_no_status_keeps_its_text():
    async def handler(request):
        return web.Response(status=503, text="gateway is away")

    async with serving(handler) as url, Client(ClientConfig(url)) as client:
        with pytest.raises(ServiceUnavailable, match="gateway is away"):
            await client.get(PODS, "p", "ns")


class NoWait:
    def __init__(self):
        self.slept = []

    def monotonic(self):
        return 0.0

    async def sleep(self, seconds):
        self.slept.append(seconds)


async def test_retry_after_is_honoured_and_bounded():
    asked = 0

    async def handler(request):
        nonlocal asked
        asked += 1
        if asked <= 2 or request.path.endswith("never"):
            status = {"kind": "Status", "code": 429, "reason": "TooManyRequests", "message": "slow down"}
            return status_response(status, headers={"Retry-After": "3"})
        return web.json_response({"ok": True})

    clock = NoWait()
    async with serving(handler) as url, Client(ClientConfig(url), clock=clock) as client:
        assert await client.get(PODS, "p", "ns") == {"ok": True}
        assert clock.slept == [3.0, 3.0]
        with pytest.raises(TooManyRequests):
            await client.get(PODS, "never", "ns")
        assert len(clock.slept) == 12


async def test_transport_errors_become_ours(tmp_path):
    async with Client(ClientConfig("http://127.0.0.1:1")) as client:
        with pytest.raises(ConnectionFailed, match="unable to connect"):
            await client.get(PODS, "p", "ns")
    async with Client(ClientConfig("http://x", unix_socket=str(tmp_path / "none"))) as client:
        with pytest.raises(ConnectionFailed, match="unable to connect"):
            await client.get(PODS, "p", "ns")

    async def never(request):
        await asyncio.sleep(60)

    async with serving(never) as url, Client(ClientConfig(url, request_timeout=0.05)) as client:
        with pytest.raises(RequestTimedOut):
            await client.get(PODS, "p", "ns")


async def test_token_file_is_read_again_after_a_401(tmp_path):
    token_file = tmp_path / "token"
    token_file.write_text("old\n")

    async def handler(request):
        if request.headers["Authorization"] == "Bearer new":
            return web.json_response({"ok": True})
        token_file.write_text("new\n")
        return status_response({"kind": "Status", "code": 401, "reason": "Unauthorized", "message": "Unauthorized"})

    async with serving(handler) as url, Client(ClientConfig(url, token_file=str(token_file))) as client:
        assert await client.get(PODS, "p", "ns") == {"ok": True}


async def test_watch_yields_events_of_any_size_cut_anywhere():
    large = {"metadata": {"name": "large", "resourceVersion": "2"}, "data": {"x": "ü" * 300_000}}
    lines = [
        {"type": "ADDED", "object": {"metadata": {"name": "a", "resourceVersion": "1"}}},
        {"type": "MODIFIED", "object": large},
        {"type": "BOOKMARK", "object": {"metadata": {"resourceVersion": "9"}}},
    ]

    async def handler(request):
        assert request.query["watch"] == "true"
        assert request.query["resourceVersion"] == "0"
        response = web.StreamResponse()
        await response.prepare(request)
        data = b"".join(orjson.dumps(line) + b"\n" for line in lines)
        for start in range(0, len(data), 50_001):
            await response.write(data[start : start + 50_001])
        return response

    async with serving(handler) as url, Client(ClientConfig(url)) as client:
        seen = [event async for event in client.watch(CONFIGMAPS, resource_version="0")]
    assert [event.type for event in seen] == ["ADDED", "MODIFIED", "BOOKMARK"]
    assert seen[1].object == large


async def test_watch_of_a_compacted_version_raises_expired():
    gone = {"kind": "Status", "code": 410, "reason": "Expired", "message": "too old resource version: 1 (9)"}

    async def handler(request):
        if request.query["resourceVersion"] == "1":
            return status_response(gone)
        return web.Response(body=orjson.dumps({"type": "ERROR", "object": gone}) + b"\n")

    async with serving(handler) as url, Client(ClientConfig(url)) as client:
        for version in ("1", "2"):
            with pytest.raises(Expired, match="too old"):
                async with aclosing(client.watch(CONFIGMAPS, resource_version=version)) as events:
                    await anext(events)


async def test_watch_cut_in_the_middle_raises_connection_failed():
    async def handler(request):
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b'{"type":"ADDED","obj')
        request.transport.abort()
        return response

    async with serving(handler) as url, Client(ClientConfig(url)) as client:
        with pytest.raises(ConnectionFailed):
            await anext(client.watch(CONFIGMAPS, resource_version="1"))


async def test_errors_of_connecting_name_the_place_and_no_python_objects(tmp_path):
    async with Client(ClientConfig("https://127.0.0.1:1")) as client:
        with pytest.raises(ConnectionFailed) as caught:
            await client.get(PODS, "p", "ns")
    assert caught.value.message == "unable to connect to the server: 127.0.0.1:1: Connection refused"
    missing = tmp_path / "none.sock"
    async with Client(ClientConfig("http://x", unix_socket=str(missing))) as client:
        with pytest.raises(ConnectionFailed) as caught:
            await client.get(PODS, "p", "ns")
    assert caught.value.message == f"unable to connect to the server: {missing}: No such file or directory"

"""A container runtime's streaming server made from our own engine, a kubelet made from plain values, certificates."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from timonel.api.errors import NotFound
from timonel.api.objects import Object
from timonel.api.refs import SUBJECT_ACCESS_REVIEWS, TOKEN_REVIEWS, ResourceRef
from timonel.kubelet.streaming.backend import ContainerLog, ExecResult, FoundContainer, StreamRequest
from timonel.kubelet.streaming.spdy.connection import (
    Connection,
    DataReceived,
    Role,
    StreamEnded,
    StreamOpened,
    StreamReset,
)


class Session:
    """One upgraded connection at the runtime. Streams are named by their headers."""

    def __init__(self, path: str, protocols: list[str], reader: asyncio.StreamReader, writer: asyncio.StreamWriter):
        self.path = path
        self.protocols = protocols
        self._reader = reader
        self._writer = writer
        self.spdy = Connection(Role.SERVER)
        self.headers: dict[int, dict[str, str]] = {}
        self.data: dict[int, bytearray] = {}
        self.ended: set[int] = set()
        self.is_over = False
        self._changed = asyncio.Condition()

    async def pump(self) -> None:
        while data := await self._reader.read(4096):
            async with self._changed:
                for event in self.spdy.receive_data(data):
                    match event:
                        case StreamOpened(stream, headers):
                            self.headers[stream] = dict(headers)
                            self.data[stream] = bytearray()
                            self.spdy.reply(stream)
                        case DataReceived(stream, payload):
                            self.data[stream] += payload
                        case StreamEnded(stream) | StreamReset(stream):
                            self.ended.add(stream)
                self._changed.notify_all()
            await self.flush()
        async with self._changed:
            self.is_over = True
            self._changed.notify_all()

    async def flush(self) -> None:
        self._writer.write(self.spdy.data_to_send())
        await self._writer.drain()

    async def until(self, condition: Callable[[], bool]) -> None:
        async with self._changed:
            await self._changed.wait_for(condition)

    async def stream(self, kind: str, **headers: str) -> int:
        wanted = {"streamtype": kind, **headers}

        def find() -> int | None:
            return next((s for s, h in self.headers.items() if wanted.items() <= h.items()), None)

        await self.until(lambda: find() is not None)
        found = find()
        assert found is not None
        return found

    async def received(self, stream: int, size: int) -> bytes:
        await self.until(lambda: len(self.data[stream]) >= size)
        return bytes(self.data[stream])

    async def received_all(self, stream: int) -> bytes:
        await self.until(lambda: stream in self.ended)
        return bytes(self.data[stream])

    async def send(self, stream: int, data: bytes, *, fin: bool = False) -> None:
        self.spdy.send_data(stream, data, fin=fin)
        await self.flush()


Program = Callable[[Session], Awaitable[None]]


class FakeRuntime:
    """Runs `program` for every upgraded connection, then closes it; `refusal` answers instead of upgrading."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self.refusal: tuple[int, str] | None = None
        self.on_upgrade: Callable[[], object] = lambda: None
        self.sessions: list[Session] = []
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> FakeRuntime:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        port = self._server.sockets[0].getsockname()[1]
        self.url = f"http://127.0.0.1:{port}"
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            request, *lines = head.split("\r\n")
            method, path, _ = request.split(" ")
            headers = [tuple(line.split(": ", 1)) for line in lines if line]
            assert method == "POST"
            assert ("Upgrade", "SPDY/3.1") in headers
            protocols = [h[1] for h in headers if h[0] == "X-Stream-Protocol-Version"]
            if self.refusal is not None:
                status, text = self.refusal
                writer.write(
                    f"HTTP/1.1 {status} No\r\nX-Accepted-Stream-Protocol-Versions: v4.channel.k8s.io\r\n"
                    f"Content-Length: {len(text)}\r\n\r\n{text}".encode()
                )
                return
            self.on_upgrade()
            writer.write(
                b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\n"
                b"X-Stream-Protocol-Version: " + protocols[0].encode() + b"\r\n\r\n"
            )
            session = Session(path, protocols, reader, writer)
            self.sessions.append(session)
            pump = asyncio.create_task(session.pump())
            self._tasks.add(pump)
            await self.program(session)
            session.spdy.go_away()
            await session.flush()
        finally:
            writer.close()


def pod(name: str = "web", **status: object) -> Object:
    return {
        "kind": "Pod",
        "apiVersion": "v1",
        "metadata": {"name": name, "namespace": "default", "uid": "u-1"},
        "spec": {"containers": [{"name": "app"}, {"name": "term", "tty": True}], "initContainers": [{"name": "init"}]},
        "status": status,
    }


@dataclass
class FakeBackend:
    url: str = ""
    node_name: str = "node-1"
    known: dict[str, Object] = field(default_factory=dict)
    logs: dict[str, str] = field(default_factory=dict)
    ended: dict[str, asyncio.Event] = field(default_factory=dict)
    asked: list[tuple[object, ...]] = field(default_factory=list)
    gone: set[str] = field(default_factory=set)
    """Containers whose process has ended, though the runtime may still attach to them."""
    result: ExecResult = field(default_factory=lambda: ExecResult(b"", b"", 0))
    pages: dict[str, bytes] = field(default_factory=dict)
    unhealthy: str = ""
    followers_gone: asyncio.Event = field(default_factory=asyncio.Event)

    def pods(self) -> Sequence[Object]:
        return list(self.known.values())

    def pod(self, namespace: str, name: str) -> Object | None:
        found = self.known.get(name)
        return found if namespace == "default" else None

    async def running_pods(self) -> Sequence[Object]:
        return []

    async def find_container(self, namespace: str, pod: str, container: str, *, uid: str = "") -> FoundContainer:
        if container not in ("app", "term"):
            raise NotFound(f'container not found ("{container}")')
        return FoundContainer(f"id-{container}", "sandbox", container == "term", False)

    def has_ended(self, container_id: str) -> bool:
        return container_id in self.gone

    async def find_sandbox(self, namespace: str, pod: str, *, uid: str = "") -> str:
        return "sandbox"

    async def container_log(self, container_id: str) -> ContainerLog:
        return ContainerLog(self.logs[container_id])

    async def wait_ended(self, container_id: str) -> None:
        try:
            await self.ended.setdefault(container_id, asyncio.Event()).wait()
        finally:
            self.followers_gone.set()

    async def exec_url(self, container_id: str, command: Sequence[str], streams: StreamRequest) -> str:
        self.asked.append(("exec", container_id, list(command), streams))
        return f"{self.url}/exec/token"

    async def attach_url(self, container_id: str, streams: StreamRequest) -> str:
        self.asked.append(("attach", container_id, streams))
        return f"{self.url}/attach/token"

    async def port_forward_url(self, sandbox_id: str) -> str:
        return f"{self.url}/portforward/token"

    async def exec_sync(self, container_id: str, command: Sequence[str], *, timeout_seconds: float = 0) -> ExecResult:
        self.asked.append(("exec_sync", container_id, list(command)))
        return self.result

    async def stats_summary(self, *, only_cpu_and_memory: bool = False) -> Object:
        return {"node": {"nodeName": "n1"}, "pods": [], "only": only_cpu_and_memory}

    async def metrics_page(self, name: str) -> bytes | None:
        return self.pages.get(name) if name else b"more 1\n"

    def health(self) -> str:
        return self.unhealthy


class FakeReviewer:
    """Token "good" is user reader; system:masters may everything, others what `allowed` says: (user, verb, sub)."""

    def __init__(self) -> None:
        self.allowed: set[tuple[str, str, str]] = set()
        self.reviews: list[Object] = []
        self.error: Exception | None = None

    async def create(self, ref: ResourceRef, obj: Object) -> Object:
        self.reviews.append(obj)
        await asyncio.sleep(0)
        if self.error is not None:
            raise self.error
        spec = obj["spec"]
        if ref == TOKEN_REVIEWS:
            if spec["token"] != "good":
                return {**obj, "status": {"authenticated": False, "error": "no such token"}}
            user = {"username": "reader", "uid": "7", "groups": ["g"], "extra": {"k": ["v"]}}
            return {**obj, "status": {"authenticated": True, "user": user}}
        assert ref == SUBJECT_ACCESS_REVIEWS
        attributes = spec["resourceAttributes"]
        allowed = "system:masters" in spec["groups"] or (
            spec["user"], attributes["verb"], attributes["subresource"]
        ) in self.allowed  # fmt: skip
        return {**obj, "status": {"allowed": allowed}}


@dataclass(frozen=True)
class Certificates:
    """Files of a CA, a server's certificate for 127.0.0.1 and clients' certificates."""

    folder: Path

    @property
    def ca_file(self) -> str:
        return str(self.folder / "ca.crt")

    def pair(self, name: str) -> tuple[str, str]:
        return str(self.folder / f"{name}.crt"), str(self.folder / f"{name}.key")

    def client_context(self, name: str | None) -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=self.ca_file)
        if name is not None:
            context.load_cert_chain(*self.pair(name))
        return context


def make_certificates(folder: Path) -> Certificates:
    certificates = Certificates(folder)
    ca_key = ec.generate_private_key(ec.SECP256R1())
    ca_name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "ca")])
    _write(folder, "ca", ca_name, ca_key, ca_name, ca_key, is_ca=True)
    _write(folder, "server", _name("node"), ec.generate_private_key(ec.SECP256R1()), ca_name, ca_key, server=True)
    admin = _name("admin", "system:masters")
    _write(folder, "admin", admin, ec.generate_private_key(ec.SECP256R1()), ca_name, ca_key)
    stranger_key = ec.generate_private_key(ec.SECP256R1())
    _write(folder, "stranger", admin, stranger_key, admin, stranger_key)
    return certificates


def _name(common_name: str, *groups: str) -> x509.Name:
    return x509.Name(
        [
            *(x509.NameAttribute(NameOID.ORGANIZATION_NAME, group) for group in groups),
            x509.NameAttribute(NameOID.COMMON_NAME, common_name),
        ]
    )


def _write(
    folder: Path,
    file: str,
    subject: x509.Name,
    key: ec.EllipticCurvePrivateKey,
    issuer: x509.Name,
    issuer_key: ec.EllipticCurvePrivateKey,
    *,
    is_ca: bool = False,
    server: bool = False,
) -> None:
    now = datetime.now(UTC)
    usage = ExtendedKeyUsageOID.SERVER_AUTH if server else ExtendedKeyUsageOID.CLIENT_AUTH
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.BasicConstraints(is_ca, None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), critical=False)
    )
    if server:
        builder = builder.add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), False)
    if not is_ca:
        builder = builder.add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
    certificate = builder.sign(issuer_key, hashes.SHA256())
    (folder / f"{file}.crt").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    (folder / f"{file}.key").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )

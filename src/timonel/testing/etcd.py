"""A real etcd member on loopback, with TLS and client certificates, in a folder of its own.

with EtcdProcess(folder) as etcd:
    store = await open_etcd(etcd.config(), SystemClock())
"""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

from timonel.cluster.certificates import ensure_client_certificate, ensure_server_certificate
from timonel.cluster.pki import ensure_pki
from timonel.storage.etcd import EtcdConfig

_START_SECONDS = 30.0
_HEARTBEAT_ALONE = 10
"""Milliseconds. A member alone elects itself after ten of these, and grants no shorter lease than a second."""
_HEARTBEAT_TOGETHER = 50
"""Others must answer within ten of these, on a machine with much else to do."""


def etcd_binary() -> str | None:
    """Where etcd is installed (Debian: etcd-server); None when it is not."""
    return shutil.which("etcd")


class EtcdProcess:
    """Blocking calls, for fixtures. `kill` and `start` again keep the data and the address."""

    def __init__(self, folder: Path, *, name: str = "one") -> None:
        self.folder = folder
        self._name = name
        pki = ensure_pki(folder / "pki", service_address="10.96.0.1")
        server = ensure_server_certificate(folder / "pki", "etcd-server", pki.ca, "etcd", ["127.0.0.1", "localhost"])
        client = ensure_client_certificate(folder / "pki", "etcd-client", pki.ca, "timonel-apiserver")
        self.port, peer_port = _free_port(), _free_port()
        self._peer = f"http://127.0.0.1:{peer_port}"
        self._members: Sequence[EtcdProcess] = (self,)
        self.ca, self._server, self._client = pki.ca.cert, server, client
        self._process: subprocess.Popen[bytes] | None = None

    @classmethod
    def cluster(cls, folder: Path) -> Sequence[EtcdProcess]:
        """Three members, to be started each."""
        members = [cls(folder, name=name) for name in ("one", "two", "three")]
        for member in members:
            member._members = members
        return members

    @property
    def endpoint(self) -> str:
        return f"https://127.0.0.1:{self.port}"

    def config(self, *, prefix: str = "", endpoints: tuple[str, ...] = (), history_seconds: float = 300) -> EtcdConfig:
        """Of a client it lets in; `endpoints` "": this one."""
        return EtcdConfig(
            endpoints=endpoints or (self.endpoint,),
            ca_file=str(self.ca),
            cert_file=str(self._client.cert),
            key_file=str(self._client.key),
            prefix=prefix,
            history_seconds=history_seconds,
        )

    def start(self) -> None:
        """Returns when it takes connections. Raises RuntimeError with its last words when it ends instead."""
        binary = etcd_binary()
        if binary is None:
            raise RuntimeError("etcd is not installed (Debian: apt install etcd-server)")
        peer = self._peer
        cluster = ",".join(f"{member._name}={member._peer}" for member in self._members)
        heartbeat = _HEARTBEAT_ALONE if len(self._members) == 1 else _HEARTBEAT_TOGETHER
        arguments = [
            binary, f"--name={self._name}", f"--data-dir={self.folder / self._name}",
            f"--listen-client-urls={self.endpoint}", f"--advertise-client-urls={self.endpoint}",
            f"--listen-peer-urls={peer}", f"--initial-advertise-peer-urls={peer}", f"--initial-cluster={cluster}",
            "--client-cert-auth", f"--trusted-ca-file={self.ca}",
            f"--cert-file={self._server.cert}", f"--key-file={self._server.key}",
            f"--heartbeat-interval={heartbeat}", f"--election-timeout={10 * heartbeat}",
            "--enable-grpc-gateway=false", "--logger=zap", "--log-level=error",
        ]  # fmt: skip
        with (self.folder / "log").open("ab") as output:
            self._process = subprocess.Popen(arguments, stdout=output, stderr=output, stdin=subprocess.DEVNULL)
        deadline = time.monotonic() + _START_SECONDS
        while not _answers(self.port):
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.kill()
                raise RuntimeError(f"etcd did not start: {(self.folder / 'log').read_text()[-2000:]}")
            time.sleep(0.02)

    def kill(self) -> None:
        """At once, as a power cut does."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        self._end(signal.SIGTERM)

    def pause(self) -> None:
        """It keeps its connections and answers nobody, until `resume`."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def _end(self, by: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.send_signal(by)
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def __enter__(self) -> EtcdProcess:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.kill()  # nobody wants its data, and a polite end takes it a second


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _answers(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0

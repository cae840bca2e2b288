"""Sockets of the API server: TLS with optional client certificates on TCP, and a Unix socket for this host."""

from __future__ import annotations

import asyncio
import ipaddress
import os
import socket
import ssl
from contextlib import suppress

from timonel.apiserver.config import ApiServerConfig
from timonel.apiserver.connections import Listener

_BACKLOG = 1024
_HANDSHAKE_SECONDS = 32.0
_GOODBYE_SECONDS = 5.0
"""For the client to agree to the end of TLS; then the connection is cut."""


async def listen(listener: Listener, config: ApiServerConfig) -> tuple[list[asyncio.Server], int]:
    """Opens what `config` asks for; the servers and the TCP port really bound. Raises OSError, ssl.SSLError."""
    loop = asyncio.get_running_loop()
    context = tls_context(config)
    servers = [
        await loop.create_server(
            listener,
            config.bind_address,
            config.port,
            ssl=context,
            backlog=_BACKLOG,
            reuse_address=True,
            ssl_handshake_timeout=_HANDSHAKE_SECONDS if context else None,
            ssl_shutdown_timeout=_GOODBYE_SECONDS if context else None,
        )
    ]
    port: int = servers[0].sockets[0].getsockname()[1]
    if config.unix_socket is not None:
        remove_socket(config)
        # With TLS as well: the client's certificate says who it is.
        path = str(config.unix_socket)
        servers.append(await loop.create_unix_server(listener, path, backlog=_BACKLOG, ssl=tls_context(config)))
        config.unix_socket.chmod(0o600)
    return servers, port


def remove_socket(config: ApiServerConfig) -> None:
    """One may be left from a server that was killed."""
    if config.unix_socket is not None:
        with suppress(FileNotFoundError):
            os.unlink(config.unix_socket)


def tls_context(config: ApiServerConfig) -> ssl.SSLContext | None:
    """None without a certificate: plain HTTP. Client certificates are asked for, verified, and stay optional."""
    if config.cert_file is None or config.key_file is None:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(config.cert_file, config.key_file)
    context.set_alpn_protocols(["http/1.1"])
    if config.client_ca_file is not None:
        context.load_verify_locations(config.client_ca_file)
        context.verify_mode = ssl.CERT_OPTIONAL
    return context


def own_address(bind_address: str) -> str:
    """The address others reach this host at: what is bound, or for a wildcard or loopback that of the default route."""
    bound = ipaddress.ip_address(bind_address)
    if not bound.is_unspecified and not bound.is_loopback:
        return bind_address
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # TEST-NET-1; connecting a datagram socket sends nothing
        except OSError:
            return "127.0.0.1"
        address: str = probe.getsockname()[0]
        return address

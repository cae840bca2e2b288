"""The routing as files that HAProxy reads: configuration, maps, certificates. Pure text.

Hosts and paths are data in maps, never words of the configuration: they are looked up, whatever they are, and a
thousand of them cost what one does. A backend is a Service's own address, so endpoints come and go without HAProxy
being told; each request gets a connection of its own, and one that is refused is tried again.
Source: docs.haproxy.org/2.6/configuration.html
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

from timonel.api.objects import ObjectKey
from timonel.network.ingress.routing import Backend, Routing

NOBODY = "nobody"


def render_files(
    routing: Routing, certificates: Mapping[ObjectKey, str], *, folder: str, socket: str, http: int, https: int
) -> dict[str, str]:
    """By name, what is to be in `folder`. `certificates`: PEM texts, chain and key, by Secret."""
    backends = sorted({route.backend for route in routing.routes} | ({routing.default} if routing.default else set()))
    hosts = sorted({route.host or "*" for route in routing.routes})
    files = {
        "hosts.map": "".join(f"{host} {host}\n" for host in hosts),
        "exact.map": _map(routing, is_exact=True),
        "prefix.map": _map(routing, is_exact=False),
    }
    listed = []
    for certificate in routing.certificates:
        name = f"{hashlib.sha256(str(certificate.secret).encode()).hexdigest()[:16]}.pem"
        files[name] = certificates[certificate.secret]
        listed.append(" ".join([f"{folder}/{name}", "[alpn h2,http/1.1]", *certificate.hosts]))
    files["certificates"] = "".join(f"{line}\n" for line in listed)
    binds = [f"bind :{http}"]
    if listed:
        binds.append(f"bind :{https} ssl crt-list {folder}/certificates")
    default = _name(routing.default) if routing.default else NOBODY
    lines = [
        "global",
        "  maxconn 8192",
        "  user haproxy",
        "  group haproxy",
        "  hard-stop-after 10m",
        # What listens is handed over at a reload: no connection is refused meanwhile.
        f"  stats socket {socket} mode 600 level admin expose-fd listeners",
        "  ssl-default-bind-options ssl-min-ver TLSv1.2",
        "defaults",
        "  mode http",
        "  option forwardfor",
        "  option http-server-close",
        "  http-reuse never",
        "  retries 5",
        "  option redispatch",
        "  timeout connect 2s",
        "  timeout client 60s",
        "  timeout server 60s",
        "  timeout tunnel 1h",
        "  timeout http-request 15s",
        "  timeout http-keep-alive 30s",
        "frontend web",
        *(f"  {bind}" for bind in binds),
        "  http-request set-header X-Forwarded-Proto https if { ssl_fc }",
        "  http-request set-header X-Forwarded-Proto http if !{ ssl_fc }",
        "  http-request set-header X-Forwarded-Host %[req.hdr(host)]",
        "  http-request set-var(txn.path) path",
        "  http-request set-var(txn.host) req.hdr(host),field(1,:),lower",
        f"  http-request set-var(txn.group) var(txn.host),map_str({folder}/hosts.map)",
        f'  http-request set-var(txn.group) var(txn.host),regsub("^[^.]*","*"),map_str({folder}/hosts.map) '
        "if !{ var(txn.group) -m found }",
        "  http-request set-var(txn.group) str(*) if !{ var(txn.group) -m found }",
        f"  http-request set-var(txn.backend) var(txn.group),concat(,txn.path),map_str({folder}/exact.map)",
        f"  http-request set-var(txn.backend) var(txn.group),concat(,txn.path,/),map_beg({folder}/prefix.map) "
        "if !{ var(txn.backend) -m found }",
        "  use_backend %[var(txn.backend)] if { var(txn.backend) -m found }",
        f"  default_backend {default}",
        f"backend {NOBODY}",
        "  http-request return status 404 content-type text/plain string no-such-page",
    ]
    for backend in backends:
        lines.append(f"backend {_name(backend)}")
        if backend.address:
            lines.append(f"  server service {backend.address}:{backend.port}")
        else:
            lines.append("  http-request return status 503 content-type text/plain string no-such-service")
    files["haproxy.cfg"] = "\n".join(lines) + "\n"
    return files


def _map(routing: Routing, *, is_exact: bool) -> str:
    routes = [route for route in routing.routes if route.is_exact == is_exact]
    return "".join(f"{route.host or '*'}{route.path} {_name(route.backend)}\n" for route in routes)


def _name(backend: Backend) -> str:
    """Namespaces and Services are DNS labels, and so are fit for names here."""
    return f"{backend.namespace}:{backend.service}:{backend.port}"

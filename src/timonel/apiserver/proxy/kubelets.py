"""Where each node's kubelet is, and how the API server proves itself to it and checks it in turn."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from timonel.api.errors import InternalError, ServiceUnavailable
from timonel.api.objects import Object, get_path, name_of

DEFAULT_PORT = 10250
_PREFERRED = ("InternalIP", "ExternalIP", "Hostname", "InternalDNS", "ExternalDNS")


@dataclass(frozen=True)
class Kubelets:
    """`ca_file` verifies kubelets' serving certificates, name included; the client pair is shown to them."""

    ca_file: Path | None
    cert_file: Path | None
    key_file: Path | None

    @cached_property
    def tls(self) -> ssl.SSLContext:
        """Raises ServiceUnavailable when the server was not told how to talk to kubelets."""
        if self.ca_file is None or self.cert_file is None or self.key_file is None:
            raise ServiceUnavailable("this server has no certificate to talk to kubelets with")
        context = ssl.create_default_context(cafile=str(self.ca_file))
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.load_cert_chain(self.cert_file, self.key_file)
        context.set_alpn_protocols(["http/1.1"])
        return context


def kubelet_address(node: Object) -> tuple[str, int]:
    """(host, port) of a node's kubelet. Raises InternalError when the node has reported no address."""
    port = get_path(node, "status", "daemonEndpoints", "kubeletEndpoint", "Port") or DEFAULT_PORT
    addresses = get_path(node, "status", "addresses", default=[])
    for kind in _PREFERRED:
        for address in addresses:
            if address.get("type") == kind and address.get("address"):
                return address["address"], port
    raise InternalError(f"Internal error occurred: node {name_of(node)} has reported no address")

"""What a configuration says of extenders: programs elsewhere that are asked about pods over HTTP.

Source: kubernetes.io/docs/reference/config-api/kube-scheduler-config.v1/#kubescheduler-config-k8s-io-v1-Extender
"""

from __future__ import annotations

import base64
from dataclasses import dataclass

from timonel.api.durations import parse_duration
from timonel.api.objects import Object

_TIMEOUT_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class ExtenderTls:
    insecure: bool = False
    """The server's certificate is not looked at."""
    server_name: str = ""
    """"": the host of the URL."""
    cert_file: str = ""
    key_file: str = ""
    ca_file: str = ""
    cert_data: bytes = b""
    """This and the next two are PEM, and go before the files."""
    key_data: bytes = b""
    ca_data: bytes = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExtenderConfig:
    """An empty verb: that is not asked."""

    url_prefix: str
    filter_verb: str = ""
    prioritize_verb: str = ""
    preempt_verb: str = ""
    bind_verb: str = ""
    weight: int = 1
    """Of its priorities, which go to 10, where those of plugins go to 100."""
    timeout_seconds: float = _TIMEOUT_SECONDS
    enable_https: bool = False
    tls: ExtenderTls | None = None
    node_cache_capable: bool = False
    """It knows the nodes, and is told their names only."""
    managed_resources: frozenset[str] = frozenset()
    """It is asked about pods that request one of these; none: about all."""
    ignored_by_scheduler: frozenset[str] = frozenset()
    """Those of them that it alone looks after."""
    ignorable: bool = False
    """Pods are placed without it while it cannot be asked."""


def parse_extender(document: Object) -> ExtenderConfig:
    managed = document.get("managedResources") or ()
    tls = document.get("tlsConfig")
    return ExtenderConfig(
        url_prefix=document.get("urlPrefix") or "",
        filter_verb=document.get("filterVerb") or "",
        prioritize_verb=document.get("prioritizeVerb") or "",
        preempt_verb=document.get("preemptVerb") or "",
        bind_verb=document.get("bindVerb") or "",
        weight=document.get("weight") or 0,
        timeout_seconds=float(parse_duration(document.get("httpTimeout") or "0")) or _TIMEOUT_SECONDS,
        enable_https=bool(document.get("enableHTTPS")),
        tls=None if tls is None else _parse_tls(tls),
        node_cache_capable=bool(document.get("nodeCacheCapable")),
        managed_resources=frozenset(each["name"] for each in managed),
        ignored_by_scheduler=frozenset(each["name"] for each in managed if each.get("ignoredByScheduler")),
        ignorable=bool(document.get("ignorable")),
    )


def _parse_tls(document: Object) -> ExtenderTls:
    def data(key: str) -> bytes:
        return base64.b64decode(document.get(key) or "")

    return ExtenderTls(
        insecure=bool(document.get("insecure")),
        server_name=document.get("serverName") or "",
        cert_file=document.get("certFile") or "",
        key_file=document.get("keyFile") or "",
        ca_file=document.get("caFile") or "",
        cert_data=data("certData"),
        key_data=data("keyData"),
        ca_data=data("caData"),
    )

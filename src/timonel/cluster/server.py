"""The server process: store, API server, what guards it, and the objects every cluster starts with."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

from timonel.api.clock import Clock, SystemClock
from timonel.api.errors import ApiError
from timonel.api.objects import Object, name_of, namespace_of
from timonel.api.refs import SECRETS, SERVICES
from timonel.api.resource import Resource
from timonel.apiserver.config import ApiServerConfig
from timonel.apiserver.security import SecurityConfig
from timonel.apiserver.server import ApiServer
from timonel.cluster.admission import load_admission
from timonel.cluster.cluster_info import publish_cluster_info
from timonel.cluster.errors import UserError
from timonel.cluster.pki import Pki, locate_pki
from timonel.cluster.process import notify_when
from timonel.cluster.settings import ServerSettings
from timonel.storage.codec import Codec
from timonel.storage.protocol import Store, StoreError
from timonel.storage.sqlite import open_sqlite
from timonel.storage.transform import AesGcm, EncryptionKey

logger = logging.getLogger(__name__)

ETCD_PATIENCE_SECONDS = 20.0
"""As long as kube-apiserver waits for it."""
_ETCD_RETRY_SECONDS = 0.2


async def run_server(settings: ServerSettings) -> None:
    """Until cancelled. Raises UserError when the store or a key file cannot be used."""
    clock = SystemClock()
    pki = locate_pki(Path(settings.pki))
    config = ApiServerConfig(
        security=security_config(settings, pki),
        bind_address=settings.bind_address,
        port=settings.port,
        cert_file=pki.apiserver.cert,
        key_file=pki.apiserver.key,
        client_ca_file=pki.ca.cert,
        advertise_address=settings.advertise_address,
        service_cidr=settings.service_cidr,
        node_port_range=settings.node_port_range,
        enable_priority_and_fairness=settings.enable_priority_and_fairness,
        max_requests_inflight=settings.max_requests_inflight,
        max_mutating_requests_inflight=settings.max_mutating_requests_inflight,
    )
    authority = _read(pki.ca.cert)
    try:
        store = await open_store(settings, clock, config.history_seconds)
    except StoreError as error:
        raise UserError(str(error)) from error
    sealed = Codec(AesGcm([EncryptionKey("key1", pki.read_encryption_key())]))
    plain = Codec()

    def codec_of(row: Resource) -> Codec:
        return sealed if row.ref == SECRETS else plain

    try:
        try:
            server = ApiServer(config=config, store=store, clock=clock, codecs=codec_of)
        except ValueError as error:
            raise UserError(str(error)) from error
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(server.run(), name="apiserver")
            tasks.create_task(_create_dns_service(server, settings.dns_address), name="dns-service")
            tasks.create_task(_describe_cluster(server, settings, authority), name="cluster-info")
            tasks.create_task(notify_when(server.wait_ready), name="notify")
    finally:
        await store.close()


async def open_store(settings: ServerSettings, clock: Clock, history_seconds: float) -> Store:
    """SQLite, or etcd, which may be starting at the same time. Raises StoreError."""
    if not settings.etcd_servers:
        return await open_sqlite(settings.store, clock=clock, history_seconds=history_seconds)
    from timonel.storage.etcd import EtcdConfig, open_etcd  # gRPC costs memory that SQLite does not need

    etcd = EtcdConfig(
        endpoints=settings.etcd_servers,
        ca_file=settings.etcd_ca_file,
        cert_file=settings.etcd_cert_file,
        key_file=settings.etcd_key_file,
        prefix=settings.etcd_prefix,
        history_seconds=history_seconds,
    )
    give_up = clock.monotonic() + ETCD_PATIENCE_SECONDS
    while True:
        try:
            return await open_etcd(etcd, clock)
        except StoreError as error:
            if clock.monotonic() > give_up:
                raise
            logger.info("etcd does not answer yet, will retry error=%s", error)
            await clock.sleep(_ETCD_RETRY_SECONDS)


def security_config(settings: ServerSettings, pki: Pki) -> SecurityConfig:
    return SecurityConfig(
        service_account_key_file=pki.service_account_key,
        client_ca_file=pki.ca.cert,
        front_proxy_ca_file=pki.front_proxy_ca.cert,
        kubelet_ca_file=pki.ca.cert,
        kubelet_client_cert_file=pki.kubelet_client.cert,
        kubelet_client_key_file=pki.kubelet_client.key,
        not_ready_toleration_seconds=settings.default_toleration_seconds,
        unreachable_toleration_seconds=settings.default_toleration_seconds,
        audit_log_file=Path(settings.data_dir) / "audit.log",
        admission=load_admission(
            settings.enable_admission_plugins,
            settings.disable_admission_plugins,
            settings.admission_control_config_file,
        ),
    )


async def _create_dns_service(server: ApiServer, address: str) -> None:
    await server.wait_ready()
    wanted = dns_service(address)
    if server.registry.reader(SERVICES).get(namespace_of(wanted), name_of(wanted)) is not None:
        return
    try:
        await server.registry.create(SERVICES, wanted, namespace_of(wanted))
    except ApiError as error:
        # DNS itself works without it; somebody else's Service holds the address or the name.
        logger.warning("cluster DNS service not created address=%s error=%s", address, error)
        return
    logger.info("cluster DNS service created address=%s", address)


def _read(file: Path) -> bytes:
    """Raises UserError."""
    try:
        return file.read_bytes()
    except OSError as error:
        raise UserError(str(error)) from error


async def _describe_cluster(server: ApiServer, settings: ServerSettings, authority: bytes) -> None:
    await server.wait_ready()
    address = settings.advertise_address
    host = f"[{address}]" if ":" in address else address
    await publish_cluster_info(server.registry, server=f"https://{host}:{settings.port}", authority=authority)


def dns_service(address: str) -> Object:
    """kube-system/kube-dns: holds the address and tells people where DNS is. Every node's agent answers at it."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {
            "name": "kube-dns",
            "namespace": "kube-system",
            "labels": {"k8s-app": "kube-dns", "kubernetes.io/cluster-service": "true"},
        },
        "spec": {
            "clusterIP": address,
            "ports": [
                {"name": "dns", "port": 53, "protocol": "UDP", "targetPort": 53},
                {"name": "dns-tcp", "port": 53, "protocol": "TCP", "targetPort": 53},
            ],
        },
    }

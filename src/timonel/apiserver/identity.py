"""Who this API server is, as a Lease in kube-system that it renews; those of servers long gone are deleted.

Source: KEP-1965.
"""

from __future__ import annotations

import base64
import hashlib
import logging
import socket
import uuid
from datetime import datetime

from timonel.api.clock import Clock, format_micro_time, parse_time
from timonel.api.errors import AlreadyExists, ApiError, NotFound
from timonel.api.objects import Object, annotations_of, copy_object, get_path, labels_of, name_of
from timonel.api.refs import LEASES
from timonel.apiserver.registry.registry import Registry
from timonel.storage.protocol import StoreError

log = logging.getLogger(__name__)

NAMESPACE = "kube-system"
ADDRESS = "kubernetes.io/peer-advertise-address"
LABEL, COMPONENT = "apiserver.kubernetes.io/identity", "kube-apiserver"
DURATION_SECONDS = 3600
RENEW_SECONDS = 10.0
CLEANUP_SECONDS = 3600.0


class ServerIdentity:
    def __init__(self, registry: Registry, *, clock: Clock, address: str, host_name: str = "") -> None:
        """`address` with its port is where other servers reach this one."""
        self._registry = registry
        self._clock = clock
        self._address = address
        self._host_name = host_name or socket.gethostname()
        self.name = identity_of(self._host_name)
        self._holder = f"{self.name}_{uuid.uuid4()}"

    async def run(self) -> None:
        """Renews the Lease and deletes old ones until cancelled."""
        cleanup_at = self._clock.monotonic()
        while True:
            try:
                await self._renew()
                if self._clock.monotonic() >= cleanup_at:
                    await self._clean_up()
                    cleanup_at = self._clock.monotonic() + CLEANUP_SECONDS
            except (ApiError, StoreError) as exc:
                log.warning("own lease could not be renewed, will retry name=%s error=%s", self.name, exc)
            await self._clock.sleep(RENEW_SECONDS)

    async def _renew(self) -> None:
        lease: Object = {
            "metadata": {
                "name": self.name,
                "namespace": NAMESPACE,
                "labels": {LABEL: COMPONENT, "kubernetes.io/hostname": self._host_name},
                "annotations": {ADDRESS: self._address},
            },
            "spec": {
                "holderIdentity": self._holder,
                "leaseDurationSeconds": DURATION_SECONDS,
                "renewTime": format_micro_time(self._clock.now()),
            },
        }

        def renewed(live: Object) -> Object:
            changed = copy_object(live)
            changed["metadata"]["labels"] = {**labels_of(live), **lease["metadata"]["labels"]}
            changed["metadata"]["annotations"] = {**annotations_of(live), **lease["metadata"]["annotations"]}
            changed["spec"] = {**(live.get("spec") or {}), **lease["spec"]}
            return changed

        try:
            await self._registry.update(LEASES, NAMESPACE, self.name, renewed)
        except NotFound:
            try:
                await self._registry.create(LEASES, copy_object(lease))
            except AlreadyExists:
                await self._registry.update(LEASES, NAMESPACE, self.name, renewed)

    async def _clean_up(self) -> None:
        now = self._clock.now()
        for lease in self._registry.reader(LEASES).list(NAMESPACE):
            if labels_of(lease).get(LABEL) == COMPONENT and is_expired(lease, now):
                try:
                    await self._registry.delete(LEASES, NAMESPACE, name_of(lease))
                except NotFound:
                    continue  # another server was faster
                log.info("lease of a server long gone was deleted name=%s", name_of(lease))


def identity_of(host_name: str) -> str:
    """Such as apiserver-x7i4q…: half of the SHA-256 of the host and of what runs there, each led by its length."""
    hashed = hashlib.sha256()
    for part in (host_name.encode(), COMPONENT.encode()):
        hashed.update(len(part).to_bytes(2, "big") + part)
    return "apiserver-" + base64.b32encode(hashed.digest()[:16]).decode().rstrip("=").lower()


def is_expired(lease: Object, now: datetime) -> bool:
    """Also without the fields that say so: no server made that."""
    renewed, seconds = get_path(lease, "spec", "renewTime"), get_path(lease, "spec", "leaseDurationSeconds")
    return not renewed or seconds is None or (now - parse_time(renewed)).total_seconds() > seconds

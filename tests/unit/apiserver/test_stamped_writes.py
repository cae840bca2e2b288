"""A kind's rules are told when a write happens and by whom, and may warn of a status too."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime

import pytest

from timonel.api.clock import format_time
from timonel.api.errors import FieldError
from timonel.api.kinds.certificates import CERTIFICATE_SIGNING_REQUESTS, CertificateSigningRequestStrategy
from timonel.api.kinds.networking.ingress import INGRESSES
from timonel.api.kinds.storage.persistentvolume import PERSISTENT_VOLUMES
from timonel.api.objects import Object, copy_object
from timonel.api.resource import Resource
from timonel.apiserver.admission.chain import Admission
from timonel.apiserver.authn.user import UserInfo
from timonel.apiserver.authz.attributes import Attributes
from timonel.apiserver.registry.calls import Call
from timonel.apiserver.registry.resource_registry import ResourceRegistry
from timonel.storage.cache import WatchCache
from timonel.storage.codec import Codec
from timonel.storage.protocol import Store
from timonel.storage.sqlite import open_sqlite
from timonel.testing.clock import VirtualClock

START = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock(START)


@pytest.fixture
async def store(clock: VirtualClock) -> AsyncIterator[Store]:
    opened = await open_sqlite(":memory:", clock=clock)
    yield opened
    await opened.close()


async def registry_of(row: Resource, store: Store, clock: VirtualClock) -> ResourceRegistry:
    cache = WatchCache(store, row.storage_prefix, codec=Codec())
    await cache.start()
    await cache.wait_synced()
    return ResourceRegistry(resource=row, cache=cache, clock=clock, admission=Admission())


def call_of(row: Resource, verb: str) -> Call:
    user = UserInfo("ann", "7", ("dev",), {"scope": ("a",)})
    ref = row.ref
    return Call(Attributes(user, verb, ref.group, ref.version, ref.plural, "", "", "x", ""))


async def test_volumes_note_when_their_phase_changed(store: Store, clock: VirtualClock) -> None:
    registry = await registry_of(PERSISTENT_VOLUMES, store, clock)
    volume: Object = {
        "kind": "PersistentVolume", "apiVersion": "v1", "metadata": {"name": "x"},
        "spec": {"capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"], "hostPath": {"path": "/a"}},
    }  # fmt: skip
    written = await registry.create(volume, "", call_of(PERSISTENT_VOLUMES, "create"))
    assert written.obj["status"] == {"phase": "Pending", "lastPhaseTransitionTime": format_time(START)}
    await clock.advance(60)

    def make_available(live: Object) -> Object:
        changed = copy_object(live)
        changed["status"]["phase"] = "Available"
        return changed

    call = call_of(PERSISTENT_VOLUMES, "update")
    written = await registry.update("", "x", make_available, call, subresource="status", patching=True)
    assert written.obj["status"] == {"phase": "Available", "lastPhaseTransitionTime": "2026-01-01T00:01:00Z"}


async def test_the_server_names_who_wants_a_certificate(store: Store, clock: VirtualClock) -> None:
    # The write path alone: that this is no real request is found after the stamp.
    stamped: Object = {}

    class Seen(CertificateSigningRequestStrategy):
        def validate_create(self, obj: Object) -> list[FieldError]:
            stamped.update(obj["spec"])
            return []

    row = Resource(
        ref=CERTIFICATE_SIGNING_REQUESTS.ref, definition=CERTIFICATE_SIGNING_REQUESTS.definition,
        singular="certificatesigningrequest", strategy=Seen(), has_status=True,
        storage_prefix=CERTIFICATE_SIGNING_REQUESTS.storage_prefix,
    )  # fmt: skip
    registry = await registry_of(row, store, clock)
    request: Object = {
        "kind": "CertificateSigningRequest", "apiVersion": "certificates.k8s.io/v1", "metadata": {"name": "x"},
        "spec": {"signerName": "a.example/b", "username": "root"},
    }  # fmt: skip
    await registry.create(request, "", call_of(row, "create"))
    assert stamped == {
        "signerName": "a.example/b", "username": "ann", "uid": "7", "groups": ["dev"], "extra": {"scope": ["a"]},
    }  # fmt: skip


async def test_a_status_may_be_warned_of(store: Store, clock: VirtualClock) -> None:
    registry = await registry_of(INGRESSES, store, clock)
    service = {"service": {"name": "web", "port": {"number": 80}}}
    ingress: Object = {
        "kind": "Ingress", "apiVersion": "networking.k8s.io/v1", "metadata": {"name": "x"},
        "spec": {"defaultBackend": service},
    }  # fmt: skip
    await registry.create(ingress, "default", call_of(INGRESSES, "create"))

    def tell_address(live: Object) -> Object:
        return {**copy_object(live), "status": {"loadBalancer": {"ingress": [{"ip": "FD00::1"}]}}}

    call = call_of(INGRESSES, "update")
    await registry.update("default", "x", tell_address, call, subresource="status", patching=True)
    assert call.warnings == [
        'status.loadBalancer.ingress[0]: IPv6 address "FD00::1" should be in RFC 5952 canonical format ("fd00::1")'
    ]

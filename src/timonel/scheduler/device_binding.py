"""Writes into claims which devices they get and for whom, before the pod is bound; and takes it back when it is not.

Source: kubernetes.io/docs/concepts/scheduling-eviction/dynamic-resource-allocation; KEP-4381, KEP-5007
"""

from __future__ import annotations

import asyncio
import logging
from datetime import timedelta

from timonel.api.clock import Clock, format_time
from timonel.api.errors import ApiError, Conflict, NotFound
from timonel.api.objects import Object, ObjectKey, is_deleting, key_of, name_of, namespace_of, uid_of
from timonel.api.refs import PODS, RESOURCE_CLAIMS
from timonel.client.events import EventRecorder
from timonel.client.protocol import ApiClient
from timonel.scheduler.core.cluster import Cluster
from timonel.scheduler.core.devices.inventory import ClaimPlan
from timonel.scheduler.core.devices.ledger import allocation_of, consumers_of, is_reserved_for
from timonel.scheduler.core.devices.readiness import BindingFailed, binding_ends, is_ready, must_be_ready
from timonel.scheduler.core.plugins.dynamic_resources import TO_BE_MADE
from timonel.scheduler.device_mirror import DeviceMirror

log = logging.getLogger(__name__)

FINALIZER = "resource.kubernetes.io/delete-protection"
_TRIES = 5


class ClaimsNotBound(Exception):
    """The pod has to be decided about again. The message is the end of its FailedScheduling event."""


class DeviceBinding:
    def __init__(
        self, *, client: ApiClient, cluster: Cluster, mirror: DeviceMirror, clock: Clock, recorder: EventRecorder
    ) -> None:
        self._client = client
        self._devices = cluster.devices
        self._mirror = mirror
        self._clock = clock
        self._recorder = recorder
        self._waiting: dict[ObjectKey, set[asyncio.Event]] = {}
        mirror.claims.add_handler(
            on_update=lambda old, new: self._wake(key_of(new)), on_delete=lambda last: self._wake(key_of(last))
        )

    async def bind(self, pod: Object, plan: ClaimPlan, node: str, timeout: timedelta) -> None:
        """Returns when every claim is the pod's and its devices are ready. Raises ClaimsNotBound, ApiError."""
        written = []
        for claim in plan.claims:
            if name_of(claim) == TO_BE_MADE:
                written.append(await self._make(pod, claim, plan))
            else:
                written.append(await self._reserve(pod, claim, plan.allocations.get(key_of(claim))))
            self._mirror.settle(plan, claim)
        if any(must_be_ready(claim) for claim in written):
            message = f"waiting for binding conditions for device on node {node}"
            self._recorder.event(pod, "Normal", "BindingConditionsPending", message, action="Scheduling")
            await self._wait_ready([key_of(claim) for claim in written], timeout)

    async def give_back(self, pod: Object, plan: ClaimPlan) -> None:
        """The pod goes elsewhere, or nowhere: its claims are not its any more, though they keep their devices."""
        self.settle(plan)
        for claim in plan.claims:
            known = self._devices.ledger.claims.get(key_of(claim))
            if known is not None and is_reserved_for(known, uid_of(pod)):
                await self._unreserve(known, uid_of(pod))
        await self.delete_made(self._devices.ledger.made_for(uid_of(pod)))

    def settle(self, plan: ClaimPlan) -> None:
        """What was promised is not to be written, or is written by now."""
        for claim in plan.claims:
            self._mirror.settle(plan, claim)

    async def deallocate(self, claim: Object) -> None:
        """Its devices are of no use to the pod that it is for: it can have others then."""
        status = {name: value for name, value in claim["status"].items() if name not in _ALLOCATION}
        try:
            await self._client.update(RESOURCE_CLAIMS, claim | {"status": status}, subresource="status")
        except ApiError as exc:
            # It is tried again when the pod is.
            log.warning("Could not take devices from a claim claim=%s error=%s", key_of(claim), exc)
            return
        log.info("Took devices from a claim that cannot use them claim=%s", key_of(claim))
        # The informer tells of it, and so lets the pods be tried again that it helps.

    async def delete_made(self, claim: Object | None) -> None:
        """A claim for extended resources, which is of no use to another attempt."""
        if claim is None or is_deleting(claim):
            return
        try:
            finalizers = [each for each in claim["metadata"].get("finalizers") or () if each != FINALIZER]
            if len(finalizers) < len(claim["metadata"].get("finalizers") or ()):
                metadata = claim["metadata"] | {"finalizers": finalizers}
                await self._client.update(RESOURCE_CLAIMS, claim | {"metadata": metadata})
            await self._client.delete(RESOURCE_CLAIMS, name_of(claim), namespace_of(claim), uid=uid_of(claim))
        except NotFound:
            pass
        except ApiError as exc:
            log.warning("Could not delete a claim for extended resources claim=%s error=%s", key_of(claim), exc)

    # Writing

    async def _reserve(self, pod: Object, claim: Object, allocation: Object | None) -> Object:
        claim = self._devices.ledger.claims.get(key_of(claim), claim)
        if allocation is None and is_reserved_for(claim, uid_of(pod)):
            return claim
        for left in range(_TRIES - 1, -1, -1):
            try:
                claim = await self._write(pod, claim, allocation)
                break
            except Conflict as exc:
                if not left:
                    raise ClaimsNotBound(f"add reservation to claim {key_of(claim)}: {exc.message}") from exc
                claim = await self._client.get(RESOURCE_CLAIMS, name_of(claim), namespace_of(claim))
            except NotFound as exc:
                raise ClaimsNotBound(f"claim {key_of(claim)} got deleted in the meantime") from exc
        self._devices.ledger.put_claim(claim)
        return claim

    async def _write(self, pod: Object, claim: Object, allocation: Object | None) -> Object:
        if is_deleting(claim):
            raise ClaimsNotBound(f"claim {key_of(claim)} got deleted in the meantime")
        status = dict(claim.get("status") or {})
        if allocation is not None:
            if status.get("allocation"):
                raise ClaimsNotBound(f"claim {key_of(claim)} got allocated elsewhere in the meantime")
            finalizers = claim["metadata"].get("finalizers") or []
            if FINALIZER not in finalizers:
                metadata = claim["metadata"] | {"finalizers": [*finalizers, FINALIZER]}
                claim = await self._client.update(RESOURCE_CLAIMS, claim | {"metadata": metadata})
            status["allocation"] = allocation
        elif not status.get("allocation"):
            raise ClaimsNotBound(f"claim {key_of(claim)} got deallocated elsewhere in the meantime")
        status["allocation"] = {"allocationTimestamp": format_time(self._clock.now())} | status["allocation"]
        status["reservedFor"] = [*consumers_of(claim), _consumer(pod)]
        return await self._client.update(RESOURCE_CLAIMS, claim | {"status": status}, subresource="status")

    async def _make(self, pod: Object, claim: Object, plan: ClaimPlan) -> Object:
        metadata = {name: value for name, value in claim["metadata"].items() if name not in ("name", "uid")}
        made = await self._client.create(RESOURCE_CLAIMS, claim | {"metadata": metadata})
        self._devices.ledger.put_claim(made)
        written = await self._reserve(pod, made, plan.allocations[key_of(claim)])
        told = {"requestMappings": list(plan.mappings), "resourceClaimName": name_of(made)}
        patch = {"metadata": {"uid": uid_of(pod)}, "status": {"extendedResourceClaimStatus": told}}
        await self._client.patch(PODS, name_of(pod), patch, namespace_of(pod), type="strategic", subresource="status")
        return written

    async def _unreserve(self, claim: Object, pod_uid: str) -> None:
        for _ in range(_TRIES):
            left = [each for each in consumers_of(claim) if each.get("uid") != pod_uid]
            status = {name: value for name, value in claim["status"].items() if name != "reservedFor"}
            if left:
                status["reservedFor"] = left
            try:
                written = await self._client.update(RESOURCE_CLAIMS, claim | {"status": status}, subresource="status")
                self._devices.ledger.put_claim(written)
                return
            except Conflict:
                claim = await self._client.get(RESOURCE_CLAIMS, name_of(claim), namespace_of(claim))
            except ApiError as exc:
                # The claim's controller lets go of it when the pod is gone.
                log.warning("Could not take a reservation back claim=%s error=%s", key_of(claim), exc)
                return

    # Waiting

    async def _wait_ready(self, keys: list[ObjectKey], timeout: timedelta) -> None:
        changed = asyncio.Event()
        for key in keys:
            self._waiting.setdefault(key, set()).add(changed)
        timer = asyncio.ensure_future(self._clock.sleep(timeout.total_seconds()))
        timer.add_done_callback(lambda _: changed.set())
        try:
            while not self._are_ready(keys, timeout):
                if timer.done():
                    raise ClaimsNotBound("device binding timeout: context deadline exceeded")
                await changed.wait()
                changed.clear()
        finally:
            timer.cancel()
            for key in keys:
                self._waiting[key].discard(changed)
                if not self._waiting[key]:
                    del self._waiting[key]

    def _are_ready(self, keys: list[ObjectKey], timeout: timedelta) -> bool:
        for key in keys:
            claim = self._devices.ledger.claims.get(key)
            if claim is None or allocation_of(claim) is None:
                raise ClaimsNotBound(f"claim {key} got deallocated elsewhere in the meantime")
            try:
                if is_ready(claim):
                    continue
            except BindingFailed as exc:
                raise ClaimsNotBound(str(exc)) from exc
            ends = binding_ends(claim, timeout)
            if ends is not None and ends < self._clock.now():
                raise ClaimsNotBound(f"device binding timeout: claim={key.name}")
            return False
        return True

    def _wake(self, key: ObjectKey) -> None:
        for event in self._waiting.get(key, ()):
            event.set()


_ALLOCATION = ("allocation", "reservedFor", "devices")


def _consumer(pod: Object) -> Object:
    return {"resource": PODS.plural, "name": name_of(pod), "uid": uid_of(pod)}

"""Claims from templates for pods, and what becomes of claims when their pods end. The scheduler allocates devices.

Source: kubernetes.io/docs/concepts/scheduling-eviction/dynamic-resource-allocation
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Iterable, Iterator

from timonel.api.clock import Clock
from timonel.api.errors import ApiError, NotFound
from timonel.api.objects import Object, ObjectKey, is_deleting, key_of, name_of, namespace_of, uid_of
from timonel.api.refs import PODS, RESOURCE_CLAIM_TEMPLATES, RESOURCE_CLAIMS
from timonel.client.controller import Controller, Keys, Result, Watch
from timonel.client.events import EventRecorder
from timonel.client.informer import Informers
from timonel.client.protocol import ApiClient
from timonel.controllers.own_writes import OwnWrites
from timonel.controllers.resourceclaims.claims import (
    PodClaim,
    claim_names,
    claims_of,
    consumer,
    consumers_of,
    find_generated,
    has_claims,
    is_done,
    is_for,
    is_pod,
    must_reserve,
    owning_pod,
    plan_release,
    render_claim,
    render_statuses,
)

log = logging.getLogger(__name__)

_MANAGER = "ResourceClaimController"
_BY_CLAIM, _BY_TEMPLATE, _BY_OWNER = "resource claim", "resource claim template", "owning pod"
_POD, _CLAIM = "pod:", "claim:"
_REMEMBERED = 500


class _CannotCreate(Exception):
    """A claim could not be made; what it says goes into the pod's event."""


class ResourceClaimController(Controller):
    """Keys are pods and claims in one queue: names with "pod:" or "claim:" before them, which no name contains."""

    name = "resourceclaim-controller"
    workers = 10

    def __init__(
        self, *, client: ApiClient, informers: Informers, clock: Clock, recorder: EventRecorder | None = None
    ) -> None:
        super().__init__(client=client, informers=informers, clock=clock, recorder=recorder)
        self.watches = (
            Watch(PODS, key=_keys_of_pod),
            Watch(RESOURCE_CLAIMS, key=self._keys_of_claim),
            Watch(RESOURCE_CLAIM_TEMPLATES, key=self._keys_of_template),
        )
        self.own = OwnWrites(clock)
        self._pods = self.informer(PODS)
        self._claims = self.informer(RESOURCE_CLAIMS)
        self._pods.add_index(_BY_CLAIM, _index_by_claim)
        self._pods.add_index(_BY_TEMPLATE, _index_by_template)
        self._claims.add_index(_BY_OWNER, _index_by_owner)
        self._gone: OrderedDict[str, None] = OrderedDict()
        """Pods that were seen to go, by uid: the server need not be asked about them."""

    def register(self) -> None:
        super().register()
        self._pods.add_handler(on_delete=self._pod_is_gone)

    def _pod_is_gone(self, pod: Object) -> None:
        if not has_claims(pod):
            return
        self._gone[uid_of(pod)] = None
        if len(self._gone) > _REMEMBERED:
            self._gone.popitem(last=False)
        for name in claim_names(pod):
            self.queue.add(_claim_key(namespace_of(pod), name))

    def _keys_of_claim(self, claim: Object) -> Keys:
        return [_claim_key(*key_of(claim)), *map(_pod_key, self._pods.lister.by_index(_BY_CLAIM, key_of(claim)))]

    def _keys_of_template(self, template: Object) -> Keys:
        return [_pod_key(pod) for pod in self._pods.lister.by_index(_BY_TEMPLATE, key_of(template))]

    async def sync(self, key: ObjectKey) -> Result:
        kind, _, name = key.name.partition(":")
        if kind == "pod":
            return await self._sync_pod(key, name)
        return await self._sync_claim(key.namespace, name)

    # Pods

    async def _sync_pod(self, key: ObjectKey, name: str) -> Result:
        pod = self._pods.lister.get(key.namespace, name)
        if pod is None or is_deleting(pod):
            self.own.forget(key)
            return Result()
        if not self.own.are_seen(key):
            return Result(requeue_after=1.0)
        made: dict[str, str] = {}
        for claim in claims_of(pod):
            try:
                if found := await self._claim_for(key, pod, claim):
                    made[claim.name] = found
            except _CannotCreate as exc:
                message = f"PodResourceClaim {claim.name}: {exc}"
                self.event(pod, "Warning", "FailedResourceClaimCreation", message)
                if isinstance(exc.__cause__, ApiError):
                    raise exc.__cause__ from None
                return Result()  # the template that is missing brings us back
        if made:
            await self._note(key, pod, made)
        if (pod.get("spec") or {}).get("nodeName"):
            await self._reserve(pod)
        return Result()

    async def _claim_for(self, key: ObjectKey, pod: Object, entry: PodClaim) -> str:
        """The name of a claim that the pod's status does not tell yet; "" when there is nothing to tell."""
        if entry.claim == "" or not entry.is_generated:
            return ""
        if entry.claim:
            claim = self._claims.lister.get(key.namespace, entry.claim)
            if claim is not None and is_for(claim, pod):
                return ""
        found = find_generated(self._claims.lister.by_index(_BY_OWNER, uid_of(pod)), entry)
        if found is None:
            template = self.lister(RESOURCE_CLAIM_TEMPLATES).get(key.namespace, entry.template)
            if template is None:
                missing = f'resourceclaimtemplate.resource.k8s.io "{entry.template}" not found'
                raise _CannotCreate(f'resource claim template "{entry.template}": {missing}')
            try:
                found = await self.client.create(RESOURCE_CLAIMS, render_claim(pod, entry, template))
            except ApiError as exc:
                raise _CannotCreate(f"create ResourceClaim : {exc.message}") from exc
            self.own.wrote(key, self._claims, found)
            log.info("claim was made for pod pod=%s claim=%s", key_of(pod), name_of(found))
        return name_of(found)

    async def _note(self, key: ObjectKey, pod: Object, made: dict[str, str]) -> None:
        patch = {
            "apiVersion": PODS.api_version,
            "kind": PODS.kind,
            "metadata": {"name": name_of(pod), "namespace": key.namespace, "uid": uid_of(pod)},
            "status": {"resourceClaimStatuses": render_statuses(pod, made)},
        }
        written = await self.client.patch(
            PODS, name_of(pod), patch, key.namespace,
            type="apply", subresource="status", field_manager=_MANAGER, force=True,
        )  # fmt: skip
        self.own.wrote(key, self._pods, written)

    async def _reserve(self, pod: Object) -> None:
        """Of pods that somebody else than the scheduler put on a node."""
        for entry in claims_of(pod):
            claim = self._claims.lister.get(namespace_of(pod), entry.claim) if entry.claim else None
            if claim is None or (entry.is_generated and not is_for(claim, pod)):
                continue
            if must_reserve(claim, pod):
                status = claim["status"] | {"reservedFor": [*consumers_of(claim), consumer(pod)]}
                await self.client.update(RESOURCE_CLAIMS, claim | {"status": status}, subresource="status")
                log.info("claim was reserved for pod claim=%s pod=%s", key_of(claim), key_of(pod))

    # Claims

    async def _sync_claim(self, namespace: str, name: str) -> Result:
        claim = self._claims.lister.get(namespace, name)
        if claim is None:
            return Result()
        remaining = [each for each in consumers_of(claim) if not is_pod(each) or await self._may_run(namespace, each)]
        release = plan_release(claim, remaining)
        if release.status is not None:
            # Whole, not a patch: it must fail when somebody changed the claim meanwhile.
            claim = await self.client.update(RESOURCE_CLAIMS, claim | {"status": release.status}, subresource="status")
            log.info("claim was let go of claim=%s/%s consumers=%d", namespace, name, len(remaining))
        if release.finalizers is not None:
            metadata = claim["metadata"] | {"finalizers": release.finalizers}
            claim = await self.client.update(RESOURCE_CLAIMS, claim | {"metadata": metadata})
        if not remaining:
            await self._delete_generated(claim)
        return Result()

    async def _may_run(self, namespace: str, reference: Object) -> bool:
        uid = reference.get("uid")
        if uid in self._gone:
            return False
        pod = self._pods.lister.get(namespace, reference["name"])
        if pod is None:
            # The scheduler may know pods that the cache does not; taking their devices away would be bad.
            try:
                pod = await self.client.get(PODS, reference["name"], namespace)
            except NotFound:
                return False
            return uid_of(pod) == uid
        return uid_of(pod) == uid and not is_done(pod)

    async def _delete_generated(self, claim: Object) -> None:
        """Sooner than the garbage collector would: pods that are done may stay for long."""
        owner = owning_pod(claim)
        pod = self._pods.lister.get(namespace_of(claim), owner["name"]) if owner is not None else None
        if owner is None or pod is None or is_deleting(claim) or (uid_of(pod) == owner["uid"] and not is_done(pod)):
            return
        try:
            await self.client.delete(RESOURCE_CLAIMS, name_of(claim), namespace_of(claim), uid=uid_of(claim))
        except NotFound:
            return
        log.info("claim was deleted, its pod is done claim=%s", key_of(claim))


def _pod_key(pod: Object) -> ObjectKey:
    return ObjectKey(namespace_of(pod), _POD + name_of(pod))


def _claim_key(namespace: str, name: str) -> ObjectKey:
    return ObjectKey(namespace, _CLAIM + name)


def _keys_of_pod(pod: Object) -> Keys:
    if not has_claims(pod):
        return None
    keys = [] if is_deleting(pod) else [_pod_key(pod)]
    if is_done(pod):
        keys += [_claim_key(namespace_of(pod), name) for name in claim_names(pod)]
    return keys


def _index_by_claim(pod: Object) -> Iterator[ObjectKey]:
    return (ObjectKey(namespace_of(pod), name) for name in claim_names(pod))


def _index_by_template(pod: Object) -> Iterator[ObjectKey]:
    return (ObjectKey(namespace_of(pod), claim.template) for claim in claims_of(pod) if claim.is_generated)


def _index_by_owner(claim: Object) -> Iterable[str]:
    owner = owning_pod(claim)
    return () if owner is None else (owner["uid"],)

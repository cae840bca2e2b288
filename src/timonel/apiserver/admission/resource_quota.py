"""ResourceQuota: what a namespace may use is charged to its quotas before an object is written, or the write refused.

Writes of one namespace that arrive together are settled together: each is held against the quotas as the ones before
it leave them, then every quota is written once, guarded by the revision it was read at. A lost race, against the
quota controller or another server, is settled anew. Uses go down again by the quota controller alone.
Source: kubernetes.io/docs/concepts/policy/resource-quotas
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field

from timonel.api.clock import Clock
from timonel.api.errors import ApiError, Conflict, NotFound, conflict
from timonel.api.objects import Object, copy_object, resource_version_of
from timonel.api.quota.amounts import Amounts, add, are_same, minus
from timonel.api.quota.charging import Account, Change, QuotaExceeded, charges
from timonel.api.quota.evaluator import Surroundings, counts
from timonel.api.quota.registry import evaluator_for
from timonel.api.refs import DEVICE_CLASSES, PODS, RESOURCE_CLAIMS, RESOURCE_QUOTAS
from timonel.apiserver.admission.by_namespace import ByNamespace
from timonel.apiserver.admission.chain import AdmissionRequest, Plugin
from timonel.apiserver.readers import Readers, Writer

log = logging.getLogger(__name__)

_TRIES = 25
"""Rounds against others that write the same quotas; somebody gets on in each."""


class _Moved(Exception):
    """The quota is not the one that was decided on."""


@dataclass(slots=True, eq=False)
class _Waiter:
    request: AdmissionRequest
    change: Change
    only_asks: bool
    """Whether nothing is charged: a dry run, or a write that will fail since its object is there."""
    done: asyncio.Future[None]
    charged: dict[str, Amounts] = field(default_factory=dict)
    """By quota, what is written there already."""

    def let_through(self) -> None:
        if not self.done.done():
            self.done.set_result(None)

    def refuse(self, error: BaseException) -> None:
        if not self.done.done():
            self.done.set_exception(error)


class ResourceQuota(Plugin):
    """Must be the last plugin: what it lets through has been charged."""

    name = "ResourceQuota"
    operations = frozenset({"CREATE", "UPDATE"})

    def __init__(self, *, readers: Readers, writer: Writer, clock: Clock) -> None:
        self._readers = readers
        self._writer = writer
        self._clock = clock
        self._quotas = ByNamespace(readers.reader(RESOURCE_QUOTAS))
        self._waiting: dict[str, list[_Waiter]] = {}
        self._settling: dict[str, asyncio.Task[None]] = {}

    async def validate(self, request: AdmissionRequest) -> None:
        namespace, new = request.namespace, request.obj
        if not namespace or new is None or not self._quotas.of(namespace):
            return
        row = request.resource
        if not row.ref.namespaced or not row.storage_prefix or not counts(row.ref):
            return
        evaluator = evaluator_for(row.ref.group_resource)
        if not evaluator.handles(request.operation, request.subresource, new, request.old):
            return
        change = Change(evaluator, request.operation, request.subresource, new, request.old)
        only_asks = request.dry_run or self._is_there(request)
        waiter = _Waiter(request, change, only_asks, asyncio.get_running_loop().create_future())
        self._waiting.setdefault(namespace, []).append(waiter)
        if namespace not in self._settling:
            # A task of its own, so that no waiting request's end is the end of the others'.
            task = asyncio.create_task(self._settle_all(namespace), name=f"quota of {namespace}")
            self._settling[namespace] = task
        await waiter.done

    def _is_there(self, request: AdmissionRequest) -> bool:
        """Whether the name is taken: the write is bound to fail, and would be charged for nothing."""
        if request.operation != "CREATE" or request.obj is None:
            return False
        metadata = request.obj["metadata"]
        if metadata.get("generateName"):
            return False
        return self._readers.reader(request.resource.ref).get(request.namespace, metadata.get("name") or "") is not None

    def _surroundings(self) -> Surroundings:
        readers = self._readers
        return Surroundings(
            now=self._clock.now(),
            device_classes=readers.reader(DEVICE_CLASSES).list,
            pod=readers.reader(PODS).get,
            claims=readers.reader(RESOURCE_CLAIMS).list,
        )

    async def _settle_all(self, namespace: str) -> None:
        waiters: list[_Waiter] = []
        try:
            while waiters := self._waiting.pop(namespace, []):
                await self._settle(namespace, waiters)
        except BaseException as exc:
            # A failing store, a defect, or the end of the server: whoever waits is told, and nothing goes through.
            for waiter in [*waiters, *self._waiting.pop(namespace, ())]:
                waiter.refuse(exc if isinstance(exc, Exception) else ConnectionError("the server is stopping"))
            if not isinstance(exc, Exception):
                raise
        finally:
            del self._settling[namespace]

    async def _settle(self, namespace: str, waiters: Sequence[_Waiter]) -> None:
        unsettled: set[str] | None = None
        """Names of the quotas that are not written yet; None is all of them."""
        for _ in range(_TRIES):
            accounts = [
                Account.of(quota)
                for name, quota in sorted(self._quotas.of(namespace).items())
                if unsettled is None or name in unsettled
            ]
            before = {account.name: dict(account.used) for account in accounts}
            wanted = self._decide(accounts, [waiter for waiter in waiters if not waiter.done.done()])
            changed = [account for account in accounts if not are_same(account.used, before[account.name])]
            written = await asyncio.gather(*(self._write(namespace, account) for account in changed))
            unsettled = {account.name for account, is_written in zip(changed, written, strict=True) if not is_written}
            for waiter, amounts in wanted.items():
                waiter.charged.update({name: each for name, each in amounts.items() if name not in unsettled})
                if unsettled.isdisjoint(amounts):
                    waiter.let_through()
            if not unsettled:
                break
        for waiter in waiters:
            if not waiter.done.done():
                waiter.refuse(conflict(RESOURCE_QUOTAS, min(unsettled or {""})))
        await self._give_back(namespace, waiters)

    def _decide(self, accounts: Sequence[Account], waiters: Sequence[_Waiter]) -> dict[_Waiter, dict[str, Amounts]]:
        """What each waiter is charged, with the accounts raised by it; who does not fit in is refused."""
        around = self._surroundings()
        wanted: dict[_Waiter, dict[str, Amounts]] = {}
        for waiter in waiters:
            try:
                found = charges(accounts, waiter.change, around)
            except QuotaExceeded as exc:
                waiter.refuse(waiter.request.forbidden(str(exc)))
                continue
            if waiter.only_asks:
                found = {}
            for account in accounts:
                if account.name in found:
                    account.add(found[account.name])
            wanted[waiter] = found
        return wanted

    async def _write(self, namespace: str, account: Account) -> bool:
        """Whether it was written: not when somebody else changed or deleted the quota meanwhile."""
        revision = resource_version_of(account.quota)

        def charged(live: Object) -> Object:
            if resource_version_of(live) != revision:
                raise _Moved
            changed = copy_object(live)
            changed["status"]["used"] = account.used
            return changed

        try:
            await self._writer.update(RESOURCE_QUOTAS, namespace, account.name, charged, subresource="status")
        except (_Moved, NotFound, Conflict):
            return False
        return True

    async def _give_back(self, namespace: str, waiters: Sequence[_Waiter]) -> None:
        """What was charged for writes that another quota, changed meanwhile, refused, or that nobody waits for."""
        owed: dict[str, Amounts] = {}
        for waiter in waiters:
            if waiter.charged and (waiter.done.cancelled() or waiter.done.exception()):
                for name, amounts in waiter.charged.items():
                    add(owed.setdefault(name, {}), amounts)
        for name, amounts in owed.items():

            def lowered(live: Object, amounts: Amounts = amounts) -> Object:
                changed = copy_object(live)
                used: Amounts = changed.setdefault("status", {}).setdefault("used", {})
                used.update({key: minus(used.get(key, "0"), amount) for key, amount in amounts.items()})
                return changed

            try:
                await self._writer.update(RESOURCE_QUOTAS, namespace, name, lowered, subresource="status")
            except ApiError as exc:
                # The controller counts it again in a few minutes.
                log.info("charge was not given back quota=%s/%s error=%s", namespace, name, exc)

"""The enforcer's loop: what changed since the last transaction goes to the kernel in the next, all or nothing.

Without any NetworkPolicy in the cluster there is no table, and nobody watches all pods. The table stays when the agent
ends; the next one replaces it in one transaction, once it knows everything.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from timonel.api.objects import Object, ObjectKey, annotations_of, key_of, labels_of, name_of, uid_of
from timonel.api.refs import NAMESPACES, NETWORK_POLICIES, PODS
from timonel.client.backoff import Backoff
from timonel.client.informer import Informer, Informers
from timonel.network.commands import CommandFailed, run_command
from timonel.network.policy.compiler import Policy, compile_policy
from timonel.network.policy.counters import read_counters, render_metrics
from timonel.network.policy.facts import PodFacts, pod_facts, slim_pod
from timonel.network.policy.members import Members
from timonel.network.policy.structure import EMPTY, Structure, plan_structure
from timonel.network.policy.table import render_base, render_step
from timonel.network.proxy.tablewatch import TableWatch

logger = logging.getLogger(__name__)


class NotEnforced(Exception):
    """The rules of a pod are not in the kernel: it must not send or receive yet."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyConfig:
    table: str
    admit_seconds: float = 30.0
    """How long a new pod's containers wait for its rules before their start is given up, to be tried again."""


@dataclass(frozen=True, slots=True)
class _Admitted:
    identity: str
    addresses: tuple[str, ...]


class PolicyEnforcer:
    """`pods` is an informer of this node's own pods; `run` starts commands."""

    def __init__(
        self,
        *,
        config: PolicyConfig,
        informers: Informers,
        pods: Informer,
        run: Callable[..., Awaitable[str]] = run_command,
    ) -> None:
        self._config = config
        self._run = run
        self._informers = informers
        self._policies_seen = informers.of(NETWORK_POLICIES)
        self._own_pods = pods
        self._everybody: Informer | None = None
        """Pods of the whole cluster, watched since the first policy, with their namespaces."""
        self._policies: dict[ObjectKey, Policy] = {}
        self._admitted: dict[ObjectKey, _Admitted] = {}
        """Own pods' addresses, as they were told when the pods were made: the API learns them later."""
        self._own: dict[ObjectKey, PodFacts] = {}
        """Own pods as they are in `members`."""
        self._members = Members()
        self._structure = EMPTY
        self._is_stale = True
        """Policies or own pods changed: the structure may be another."""
        self._is_suspect = False
        self._may_be_there = True
        """The table; an earlier agent may have left one."""
        self._changed = asyncio.Event()
        self._ready = asyncio.Event()
        self._told, self._settled = 0, -1
        """How often something was told, and up to which time it is in the kernel."""
        self._progress = asyncio.Event()
        """Set, and replaced, whenever `_settled` moves."""

    async def wait_ready(self) -> None:
        """Until what the API says is in the kernel."""
        await self._ready.wait()

    async def admit(self, pod: Object, addresses: Sequence[str]) -> None:
        """Returns when the rules for a pod that was given these addresses are in the kernel: it may start now.

        Where no policy concerns it, nothing has to be done for that. Raises NotEnforced.
        """
        key, entry = key_of(pod), _Admitted(_identity(pod), tuple(addresses))
        if self._admitted.get(key) != entry:
            # Last, so that it has its address rather than a pod that had it before.
            self._admitted.pop(key, None)
            self._admitted[key] = entry
            self._touch()
        wanted = self._told
        try:
            async with asyncio.timeout(self._config.admit_seconds):
                while self._settled < wanted:
                    await self._progress.wait()
        except TimeoutError:
            raise NotEnforced("network policies are not in the kernel yet") from None

    async def metrics(self) -> str:
        """Lines for Prometheus, read from the kernel now."""
        if not self._structure.counters:
            return ""
        return render_metrics(await read_counters(self._config.table, self._run), self._structure.counters)

    async def run(self) -> None:
        """Until cancelled. The table stays, so that pods go on being isolated."""
        self._policies_seen.add_handler(
            on_add=self._policy_changed, on_update=lambda _, new: self._policy_changed(new), on_delete=self._policy_gone
        )
        self._own_pods.add_handler(
            on_add=self._own_pod_changed, on_update=self._own_pod_updated, on_delete=self._own_pod_gone
        )
        await asyncio.gather(self._policies_seen.wait_synced(), self._own_pods.wait_synced())
        watch = TableWatch(table=self._config.table, on_deleted=self._suspect)
        watch.start()
        try:
            await self._keep()
        finally:
            watch.stop()

    # What changed

    def _touch(self) -> None:
        self._is_stale = True
        self._tell()

    def _tell(self) -> None:
        self._told += 1
        self._changed.set()

    def _suspect(self) -> None:
        self._is_suspect = True
        self._changed.set()

    def _policy_changed(self, policy: Object) -> None:
        try:
            self._policies[key_of(policy)] = compile_policy(policy)
        except Exception:
            # One odd object costs its own rules, not those of all others. Nothing it allows is allowed.
            logger.exception("policy not understood policy=%s", key_of(policy))
            self._policies[key_of(policy)] = compile_policy(policy | {"spec": _isolating(policy)})
        self._touch()

    def _policy_gone(self, policy: Object) -> None:
        self._policies.pop(key_of(policy), None)
        self._touch()

    def _own_pod_changed(self, pod: Object) -> None:
        known = self._admitted.get(key_of(pod))
        if known is not None and known.identity != _identity(pod):
            del self._admitted[key_of(pod)]
        self._touch()

    def _own_pod_updated(self, old: Object, new: Object) -> None:
        if self._facts_of(old) != self._facts_of(new):
            self._own_pod_changed(new)

    def _own_pod_gone(self, pod: Object) -> None:
        known = self._admitted.get(key_of(pod))
        if known is not None and known.identity == _identity(pod):
            del self._admitted[key_of(pod)]
        self._touch()

    def _pod_changed(self, pod: Object) -> None:
        if key_of(pod) not in self._own:  # those we know first hand
            self._place(key_of(pod), pod_facts(pod))
            self._tell_members()

    def _pod_gone(self, pod: Object) -> None:
        if key_of(pod) not in self._own:
            self._members.remove_pod(key_of(pod))
            self._tell_members()

    def _place(self, key: ObjectKey, facts: PodFacts | None) -> None:
        if facts is None:
            self._members.remove_pod(key)
        elif self._members.pod(key) != facts:
            self._members.put_pod(facts)

    def _namespace_changed(self, namespace: Object) -> None:
        self._members.put_namespace(name_of(namespace), labels_of(namespace))
        self._tell_members()

    def _namespace_gone(self, namespace: Object) -> None:
        self._members.remove_namespace(name_of(namespace))

    def _tell_members(self) -> None:
        if self._members.has_changes:
            self._tell()

    # What follows from it

    async def _keep(self) -> None:
        self._changed.set()
        is_fresh = False
        backoff = Backoff(first=1.0, limit=30.0)
        while True:
            await self._changed.wait()
            if self._policies and self._everybody is None:
                await self._watch_everybody()
            if self._is_suspect:
                self._is_suspect = False
                is_fresh = is_fresh and await self._has_table()
            # From here to the command nothing waits, so all that was told until now is in it.
            told = self._told
            self._changed.clear()
            try:
                is_fresh = await self._apply(replace=not is_fresh)
                backoff.reset()
            except CommandFailed as error:
                self._changed.set()
                if is_fresh:
                    # Most likely somebody changed or deleted the table: put the whole of it there again, at once.
                    logger.warning("policies not changed, will replace all of them error=%s", error)
                    is_fresh = False
                    continue
                delay = backoff.next_delay()
                logger.error("policies not applied, will retry seconds=%.1f error=%s", delay, error)
                await asyncio.sleep(delay)
                continue
            self._ready.set()
            self._settled = told
            progress, self._progress = self._progress, asyncio.Event()
            progress.set()

    async def _watch_everybody(self) -> None:
        self._everybody = pods = self._informers.of(PODS, transform=slim_pod)
        namespaces = self._informers.of(NAMESPACES, metadata_only=True)
        namespaces.add_handler(
            on_add=self._namespace_changed,
            on_update=lambda _, new: self._namespace_changed(new),
            on_delete=self._namespace_gone,
        )
        pods.add_handler(
            on_add=self._pod_changed, on_update=lambda _, new: self._pod_changed(new), on_delete=self._pod_gone
        )
        await asyncio.gather(pods.wait_synced(), namespaces.wait_synced())

    def _plan(self) -> Structure:
        if not self._is_stale:
            return self._structure
        self._is_stale = False
        facts = self._own_facts()
        before, self._own = self._own, {item.key: item for item in facts}
        for item in facts:
            self._place(item.key, item)
        for key in before.keys() - self._own.keys():
            # Ended, or gone; or gone and made again on another node.
            seen = self._everybody.lister.get(*key) if self._everybody else None
            self._place(key, pod_facts(seen) if seen else None)
        return plan_structure(facts, self._policies.values())

    def _own_facts(self) -> list[PodFacts]:
        """Own pods that have an address, those admitted last at the end."""
        order = {key: number for number, key in enumerate(self._admitted)}
        pods = sorted(self._own_pods.lister.list(), key=lambda item: order.get(key_of(item), -1))
        return [facts for facts in map(self._facts_of, pods) if facts is not None]

    def _facts_of(self, pod: Object) -> PodFacts | None:
        known = self._admitted.get(key_of(pod))
        return pod_facts(pod, known.addresses if known is not None and known.identity == _identity(pod) else ())

    async def _apply(self, *, replace: bool) -> bool:
        """Whether our table is there, as it is remembered. Raises CommandFailed: only a replacement sets things right
        then, for what is remembered is ahead of the kernel.
        """
        table = self._config.table
        old, new = self._structure, self._plan()
        self._structure = new
        self._members.follow(new.selections, new.ports)
        if not self._policies:
            # As before the first policy: nothing to look up for any packet.
            if self._may_be_there:
                await self._run("nft", "-f", "-", stdin=f"add table inet {table}\ndelete table inet {table}\n")
                self._may_be_there = False
            return False
        self._may_be_there = True
        if replace:
            elements = self._members.elements()
            counts = await read_counters(table, self._run)
            text = render_base(table) + render_step(table, EMPTY, new, elements, counts=counts)
        else:
            added, removed = self._members.take_changes()
            text = render_step(table, old, new, added, removed)
        if text:
            await self._run("nft", "-f", "-", stdin=text)
        return True

    async def _has_table(self) -> bool:
        if not self._policies:
            return True
        try:
            tables = await self._run("nft", "list", "tables", "inet")
        except CommandFailed:
            return False
        if f"table inet {self._config.table}" in tables.splitlines():
            return True
        logger.warning("table was deleted by somebody, will be made again table=%s", self._config.table)
        return False


def _isolating(policy: Object) -> Object:
    spec: Object = policy.get("spec") or {}
    return {"podSelector": spec.get("podSelector") or {}, "policyTypes": spec.get("policyTypes") or []}


def _identity(pod: Object) -> str:
    """A static pod's mirror in the API carries the uid that the kubelet knows it by."""
    return annotations_of(pod).get("kubernetes.io/config.mirror") or uid_of(pod)

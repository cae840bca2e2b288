"""Keeps probing containers while they run and tells when a result turns.

One task per configured probe: it sleeps on the clock and holds no connection in between. Liveness and readiness wait
for the startup probe. Results belong to a container id, so a restarted container starts afresh.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

from timonel.api.clock import Clock
from timonel.api.objects import Object, uid_of
from timonel.kubelet.pods.spec import Kind, containers_of
from timonel.kubelet.pods.view import RUNNING, ContainerView, PodProbes, PodView, ProbeState
from timonel.kubelet.probes.actions import Actions, Outcome
from timonel.kubelet.tasks import Tasks

log = logging.getLogger(__name__)

_FIELDS = {"startup": "startupProbe", "liveness": "livenessProbe", "readiness": "readinessProbe"}
_SHOWN = {"startup": "Startup", "liveness": "Liveness", "readiness": "Readiness"}

_FRESH_SECONDS = 10.0
_EARLY_SECONDS = (0.1, 0.1, 0.2, 0.4, 0.8)
_EARLY_EXEC_SECONDS = (0.5, 1.0)
_SLOW_SECONDS = 1.0
_EARLY_LIMIT_SECONDS = 2.0

Tell = Callable[[Object, Kind, Object, str, str, str], None]
"""(pod, kind, container, event type, reason, message)."""


class ProbeObserver(Protocol):
    """Told of every regular probe and of pods that are gone, for /metrics/probes."""

    def observe(self, pod: Object, container: str, probe: str, passed: bool | None, seconds: float) -> None: ...

    def forget(self, uid: str) -> None: ...


@dataclass(slots=True)
class _Probed:
    pod: Object
    kind: Kind
    container: Object
    state: ProbeState
    startup_done: asyncio.Event
    tasks: dict[str, asyncio.Task[None]]
    pod_ip: str
    adopted: bool
    """It ran long before this agent looked."""


class Probes:
    """`sync` after every look at a pod; `on_change(pod uid)` is called when a result that matters turned.

    `run` fails when a probe is lost.
    """

    def __init__(
        self,
        *,
        actions: Actions,
        clock: Clock,
        tell: Tell,
        on_change: Callable[[str], None],
        rng: random.Random | None = None,
        observer: ProbeObserver | None = None,
    ) -> None:
        self._actions = actions
        self._clock = clock
        self._tell = tell
        self._on_change = on_change
        self._rng = rng or random.Random()
        self._observer = observer
        self._probed: dict[str, dict[str, _Probed]] = {}
        """Pod uid -> container id -> what is probed."""
        self._tasks = Tasks()

    async def run(self) -> None:
        """Until cancelled; then all probes end."""
        await self._tasks.run()

    async def close(self) -> None:
        await self._tasks.close()

    def results(self, uid: str) -> PodProbes:
        return PodProbes({cid: probed.state for cid, probed in self._probed.get(uid, {}).items()})

    def sync(
        self,
        pod: Object,
        view: PodView,
        pod_ip: str,
        *,
        ready_before: frozenset[str] = frozenset(),
        started_before: frozenset[str] = frozenset(),
        stopping: bool = False,
    ) -> None:
        """Starts probes of new containers, ends those of gone ones.

        `ready_before` and `started_before` are ids that an earlier agent had found so: a restart of the agent turns
        nothing unready. While a pod is `stopping`, only readiness goes on.
        """
        uid = uid_of(pod)
        present = self._probed.setdefault(uid, {})
        running = {c.id: c for c in view.containers if c.state == RUNNING}
        for cid in [cid for cid in present if cid not in running]:
            _cancel(present.pop(cid))
        for kind, container in containers_of(pod):
            if kind in (Kind.INIT, Kind.EPHEMERAL):
                continue
            current = view.latest(container["name"])
            if current is None or current.id not in running:
                continue
            probed = present.get(current.id)
            if probed is None:
                if stopping or not any(container.get(field) for field in _FIELDS.values()):
                    continue
                present[current.id] = self._begin(
                    pod, kind, container, current, pod_ip, current.id in ready_before, current.id in started_before
                )
            else:
                probed.pod, probed.container, probed.pod_ip = pod, container, pod_ip or probed.pod_ip
                if stopping:
                    for name in ("startup", "liveness"):
                        task = probed.tasks.pop(name, None)
                        if task is not None:
                            task.cancel()
        if not present:
            del self._probed[uid]

    def forget(self, uid: str) -> None:
        for probed in self._probed.pop(uid, {}).values():
            _cancel(probed)
        if self._observer is not None:
            self._observer.forget(uid)

    def _begin(
        self,
        pod: Object,
        kind: Kind,
        container: Object,
        current: ContainerView,
        pod_ip: str,
        was_ready: bool,
        had_started: bool,
    ) -> _Probed:
        state = ProbeState(
            startup=None if container.get("startupProbe") and not had_started else True,
            liveness=True,
            readiness=was_ready if container.get("readinessProbe") else True,
        )
        adopted = self._clock.now().timestamp() - current.started_at / 1e9 > _FRESH_SECONDS
        probed = _Probed(pod, kind, container, state, asyncio.Event(), {}, pod_ip, adopted)
        if state.startup:
            probed.startup_done.set()
        for name, field in _FIELDS.items():
            if container.get(field) and not (name == "startup" and had_started):
                probed.tasks[name] = self._tasks.start(
                    self._watch(probed, name, current.id, current.started_at / 1e9),
                    name=f"{name} probe {container['name']}",
                )
        return probed

    async def _watch(self, probed: _Probed, name: str, container_id: str, started_at: float) -> None:
        spec = probed.container[_FIELDS[name]]
        if name != "startup":
            await probed.startup_done.wait()
        delay = started_at + (spec.get("initialDelaySeconds") or 0) - self._clock.now().timestamp()
        period = spec.get("periodSeconds") or 10
        if delay > 0:
            await self._clock.sleep(delay)
        elif probed.adopted:
            # After a restart of the agent its containers are not all probed in the same instant.
            await self._clock.sleep(self._rng.random() * period)
        first: Outcome | None = None
        if delay <= 0 and not probed.adopted and name != "liveness" and not spec.get("initialDelaySeconds"):
            first = await self._try_early(probed, spec, container_id, period)
        run = 0
        last: bool | None = None
        while True:
            began = self._clock.monotonic()
            outcome = first or await self._try_once(probed, spec, container_id)
            first = None
            if self._observer is not None:
                passed = None if outcome is None or outcome.error else outcome.passed
                seconds = self._clock.monotonic() - began
                self._observer.observe(probed.pod, probed.container["name"], name, passed, seconds)
            if outcome is None:
                await self._clock.sleep(period)
                continue
            self._explain(probed, name, outcome)
            run = run + 1 if outcome.passed == last else 1
            last = outcome.passed
            needed = (spec.get("successThreshold") or 1) if last else (spec.get("failureThreshold") or 3)
            if run >= needed:
                self._set(probed, name, last)
                if name == "startup" or (name == "liveness" and not last):
                    # Passed for good, or the container is about to be killed: nothing more to ask.
                    return
            await self._clock.sleep(period)

    async def _try_early(self, probed: _Probed, spec: Object, container_id: str, period: float) -> Outcome | None:
        """Waits, for a moment, until a container that has just been started answers.

        Most programs listen some tens of milliseconds after their start: the first regular probe would miss that and
        the next come a whole period later. Tries that fail quickly count for nothing and are told to nobody. One that
        passes, or that takes long, is the first regular one: nothing is asked twice, and what is slow to answer is
        neither cut off nor given more time than it was granted.
        """
        began = self._clock.monotonic()
        for pause in _EARLY_EXEC_SECONDS if spec.get("exec") else _EARLY_SECONDS:
            asked = self._clock.monotonic()
            if pause >= period or asked - began > _EARLY_LIMIT_SECONDS:
                return None
            outcome = await self._try_once(probed, spec, container_id)
            if outcome is None or outcome.passed or self._clock.monotonic() - asked >= _SLOW_SECONDS:
                return outcome
            await self._clock.sleep(pause)
        return None

    async def _try_once(self, probed: _Probed, spec: Object, container_id: str) -> Outcome | None:
        """None when our own code broke on it: counts as nothing, and the next period asks again.

        A probe that went silent would leave its container ready, or never started, for good; one that ended the
        kubelet would do so again after each restart, and take all other pods along.
        """
        timeout = spec.get("timeoutSeconds") or 1
        try:
            return await self._actions.run(spec, probed.container, container_id, probed.pod_ip, timeout)
        except Exception:
            log.exception("probe broke pod_uid=%s container=%s", uid_of(probed.pod), probed.container["name"])
            return None

    def _explain(self, probed: _Probed, name: str, outcome: Outcome) -> None:
        shown = _SHOWN[name]
        if outcome.error:
            message = f"{shown} probe errored and resulted in unknown state: {outcome.output}"
            self._tell(probed.pod, probed.kind, probed.container, "Warning", "Unhealthy", message)
        elif not outcome.passed:
            message = f"{shown} probe failed: {outcome.output}"
            self._tell(probed.pod, probed.kind, probed.container, "Warning", "Unhealthy", message)
        elif outcome.warning:
            message = f"{shown} probe warning: {outcome.output}"
            self._tell(probed.pod, probed.kind, probed.container, "Warning", "ProbeWarning", message)

    def _set(self, probed: _Probed, name: str, passed: bool) -> None:
        before = probed.state
        if name == "startup":
            probed.state = replace(before, startup=passed)
            if passed:
                probed.startup_done.set()
        elif name == "liveness":
            probed.state = replace(before, liveness=passed)
        else:
            probed.state = replace(before, readiness=passed)
        if probed.state != before:
            log.info(
                "probe result changed pod_uid=%s container=%s probe=%s passed=%s",
                uid_of(probed.pod), probed.container["name"], name, passed,
            )  # fmt: skip
            self._on_change(uid_of(probed.pod))


def _cancel(probed: _Probed) -> None:
    for task in probed.tasks.values():
        task.cancel()

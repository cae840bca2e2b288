"""One pod, from its binding to this node until nothing of it is left: looks, plans, acts, looks again.

The worker is woken by the API, by events of the runtime, by probes and by its own timers. It keeps nothing that could
not be found again in the API and the runtime, so a new agent takes pods over where the old one left them.

    running ──(deleted, finished, failed)──► ending ──(all stopped)──► ended ──(deleted)──► gone
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Coroutine
from enum import Enum
from typing import Any, TypeVar

from timonel.api.clock import parse_time
from timonel.api.errors import ApiError
from timonel.api.objects import Object, annotations_of, is_deleting, labels_of, uid_of
from timonel.client.backoff import Backoff
from timonel.kubelet.cri.runtime import RuntimeFailure, RuntimeUnavailable
from timonel.kubelet.pods.admission import Wait
from timonel.kubelet.pods.backoff import format_delay
from timonel.kubelet.pods.ending import PodEnding
from timonel.kubelet.pods.phase import is_terminal
from timonel.kubelet.pods.plan import Kill, PodPlan, Start, plan_pod
from timonel.kubelet.pods.resize import RETRY_SECONDS, PodResizer, ResizeFailure
from timonel.kubelet.pods.services import PodServices
from timonel.kubelet.pods.spec import (
    Kind,
    container_status,
    containers_of,
    find_container,
    full_name,
    grace_seconds,
    has_run,
    is_host_network,
    spec_hash,
)
from timonel.kubelet.pods.starter import DevicesNotPrepared, PodStarter, StartFailure
from timonel.kubelet.pods.status import StatusInput, build_status
from timonel.kubelet.pods.statuses import only_own_status_differs
from timonel.kubelet.pods.termination import Terminator
from timonel.kubelet.pods.view import EXITED, RUNNING, ContainerView, PodView, Waiting
from timonel.kubelet.volumes.manager import MountFailure
from timonel.kubelet.waiting import wait_event

log = logging.getLogger(__name__)

T = TypeVar("T")

_EXIT_HINT_SECONDS = (0.02, 0.05, 0.1, 0.3, 1.0, 3.0, 10.0)
"""When to look again for an end that the event stream told of and CRI does not show yet."""

_LOOK_AGAIN_SECONDS = 0.05
_REPLACED_SECONDS = 1.0
"""How long a container that is being replaced may still be called ready."""


class Stage(Enum):
    RUNNING = "running"
    ENDING = "ending"
    ENDED = "ended"
    """Nothing runs; what is left is what people may still read: logs and how it ended."""
    GONE = "gone"


class _Interrupted(Exception):
    """The pod is to end; what was waited for does not matter any more."""


class PodWorker:
    """`pod` is replaced by `update`; `run` returns when the pod is gone."""

    def __init__(self, pod: Object, services: PodServices, *, orphan: bool = False) -> None:
        self.pod = pod
        self.uid = uid_of(pod)
        self.stage = Stage.RUNNING
        self._services = services
        self._starter = PodStarter(services)
        self._terminator = Terminator(
            runtime=services.runtime,
            hooks=services.hooks,
            clock=services.clock,
            tell=lambda kind, container, event, reason, message: services.tell(
                self.pod, kind, container, event, reason, message
            ),
        )
        self.wake = asyncio.Event()
        self._ending = asyncio.Event()
        self.is_deleted = orphan
        """The API has no such pod (any more)."""
        self.orphan = orphan
        self._reason = self._message = self._disruption = ""
        self.grace_override: int | None = None
        self._waiting: dict[str, Waiting] = {}
        self._retry_at: dict[str, float] = {}
        """Container name -> wall clock; not tried before."""
        self._told_back_off: set[str] = set()
        self._exit_hints: dict[str, int] = {}
        self.failing = False
        """The runtime did not answer the last time: worth another try as soon as it is back."""
        self._hinted: set[str] = set()
        self._hold_seconds = 0.0
        self._prepared = False
        """Volumes and cgroup are there."""
        self._resize_at = 0.0
        """When a resize that failed is tried again, wall clock."""
        self._killed: set[str] = set()
        """Names of containers that were killed to be started again."""
        self._ending_of = PodEnding(self, services, self._terminator)
        self._resizer = PodResizer(services)
        status = pod.get("status") or {}
        is_over = orphan or is_terminal(status.get("phase") or "")
        if is_over or is_deleting(pod):
            self._ending.set()
        if status.get("startTime") and not is_over:
            services.host_ports.keep(
                pod
            )  # also while it is being deleted: what runs of it is in the way of others until it has ended
            services.allocations.keep(pod)
            services.cpus.keep(pod)
        self._is_new = not status.get("startTime")
        """Not taken yet, neither by this agent nor by an earlier one."""

    @property
    def gone(self) -> bool:
        return self.stage is Stage.GONE

    # Told from outside; plain functions, only one task does the work

    def update(self, pod: Object) -> None:
        before, self.pod = self.pod, pod
        self._services.statuses.observe(pod)
        if (labels_of(before), annotations_of(before)) != (labels_of(pod), annotations_of(pod)):
            self._services.volumes.update_pod(pod)
        if self.stage is Stage.RUNNING and before["spec"] != pod["spec"]:
            self._services.objects.add(pod)
        self._services.allocations.observe(pod)
        if is_deleting(pod):
            self._ending.set()
        if not only_own_status_differs(before, pod):
            self.wake.set()

    def deleted(self, pod: Object) -> None:
        """The API object is gone: what runs of it must go, at once if it was deleted with force."""
        self.pod = pod
        self.is_deleted = True
        self._services.host_ports.release(self.uid)
        self._ending.set()
        self.wake.set()

    def notify(self) -> None:
        self.wake.set()

    def inputs_changed(self) -> None:
        """Something that was missing may be there now: what waits for a retry is tried at once."""
        self._retry_at.clear()
        self._hold_seconds = 0.0
        self.wake.set()

    async def remove_ended(self) -> None:
        """What is left of a pod that is over, when the node has no room for it. Raises RuntimeFailure."""
        if self.stage is Stage.ENDED:
            await self._ending_of.remove_containers()

    def fail(self, reason: str, message: str, *, grace: int | None = None, disruption: str = "") -> None:
        """Ends the pod for good: DeadlineExceeded, Evicted, …

        `grace` in seconds instead of the pod's own; `disruption` is the message of a DisruptionTarget condition.
        """
        self._reason, self._message, self._disruption = reason, message, disruption
        self.grace_override = grace
        self._ending.set()
        self.wake.set()

    # The loop

    async def run(self) -> None:
        backoff = Backoff(first=0.25, limit=10.0)
        if not self.orphan:
            self._services.objects.add(self.pod)
        while not self.gone:
            self.wake.clear()
            try:
                pause = await self._step()
                backoff.reset()
                self.failing = False
            except RuntimeUnavailable as exc:
                if not self.failing:
                    log.info("runtime did not answer pod=%s error=%s", full_name(self.pod), exc)
                self.failing = True
                pause = backoff.next_delay()
            except (RuntimeFailure, OSError, ApiError) as exc:
                log.warning("pod step failed pod=%s stage=%s error=%s", full_name(self.pod), self.stage.value, exc)
                if self.stage is Stage.ENDING:
                    self._services.tell_pod(self.pod, "Warning", "FailedKillPod", f"error killing pod: {exc}")
                pause = backoff.next_delay()
            except Exception:
                # A defect that one pod brings to light must not stop the others.
                log.exception("pod step broke pod=%s stage=%s", full_name(self.pod), self.stage.value)
                pause = backoff.next_delay()
            if not self.gone:
                await wait_event(self.wake, pause, self._services.clock)
        self._forget()

    async def _step(self) -> float | None:
        """One look and what follows from it; seconds until the next, None: when woken."""
        if self.stage is Stage.RUNNING and self._ending.is_set():
            self.stage = Stage.ENDING
        if self.stage is Stage.RUNNING:
            try:
                return await self._sync()
            except _Interrupted:
                return 0
        if self.stage is Stage.ENDING:
            if not await self._ending_of.end():
                return _LOOK_AGAIN_SECONDS
            self.stage = Stage.ENDED
            self._services.host_ports.release(self.uid)
            self._services.allocations.release(self.uid)
            self._services.cpus.release(self.uid)
            self._services.devices.release(self.uid)
            log.info("pod ended pod=%s", full_name(self.pod))
            return 0
        if not (self.is_deleted or is_deleting(self.pod)):
            return None
        await self._ending_of.clear_away()
        self.stage = Stage.GONE
        return None

    async def _unless_ending(self, work: Coroutine[Any, Any, T]) -> T:
        """Gives up waiting when the pod is to end: for pulls and hooks, which may take long and can be cut off."""
        task = asyncio.ensure_future(work)
        ending = asyncio.ensure_future(self._ending.wait())
        try:
            await asyncio.wait((task, ending), return_when=asyncio.FIRST_COMPLETED)
            if task.done():
                return task.result()
            raise _Interrupted
        finally:
            ending.cancel()
            if not task.done():
                task.cancel()
                await asyncio.wait((task,))

    @property
    def granted(self) -> Object:
        """The pod with the CPU and memory it was granted, which a resize may not be yet."""
        return self._services.allocations.effective(self.pod)

    def _now(self) -> float:
        return self._services.clock.now().timestamp()

    def _status(self) -> Object:
        """The newest status known: our own, or the API's."""
        status: Object = self._services.statuses.get(self.uid) or self.pod.get("status") or {}
        return status

    def pod_ip(self, view: PodView) -> str:
        if is_host_network(self.pod):
            return self._services.config.node_ips[0] if self._services.config.node_ips else ""
        return view.sandbox.ips[0] if view.sandbox is not None and view.sandbox.ips else ""

    # Running

    async def _sync(self) -> float | None:
        services = self._services
        verdict = services.admission.check(self.pod, is_new=self._is_new)
        if isinstance(verdict, Wait):
            return verdict.seconds
        if verdict is not None:
            services.tell_pod(self.pod, "Warning", verdict.reason, verdict.message)
            self.fail(verdict.reason, f"Pod was rejected: {verdict.message}")
            return 0
        self._is_new = False
        view = await services.reader.read(self.uid)
        if view.running:
            services.volumes.adopt(self.pod)
        self.sync_probes(view)
        deadline = self._deadline()
        if deadline is not None and deadline <= self._now():
            message = "Pod was active on the node longer than the specified deadline"
            services.tell_pod(self.pod, "Normal", "DeadlineExceeded", message)
            self.fail("DeadlineExceeded", message)
            return 0
        plan = plan_pod(
            self.granted,
            view,
            services.probes.results(self.uid),
            now=self._now(),
            back_off_until=self._back_off_until,
            actual=self._resizer.actual(self.granted, self._status(), view),
            killed=self._killed,
        )
        self._settle_resize(plan)
        self._explain_held(plan, view)
        if self._killed & {start.name for start in plan.starts}:
            acted = await self._replace(plan, view)
        else:
            self.publish(view)
            if plan.done or is_terminal(self._status().get("phase") or ""):
                self._ending.set()
                return 0
            acted = await self._carry_out(plan, view)
        if acted:
            return 0
        await self._remove_superseded(view)
        times = [plan.wake_at, deadline, self._resize_at if plan.updates else None]
        now = self._now()
        times += [time for time in self._retry_at.values() if time > now]
        due = [time - now for time in times if time is not None]
        due += self._look_again(view)
        return max(0.001, min(due)) if due else None

    def _deadline(self) -> float | None:
        seconds = self.pod["spec"].get("activeDeadlineSeconds")
        started = self._status().get("startTime")
        if seconds is None or not started:
            return None
        return parse_time(started).timestamp() + float(seconds)

    def sync_probes(self, view: PodView, *, stopping: bool = False) -> None:
        """A container that the status calls ready or started stays so for a new agent until a probe says otherwise."""
        status = self._status()
        ready, started = set(), set()
        for container in view.containers:
            known = container_status(status, container.name) or {}
            if str(known.get("containerID") or "").endswith(container.id):
                if known.get("ready"):
                    ready.add(container.id)
                if known.get("started"):
                    started.add(container.id)
        self._services.probes.sync(
            self.pod,
            view,
            self.pod_ip(view),
            ready_before=frozenset(ready),
            started_before=frozenset(started),
            stopping=stopping,
        )

    def _look_again(self, view: PodView) -> list[float]:
        running = {container.id for container in view.running} | {box.id for box in view.sandboxes if box.ready}
        for container_id in running:
            if container_id not in self._hinted and self._services.reader.told_end(container_id):
                self._hinted.add(container_id)
                self._exit_hints[container_id] = 0
        pauses = []
        for container_id, count in list(self._exit_hints.items()):
            if container_id not in running or count >= len(_EXIT_HINT_SECONDS):
                del self._exit_hints[container_id]
            else:
                self._exit_hints[container_id] = count + 1
                pauses.append(_EXIT_HINT_SECONDS[count])
        return pauses

    def _back_off_key(self, container: Object) -> str:
        return f"{self.uid}/{container['name']}/{spec_hash(container)}"

    def _back_off_until(self, container: Object, ended: ContainerView) -> float | None:
        return self._services.back_off.until(self._back_off_key(container), ended.finished_at / 1e9)

    def _explain_held(self, plan: PodPlan, view: PodView) -> None:
        for held in plan.held:
            found = find_container(self.pod, held.name)
            latest = view.latest(held.name)
            if found is None or latest is None:
                continue
            kind, container = found
            delay = format_delay(self._services.back_off.delay(self._back_off_key(container)))
            where = f"container={held.name} pod={full_name(self.pod)}"
            self._waiting[held.name] = Waiting("CrashLoopBackOff", f"back-off {delay} restarting failed {where}")
            if latest.id not in self._told_back_off:
                self._told_back_off.add(latest.id)
                message = f"Back-off restarting failed container {held.name} in pod {full_name(self.pod)}"
                self._services.tell(self.pod, kind, container, "Warning", "BackOff", message)

    async def _carry_out(self, plan: PodPlan, view: PodView) -> bool:
        """Does what the plan says; False when there was nothing to do."""
        if plan.kills:
            await self._unless_ending(self._kill(plan.kills, view))
            self._killed |= {kill.name for kill in plan.kills if kill.restart}
            return True
        if plan.updates and self._resize_at <= self._now():
            await self._resize(plan)
            return True
        if plan.create_sandbox:
            return await self._make_sandbox(plan, view)
        now = self._now()
        due = [start for start in plan.starts if self._retry_at.get(start.name, 0) <= now]
        if not due or self._retry_at.get("", 0) > now:
            return False
        if not self._prepared and not await self._prepare():
            return False
        for start in due:
            await self._start(start, view)
            if self._ending.is_set():
                break
        return True

    async def _replace(self, plan: PodPlan, view: PodView) -> bool:
        """As `_carry_out`, after containers were killed to be started anew at once.

        That one of them does not run is said only when the new one takes its time: as upstream, which kills and starts
        in one go, a changed image shows as ready, then as ready again.
        """
        late = asyncio.create_task(self._publish_late(view), name=f"late status of {full_name(self.pod)}")
        try:
            acted = await self._carry_out(plan, view)
        finally:
            late.cancel()
        if not acted:
            self.publish(view)
        return acted

    async def _publish_late(self, view: PodView) -> None:
        await self._services.clock.sleep(_REPLACED_SECONDS)
        self.publish(view)

    async def _prepare(self) -> bool:
        """Volumes and cgroup; False, with a time to try again, when something is missing."""
        try:
            await self._unless_ending(self._starter.prepare(self.granted))
        except DevicesNotPrepared as exc:
            self._services.tell_pod(self.pod, "Warning", "FailedPrepareDynamicResources", str(exc))
            self._hold_all(exc)
            return False
        except MountFailure as exc:
            self._services.tell_pod(self.pod, "Warning", "FailedMount", str(exc))
            self._hold_all(exc)
            return False
        except OSError as exc:
            message = f"unable to ensure pod container exists: {exc}"
            self._services.tell_pod(self.pod, "Warning", "FailedCreatePodContainer", message)
            self._hold_all(exc)
            return False
        self._retry_at.pop("", None)
        self._prepared = True
        return True

    def _hold_all(self, why: object) -> None:
        self._hold_seconds = min(max(0.5, self._hold_seconds * 2), 120.0)
        self._retry_at[""] = self._now() + self._hold_seconds
        for kind, container in containers_of(self.pod):
            if kind is Kind.MAIN:
                default = "PodInitializing" if self.pod["spec"].get("initContainers") else "ContainerCreating"
            else:
                default = "PodInitializing"
            self._waiting[container["name"]] = Waiting(default, str(why))
        self.publish(self._services.reader.known(self.uid))

    async def _make_sandbox(self, plan: PodPlan, view: PodView) -> bool:
        services = self._services
        if self._retry_at.get("", 0) > self._now():
            return False
        if plan.restart_sandbox:
            if view.sandbox is not None and view.sandbox.attempt == plan.attempt - 1 and view.containers:
                message = "Pod sandbox changed, it will be killed and re-created."
                services.tell_pod(self.pod, "Normal", "SandboxChanged", message)
            await self._terminator.stop_all(self.pod, view.running, self.pod_ip(view), grace_seconds(self.pod))
            for sandbox in view.sandboxes:
                await services.runtime.stop_pod_sandbox(sandbox.id)
        error = "" if is_host_network(self.pod) else services.network_error()
        if error:
            services.tell_pod(self.pod, "Warning", "NetworkNotReady", f"network is not ready: {error}")
            self._retry_at[""] = self._now() + 2.0
            return False
        if not await self._prepare():
            return False
        try:
            await self._starter.create_sandbox(self.granted, plan.attempt)
        except RuntimeUnavailable:
            raise
        except (RuntimeFailure, ValueError) as exc:
            message = f"Failed to create pod sandbox: {exc}"
            services.tell_pod(self.pod, "Warning", "FailedCreatePodSandBox", message)
            self._hold_seconds = min(max(1.0, self._hold_seconds * 2), 60.0)
            self._retry_at[""] = self._now() + self._hold_seconds
            return False
        self._hold_seconds = 0.0
        self._waiting.clear()
        return True

    async def _kill(self, kills: list[Kill], view: PodView) -> None:
        """Also on its way when the pod is to end: ending goes on where this was."""
        ip = self.pod_ip(view)
        by_id = {container.id: container for container in view.containers}
        graces = grace_seconds(self.pod)
        await asyncio.gather(
            *(
                self._terminator.stop(
                    self.pod,
                    by_id[kill.container_id],
                    ip,
                    graces if kill.grace_seconds is None else kill.grace_seconds,
                    message=kill.message,
                )
                for kill in kills
            )
        )

    async def _resize(self, plan: PodPlan) -> None:
        try:
            await self._resizer.carry_out(self.granted, plan.updates)
        except ResizeFailure as exc:
            self._resize_at = self._now() + RETRY_SECONDS
            self._services.allocations.fail(self.uid, str(exc))
            log.info("resize failed pod=%s error=%s", full_name(self.pod), exc)

    def _settle_resize(self, plan: PodPlan) -> None:
        """Once every container runs with what it was granted, the pod as a whole is bound to it."""
        services = self._services
        if not services.allocations.in_progress(self.uid):
            return
        if plan.updates or plan.kills or plan.starts:
            services.cgroups.widen_pod(self.granted)
            return
        services.cgroups.ensure_pod(self.granted)
        services.allocations.finish(self.uid)

    async def _start(self, start: Start, view: PodView) -> None:
        services = self._services
        found = find_container(self.pod, start.name)
        if found is None:
            return
        _, container = found
        latest = view.latest(start.name)
        if latest is None:
            known = container_status(self._status(), start.name)
            if known is not None and has_run(known):
                # Nothing of it is left in the runtime: the count of restarts goes on from what others remember.
                attempt = await asyncio.to_thread(self._starter.attempt_after, self.pod, start.name, known)
                start = Start(start.kind, start.name, attempt)
        elif latest.state == EXITED:
            services.back_off.fail(self._back_off_key(container), latest.finished_at / 1e9, self._now())
        self._retry_at.pop(start.name, None)
        try:
            pod = self.granted
            resources = (find_container(pod, start.name) or (Kind.MAIN, {}))[1].get("resources") or {}
            started = lambda container_id: self._resizer.started(container_id, resources)  # noqa: E731
            await self._unless_ending(self._starter.start(pod, start, view, started))
        except StartFailure as failure:
            self._waiting[start.name] = failure.waiting
            if failure.retry_at is not None:
                self._retry_at[start.name] = failure.retry_at
            return
        self._waiting.pop(start.name, None)
        self._killed.discard(start.name)
        log.info("container started pod=%s container=%s attempt=%d", full_name(self.pod), start.name, start.attempt)

    async def _remove_superseded(self, view: PodView) -> None:
        """Of each container the newest two runs stay (kubectl logs --previous), of sandboxes those that hold them."""
        services = self._services
        kept: set[str] = set()
        for name in {container.name for container in view.containers}:
            for index, container in enumerate(view.instances(name)):
                if index < 2 or container.state == RUNNING:
                    kept.add(container.sandbox_id)
                    continue
                await services.runtime.remove_container(container.id)
                await asyncio.to_thread(_remove_log, container.log_path)
        for sandbox in view.sandboxes[1:]:
            if sandbox.id not in kept and not sandbox.ready:
                await services.runtime.remove_pod_sandbox(sandbox.id)

    def publish(self, view: PodView, *, ended: bool = False) -> None:
        if self.orphan:
            return
        services = self._services
        previous = self._status()
        inputs = StatusInput(
            view=view,
            probes=services.probes.results(self.uid),
            now=services.clock.now(),
            host_ips=services.config.node_ips,
            runtime_name=services.runtime_name(),
            waiting=self._waiting,
            ended=ended,
            actual=self._resizer.actual(self.granted, previous, view),
            resize=services.allocations.conditions(self.uid),
            lost_when_gone=True,
            reason=self._reason,
            message=self._message,
            disruption=self._disruption,
        )
        services.statuses.set(self.pod, build_status(self.granted, previous, inputs))

    def _forget(self) -> None:
        services = self._services
        services.allocations.release(self.uid)
        services.cpus.release(self.uid)
        services.devices.release(self.uid)
        services.statuses.forget(self.uid)
        services.reader.forget(self.uid)
        services.puller.forget(self.uid)
        services.back_off.forget(f"{self.uid}/")
        services.objects.remove(self.uid)


def _remove_log(path: str) -> None:
    """With its rotated parts."""
    directory, name = os.path.split(path)
    try:
        names = os.listdir(directory)
    except OSError:
        return
    for other in names:
        if other == name or other.startswith(f"{name}."):
            try:
                os.unlink(os.path.join(directory, other))
            except FileNotFoundError:
                continue

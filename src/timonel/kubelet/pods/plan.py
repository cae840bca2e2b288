"""What to do for a pod now: a pure function of its spec, of what runs, of probe results and back-off.

The worker carries the plan out, looks again and asks again, so a plan only holds what can be done at once; what must
wait has a time in `wake_at`. Nothing here is remembered between calls: after a restart of the agent the same pod gives
the same plan.
Source: kubernetes.io/docs/concepts/workloads/pods/{pod-lifecycle,init-containers,sidecar-containers}.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Set
from dataclasses import dataclass, field

from timonel.api.objects import Object
from timonel.kubelet.containers.resources import differs
from timonel.kubelet.pods.spec import (
    Kind,
    is_host_network,
    is_sidecar,
    restart_policy,
    restarts_after,
    restarts_when_killed,
    spec_hash,
)
from timonel.kubelet.pods.view import CREATED, EXITED, RUNNING, UNKNOWN, ContainerView, PodProbes, PodView


@dataclass(frozen=True, slots=True)
class Kill:
    container_id: str
    name: str
    message: str
    """Text of the Killing event."""
    grace_seconds: int | None = None
    """The probe's own terminationGracePeriodSeconds; None: the pod's."""
    restart: bool = False
    """It comes back whatever its exit code will be."""


@dataclass(frozen=True, slots=True)
class Start:
    kind: Kind
    name: str
    attempt: int
    replaces: str = ""
    """Id of a container that was created but never started: it is removed first, so that no work is done twice."""


@dataclass(frozen=True, slots=True)
class Update:
    """A running container whose CPU or memory is to be changed."""

    container_id: str
    name: str


@dataclass(frozen=True, slots=True)
class Held:
    """A container that must be started again, but not before `until` (seconds since 1970)."""

    name: str
    until: float
    kind: Kind


@dataclass(slots=True)
class PodPlan:
    done: bool = False
    """Nothing of the pod will ever run again: end what is left (sidecars, sandbox) and settle its phase."""
    restart_sandbox: bool = False
    """The sandbox is gone or unusable: stop everything, then make one with number `attempt`."""
    create_sandbox: bool = False
    attempt: int = 0
    sandbox_id: str = ""
    kills: list[Kill] = field(default_factory=list)
    starts: list[Start] = field(default_factory=list)
    held: list[Held] = field(default_factory=list)
    updates: list[Update] = field(default_factory=list)

    @property
    def wake_at(self) -> float | None:
        return min((held.until for held in self.held), default=None)


BackOffUntil = Callable[[Object, ContainerView], float | None]
"""When the container may start again after this end of it; None: at once."""


def plan_pod(
    pod: Object,
    view: PodView,
    probes: PodProbes,
    *,
    now: float,
    back_off_until: BackOffUntil,
    actual: Mapping[str, Object] | None = None,
    killed: Set[str] = frozenset(),
) -> PodPlan:
    """`now` in seconds since 1970. `actual`: container id -> resources it runs with; None: what the spec says.
    `killed`: names of containers that were killed to be started again, so that their exit codes do not matter.
    """
    planner = _Planner(pod, view, probes, now, back_off_until, actual, killed)
    return planner.plan()


def sandbox_needed(pod: Object, view: PodView) -> tuple[bool, int]:
    """Whether a sandbox must be made, and its attempt number."""
    latest = view.sandbox
    if latest is None:
        return True, 0
    ready = sum(1 for sandbox in view.sandboxes if sandbox.ready)
    usable = (
        ready == 1
        and latest.ready
        and latest.host_network == is_host_network(pod)
        and (latest.host_network or bool(latest.ips))
    )
    return not usable, latest.attempt + 1


_RESIZED = ("cpu", "memory")


class _Planner:
    def __init__(
        self,
        pod: Object,
        view: PodView,
        probes: PodProbes,
        now: float,
        back_off_until: BackOffUntil,
        actual: Mapping[str, Object] | None,
        killed: Set[str],
    ) -> None:
        self.pod = pod
        self.init: list[Object] = pod["spec"].get("initContainers") or []
        self.main: list[Object] = pod["spec"].get("containers") or []
        self.view = view
        self.probes = probes
        self.now = now
        self.back_off_until = back_off_until
        self.actual = actual
        self.killed = killed
        self.result = PodPlan()

    def plan(self) -> PodPlan:
        needed, attempt = sandbox_needed(self.pod, self.view)
        if needed:
            self._plan_sandbox(attempt)
            return self.result
        assert self.view.sandbox is not None
        self.result.sandbox_id = self.view.sandbox.id
        self._plan_ephemeral()
        if self._plan_init():
            self._plan_main()
        if self.result.done:
            self.result.starts = [start for start in self.result.starts if start.kind is Kind.EPHEMERAL]
            self.result.held = []
        return self.result

    def _plan_sandbox(self, attempt: int) -> None:
        plan = self.result
        plan.attempt = attempt
        if attempt and self.view.containers and not self._anything_left():
            plan.done = True
            return
        plan.restart_sandbox = bool(self.view.sandboxes)
        plan.create_sandbox = True

    def _anything_left(self) -> bool:
        """After the loss of a sandbox: whether any main container still has to run, or was never run."""
        for container in self.init:
            status = self.view.latest(container["name"])
            if status is None or is_sidecar(container):
                continue
            if status.state == EXITED and status.exit_code and not self._restarts(Kind.INIT, container, status):
                return False
        for container in self.main:
            status = self.view.latest(container["name"])
            if status is None:
                # Of a pod that never restarts, the initialisation that ran in the lost sandbox cannot be repeated.
                if restart_policy(self.pod) != "Never" or not self.view.containers:
                    return True
                continue
            if status.state != EXITED:
                if restart_policy(self.pod) != "Never" or status.state == CREATED:
                    return True
            elif self._restarts(Kind.MAIN, container, status):
                return True
        return False

    def _restarts(self, kind: Kind, container: Object, status: ContainerView) -> bool:
        return container["name"] in self.killed or restarts_after(self.pod, kind, container, status.exit_code)

    def _current(self, container: Object) -> ContainerView | None:
        return self.view.latest_in(self.result.sandbox_id, container["name"])

    def _attempt(self, container: Object) -> int:
        latest = self.view.latest(container["name"])
        return 0 if latest is None else latest.attempt + 1

    def _start(self, kind: Kind, container: Object) -> None:
        """Starts a container, or holds it back while it must wait after its last end."""
        latest = self.view.latest(container["name"])
        if latest is not None and latest.state == CREATED:
            self.result.starts.append(Start(kind, container["name"], latest.attempt, latest.id))
            return
        if latest is not None and latest.state == EXITED:
            until = self.back_off_until(container, latest)
            if until is not None and until > self.now:
                self.result.held.append(Held(container["name"], until, kind))
                return
        self.result.starts.append(Start(kind, container["name"], self._attempt(container)))

    def _condemned(self, kind: Kind, container: Object, status: ContainerView) -> bool:
        """Kills a running container that must not go on, and starts it again if its policy says so."""
        probes = self.probes.of(status.id)
        grace: int | None = None
        restart = restarts_when_killed(self.pod, kind, container)
        if status.spec_hash and status.spec_hash != spec_hash(container):
            message = f"Container {container['name']} definition changed"
            restart = True
        elif probes.liveness is False:
            message = f"Container {container['name']} failed liveness probe"
            grace = (container.get("livenessProbe") or {}).get("terminationGracePeriodSeconds")
        elif probes.startup is False:
            message = f"Container {container['name']} failed startup probe"
            grace = (container.get("startupProbe") or {}).get("terminationGracePeriodSeconds")
        else:
            return self._resized(container, status)
        if restart:
            message += ", will be restarted"
        self.result.kills.append(Kill(status.id, container["name"], message, grace, restart))
        return True

    def _resized(self, container: Object, status: ContainerView) -> bool:
        """Has a container changed that does not run with what it was granted; kills it when that is its policy.

        Source: kubernetes.io/docs/tasks/configure-pod-container/resize-container-resources, "Container resize policies"
        """
        if self.actual is None:
            return False
        wanted, actual = container.get("resources") or {}, self.actual.get(status.id)
        changed = _RESIZED if actual is None else [name for name in _RESIZED if differs(wanted, actual, name)]
        if not changed:
            return False
        policies = container.get("resizePolicy") or ()
        restarting = {
            policy["resourceName"] for policy in policies if policy.get("restartPolicy") == "RestartContainer"
        }
        if actual is not None and restarting.intersection(changed):
            message = f"Container {container['name']} resize requires restart"
            self.result.kills.append(Kill(status.id, container["name"], message, restart=True))
            return True
        self.result.updates.append(Update(status.id, container["name"]))
        return False

    def _plan_ephemeral(self) -> None:
        for container in self.pod["spec"].get("ephemeralContainers") or ():
            if self.view.latest(container["name"]) is None:
                self.result.starts.append(Start(Kind.EPHEMERAL, container["name"], 0))

    def _initialized(self) -> bool:
        """A main container made in this sandbox means that initialisation was over."""
        return any(self._current(container) is not None for container in self.main)

    def _plan_init(self) -> bool:
        """Plans init containers and sidecars; True when main containers may be looked at."""
        if self._initialized():
            for container in self.init:
                if is_sidecar(container):
                    self._keep_sidecar(container)
            return True
        # The newest init container that exists is where initialisation stands; sidecars before it are kept running.
        # One of which nothing is left any more must have ended well, or those after it would not exist.
        reached = -1
        for index, container in enumerate(self.init):
            status = self._current(container)
            if status is not None:
                reached = index
                if not is_sidecar(container) and (status.state, status.exit_code) != (EXITED, 0):
                    break
        for container in self.init[: max(reached, 0)]:
            if is_sidecar(container):
                self._keep_sidecar(container)
        if reached >= 0 and not self._passed(self.init[reached]):
            return False
        if reached + 1 < len(self.init):
            following = self.init[reached + 1]
            self._start(Kind.SIDECAR if is_sidecar(following) else Kind.INIT, following)
            return False
        return True

    def _keep_sidecar(self, container: Object) -> None:
        status = self._current(container)
        if status is None or status.state in (EXITED, CREATED):
            self._start(Kind.SIDECAR, container)
        elif status.state == RUNNING:
            self._condemned(Kind.SIDECAR, container, status)

    def _passed(self, container: Object) -> bool:
        """Whether the init container that initialisation stands at lets the next one start; plans for it if not."""
        status = self._current(container)
        assert status is not None
        if is_sidecar(container):
            self._keep_sidecar(container)
            return status.state == RUNNING and self.probes.of(status.id).startup is True
        if status.state in (RUNNING, UNKNOWN):
            return False
        if status.state == CREATED:
            self._start(Kind.INIT, container)
            return False
        if status.exit_code == 0:
            return True
        if self._restarts(Kind.INIT, container, status):
            self._start(Kind.INIT, container)
        else:
            self.result.done = True
        return False

    def _plan_main(self) -> None:
        kept = 0
        for container in self.main:
            status = self.view.latest(container["name"])
            if (
                status is None
                or status.state == CREATED
                or (status.state == EXITED and self._restarts(Kind.MAIN, container, status))
            ):
                self._start(Kind.MAIN, container)
                kept += 1
            elif status.state == UNKNOWN:
                message = f'Container is in "{UNKNOWN}" state, try killing it before restart'
                self.result.kills.append(Kill(status.id, container["name"], message))
                kept += 1
            elif status.state == RUNNING:
                kept += 1
                self._condemned(Kind.MAIN, container, status)
        if not kept:
            self.result.done = True

"""The loop of autoscalers: reads the scale and the metrics, has it decided, resizes, reports.

Each autoscaler is looked at when it changes and every quarter minute; with none, nothing is done at all. What it lived
through (recommendations, changes of size) is kept in memory: after a restart the present size counts as the first
recommendation, so that nothing shrinks before its window has passed.
"""

from __future__ import annotations

import logging

from timonel.api.clock import Clock
from timonel.api.errors import ApiError
from timonel.api.labels import InvalidSelector, Selector, parse_label_selector
from timonel.api.objects import Object, ObjectKey, copy_object, key_of, labels_of, uid_of
from timonel.api.refs import HORIZONTAL_POD_AUTOSCALERS, PODS
from timonel.client.controller import Controller, Result, Watch
from timonel.client.events import EventRecorder
from timonel.client.informer import Informers
from timonel.client.protocol import ApiClient
from timonel.controllers.horizontalpodautoscaler.config import AutoscalerConfig
from timonel.controllers.horizontalpodautoscaler.limits import History
from timonel.controllers.horizontalpodautoscaler.metrics import Scene, measure
from timonel.controllers.horizontalpodautoscaler.planner import (
    ABLE,
    ACTIVE,
    SCALE_FOUND,
    Finding,
    MetricResult,
    begin,
    judge,
    plan_rescale,
    render_status,
    scale_failed,
    tolerances_of,
)
from timonel.controllers.horizontalpodautoscaler.sources import MetricSources
from timonel.controllers.horizontalpodautoscaler.targets import Target, Targets, UnknownTarget

log = logging.getLogger(__name__)


class _NoSelector(Exception):
    """Pods cannot be told apart; the message is the condition's."""

    def __init__(self, reason: str, message: str, *, event: tuple[str, str]) -> None:
        super().__init__(message)
        self.reason = reason
        self.event = event


class HorizontalPodAutoscalerController(Controller):
    """Keys are autoscalers."""

    name = "horizontal-pod-autoscaler"

    def __init__(
        self,
        *,
        client: ApiClient,
        informers: Informers,
        clock: Clock,
        recorder: EventRecorder | None = None,
        config: AutoscalerConfig | None = None,
    ) -> None:
        super().__init__(client=client, informers=informers, clock=clock, recorder=recorder)
        self._config = config or AutoscalerConfig()
        self.watches = (Watch(HORIZONTAL_POD_AUTOSCALERS, changed=_spec_changed),)
        self.informer(PODS)  # read, but no reason to look
        self._targets = Targets(client)
        self._sources = MetricSources(client, self._targets)
        self._histories: dict[ObjectKey, tuple[str, History]] = {}
        """With the autoscaler's uid: one of the same name, made anew, has lived through nothing."""
        self._selectors: dict[ObjectKey, Selector] = {}

    async def prepare(self) -> None:
        await self.informer(PODS).wait_synced()

    async def sync(self, key: ObjectKey) -> Result:
        hpa = self.lister(HORIZONTAL_POD_AUTOSCALERS).get(*key)
        if hpa is None:
            self._histories.pop(key, None)
            self._selectors.pop(key, None)
            return Result()
        try:
            await self._reconcile(key, hpa)
        except ApiError as exc:
            # Not at once again, whatever it was: the next look comes soon, and sees more.
            log.info("autoscaler was not served autoscaler=%s error=%s", key, exc)
        return Result(requeue_after=self._config.sync_period_seconds)

    async def _reconcile(self, key: ObjectKey, hpa: Object) -> None:
        try:
            target = await self._targets.find(key.namespace, hpa["spec"]["scaleTargetRef"])
        except (UnknownTarget, ApiError) as exc:
            self.event(hpa, "Warning", "FailedGetScale", str(exc))
            await self._write_conditions(hpa, [scale_failed(exc)])
            return
        history = self._history(key, hpa, target.replicas)
        current, findings = target.replicas, [SCALE_FOUND]
        started = begin(hpa, current)
        findings += started.findings
        desired, reason, statuses = started.desired, started.reason, None
        if desired is None:
            results, problem = await self._measure(key, hpa, target)
            if problem is not None:
                findings.append(problem)
                await self._give_up(hpa, current, None, findings, problem.message)
                return
            verdict = judge(results, current)
            findings.append(verdict.finding)
            statuses = verdict.statuses
            if verdict.replicas is None:
                await self._give_up(hpa, current, statuses, findings, verdict.error)
                return
            plan = plan_rescale(hpa, current, verdict, history, self.clock.now(), self._config)
            findings += plan.findings
            history, desired, reason = plan.history, plan.desired, plan.reason
            self._histories[key] = uid_of(hpa), history
        rescaled = desired != current
        if rescaled:
            try:
                await self._targets.resize(target, desired)
            except ApiError as exc:
                self.event(hpa, "Warning", "FailedRescale", f"New size: {desired}; reason: {reason}; error: {exc}")
                text = f"the HPA controller was unable to update the target scale: {exc}"
                findings.append(Finding(ABLE, False, "FailedUpdateScale", text))
                await self._write(hpa, current, _last_desired(hpa), statuses, findings)
                return
            text = f"the HPA controller was able to update the target scale to {desired}"
            findings.append(Finding(ABLE, True, "SucceededRescale", text))
            self.event(hpa, "Normal", "SuccessfulRescale", f"New size: {desired}; reason: {reason}")
            now = self.clock.now()
            self._histories[key] = uid_of(hpa), history.rescaled(current, desired, hpa["spec"].get("behavior"), now)
            log.info("target was rescaled autoscaler=%s from=%d to=%d reason=%s", key, current, desired, reason)
        await self._write(hpa, current, desired, statuses, findings, rescaled=rescaled)

    def _history(self, key: ObjectKey, hpa: Object, current: int) -> History:
        known = self._histories.get(key)
        if known is None or known[0] != uid_of(hpa):
            known = uid_of(hpa), History(recommendations=((self.clock.now(), current),))
            self._histories[key] = known
        return known[1]

    # Metrics

    async def _measure(self, key: ObjectKey, hpa: Object, target: Target) -> tuple[list[MetricResult], Finding | None]:
        """Of every metric; or why none can be asked for."""
        try:
            pods = self._pods(key, target.selector)
        except _NoSelector as exc:
            self.event(hpa, "Warning", *exc.event)
            return [], Finding(ACTIVE, False, exc.reason, str(exc))
        scene = Scene(
            namespace=key.namespace,
            selector=target.selector,
            pods=pods,
            replicas=target.replicas,
            present=target.present,
            tolerances=tolerances_of(hpa, self._config),
            now=self.clock.now(),
            config=self._config,
        )
        results = [await measure(spec, scene, self._sources) for spec in hpa["spec"].get("metrics") or ()]
        for result in results:
            if result.failure:
                self.event(hpa, "Warning", result.failure_reason, result.failure_message)
        return results, None

    def _pods(self, key: ObjectKey, text: str) -> list[Object]:
        """Those that the target selects, if they are no other autoscaler's as well."""
        if not text:
            why = "the HPA target's scale is missing a selector"
            raise _NoSelector("InvalidSelector", why, event=("SelectorRequired", "selector is required"))
        try:
            selector = parse_label_selector(text)
        except InvalidSelector as exc:
            why = f"couldn't convert selector into a corresponding internal selector object: {exc}"
            raise _NoSelector("InvalidSelector", why, event=("InvalidSelector", why)) from exc
        self._selectors[key] = selector
        pods = self.lister(PODS).list(key.namespace, selector)
        others = [
            other
            for other, theirs in self._selectors.items()
            if other.namespace == key.namespace and other != key and any(theirs.matches(labels_of(pod)) for pod in pods)
        ]
        if others:
            names = " ".join(f"{{{each.name} {each.namespace}}}" for each in sorted([key, *others]))
            why = f"pods by selector {text} are controlled by multiple HPAs: [{names}]"
            raise _NoSelector("AmbiguousSelector", why, event=("AmbiguousSelector", why))
        return list(pods)

    # Status

    async def _give_up(
        self, hpa: Object, current: int, statuses: tuple[Object, ...] | None, findings: list[Finding], why: str
    ) -> None:
        await self._write(hpa, current, _last_desired(hpa), statuses, findings)
        self.event(hpa, "Warning", "FailedComputeMetricsReplicas", why)

    async def _write_conditions(self, hpa: Object, findings: list[Finding]) -> None:
        status = hpa.get("status") or {}
        await self._write(hpa, status.get("currentReplicas") or 0, _last_desired(hpa), status.get("currentMetrics"),
                          findings)  # fmt: skip

    async def _write(
        self,
        hpa: Object,
        current: int,
        desired: int,
        statuses: tuple[Object, ...] | list[Object] | None,
        findings: list[Finding],
        *,
        rescaled: bool = False,
    ) -> None:
        status = render_status(
            hpa,
            current=current,
            desired=desired,
            metrics=statuses,
            findings=findings,
            rescaled=rescaled,
            now=self.clock.now(),
        )
        if _same(hpa.get("status") or {}, status):
            return
        try:
            await self.client.update(
                HORIZONTAL_POD_AUTOSCALERS, {**copy_object(hpa), "status": status}, subresource="status"
            )
        except ApiError as exc:
            self.event(hpa, "Warning", "FailedUpdateStatus", str(exc))
            raise


def _last_desired(hpa: Object) -> int:
    return int((hpa.get("status") or {}).get("desiredReplicas") or 0)


def _same(old: Object, new: Object) -> bool:
    def told(status: Object) -> Object:
        return {name: value for name, value in status.items() if value not in (None, 0, [])}

    return told(old) == told(new)


def _spec_changed(old: Object, new: Object) -> bool:
    return old.get("spec") != new.get("spec") or uid_of(old) != uid_of(new) or key_of(old) != key_of(new)

"""What a Job asks about its pods, and how it makes them. Pure.

Source: kubernetes.io/docs/concepts/workloads/controllers/job
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

from timonel.api.clock import parse_time
from timonel.api.objects import Object, annotations_of, is_deleting, name_of, uid_of
from timonel.api.refs import JOBS
from timonel.controllers.ownership import controller_reference
from timonel.controllers.pods import (
    condition_of,
    is_ready,
    is_terminating,
    node_name_of,
    phase_of,
    ready_since,
    restarts_of,
)

TRACKING = "batch.kubernetes.io/job-tracking"
COMPLETION_INDEX = "batch.kubernetes.io/job-completion-index"
FAILURE_COUNT = "batch.kubernetes.io/job-index-failure-count"
IGNORED_FAILURE_COUNT = "batch.kubernetes.io/job-index-ignored-failure-count"
INDEX_VARIABLE = "JOB_COMPLETION_INDEX"
MANAGER = "kubernetes.io/job-controller"
_GENERATED_NAME_BYTES = 58
"""Of the part before the random letters."""
_MAX_COUNT = 2**31 - 1
_PHASES = {"Pending": 0, "Unknown": 1, "Running": 2}


def is_indexed(job: Object) -> bool:
    return bool(job["spec"].get("completionMode") == "Indexed")


def is_suspended(job: Object) -> bool:
    return bool(job["spec"].get("suspend"))


def replaces_only_failed(job: Object) -> bool:
    return bool(job["spec"].get("podReplacementPolicy") == "Failed")


def is_managed_elsewhere(job: Object) -> bool:
    return (job["spec"].get("managedBy") or MANAGER) != MANAGER


def finished_condition(job: Object) -> Object | None:
    """Complete or Failed, once it is True."""
    for kind in ("Complete", "Failed"):
        found = condition_of(job, kind)
        if found is not None and found.get("status") == "True":
            return found
    return None


def is_tracked(pod: Object) -> bool:
    """It has the finalizer of pods that are not counted yet."""
    return TRACKING in (pod["metadata"].get("finalizers") or ())


def is_failed(pod: Object, job: Object) -> bool:
    """A deleted pod counts as failed, since it may never reach a phase; not where only ended pods are replaced."""
    phase = phase_of(pod)
    if phase == "Failed":
        return True
    return is_deleting(pod) and phase != "Succeeded" and not replaces_only_failed(job)


def completion_index(pod: Object) -> int | None:
    text = annotations_of(pod).get(COMPLETION_INDEX) or ""
    return int(text) if text.isdecimal() and len(text) < 11 else None


def valid_index(pod: Object, job: Object) -> int | None:
    index = completion_index(pod)
    return index if index is not None and index < job["spec"]["completions"] else None


def indexes_of(pods: Iterable[Object]) -> set[int]:
    return {index for index in map(completion_index, pods) if index is not None}


def failures_before(pod: Object) -> int:
    """Failures of its index before this pod that count towards backoffLimitPerIndex."""
    return _count_at(pod, FAILURE_COUNT)


def ignored_failures_before(pod: Object) -> int:
    return _count_at(pod, IGNORED_FAILURE_COUNT)


def _count_at(pod: Object, annotation: str) -> int:
    text = annotations_of(pod).get(annotation) or ""
    return int(text) if text.isdecimal() and len(text) < 11 and int(text) <= _MAX_COUNT else 0


def finished_at(pod: Object) -> datetime:
    """When its last container ended; else when it ceased to be ready, was deleted, or, at the worst, was made."""
    metadata = pod["metadata"]
    ended = _containers_ended(pod)
    if ended is not None:
        return ended
    ready = condition_of(pod, "Ready")
    if ready is not None and ready.get("status") == "False" and ready.get("lastTransitionTime"):
        return parse_time(ready["lastTransitionTime"])
    if is_deleting(pod):
        grace = timedelta(seconds=metadata.get("deletionGracePeriodSeconds") or 0)
        return parse_time(metadata["deletionTimestamp"]) - grace
    return parse_time(metadata["creationTimestamp"])


def _containers_ended(pod: Object) -> datetime | None:
    spec, status = pod.get("spec") or {}, pod.get("status") or {}
    sidecars = {
        item["name"] for item in spec.get("initContainers") or () if item.get("restartPolicy") == "Always"
    }  # fmt: skip
    statuses = [
        *(status.get("containerStatuses") or ()),
        *(item for item in status.get("initContainerStatuses") or () if item.get("name") in sidecars),
    ]
    ended = [((item.get("state") or {}).get("terminated") or {}).get("finishedAt") for item in statuses]
    times = [parse_time(text) for text in ended if text]
    return max(times) if times and len(times) == len(statuses) else None


def count_terminating(pods: Iterable[Object]) -> int:
    return sum(map(is_terminating, pods))


def surplus_pods(job: Object, active: Sequence[Object], at_least: int) -> list[Object]:
    """Active pods to give up, the least far ones first: those of no use to an Indexed Job, and `at_least` in all."""
    useless, left = _without_use(job, active) if is_indexed(job) else ([], list(active))
    more = at_least - len(useless)
    return useless + sorted(left, key=_progress)[:more] if more > 0 else useless


def _without_use(job: Object, active: Sequence[Object]) -> tuple[list[Object], list[Object]]:
    """Pods without an index, beyond the last one, or with that of another one that is further; and the rest."""
    useless: list[Object] = []
    by_index: dict[int, list[Object]] = {}
    for pod in active:
        index = valid_index(pod, job)
        if index is None:
            useless.append(pod)
        else:
            by_index.setdefault(index, []).append(pod)
    left: list[Object] = []
    for pods in by_index.values():
        if len(pods) > 1:
            pods.sort(key=_progress)
        useless += pods[:-1]
        left.append(pods[-1])
    return useless, left


def _progress(pod: Object) -> tuple[object, ...]:
    since = ready_since(pod)
    return (
        bool(node_name_of(pod)),
        _PHASES.get(phase_of(pod), 0),
        is_ready(pod),
        -since.timestamp() if since else 0.0,  # ready for longer is further
        -restarts_of(pod),
        tuple(-ord(letter) for letter in pod["metadata"].get("creationTimestamp") or ""),  # younger goes first
        uid_of(pod),
    )


def pod_for_job(job: Object, index: int | None = None, failures: tuple[int, int] | None = None) -> Object:
    """A pod as the template says. Shares the template's parts: for sending, not for changing.

    `index` of Indexed Jobs; `failures`, where limited per index, are its (counted, ignored) ones until now.
    """
    template = job["spec"]["template"]
    given = template.get("metadata") or {}
    labels = dict(given.get("labels") or {})
    annotations = dict(given.get("annotations") or {})
    spec = template.get("spec") or {}
    finalizers = [name for name in given.get("finalizers") or () if name != TRACKING]
    name = name_of(job)
    generate = f"{name}-"
    if index is not None:
        labels[COMPLETION_INDEX] = annotations[COMPLETION_INDEX] = str(index)
        generate = name[: _GENERATED_NAME_BYTES - len(f"-{index}-")] + f"-{index}-"
        spec = spec | {"hostname": f"{name}-{index}"}
        for kind in ("initContainers", "containers"):
            if spec.get(kind):
                spec[kind] = [_with_index_variable(container) for container in spec[kind]]
    if failures is not None:
        counted, ignored = failures
        annotations[FAILURE_COUNT] = str(counted)
        if ignored:
            annotations[IGNORED_FAILURE_COUNT] = str(ignored)
    metadata: Object = {
        "generateName": generate,
        **({"labels": labels} if labels else {}),
        **({"annotations": annotations} if annotations else {}),
        "finalizers": [*finalizers, TRACKING],
        "ownerReferences": [controller_reference(job, JOBS)],
    }
    return {"kind": "Pod", "apiVersion": "v1", "metadata": metadata, "spec": spec}


def _with_index_variable(container: Object) -> Object:
    present = container.get("env") or []
    if any(item.get("name") == INDEX_VARIABLE for item in present):
        return container
    source = {"fieldRef": {"fieldPath": f"metadata.labels['{COMPLETION_INDEX}']"}}
    return container | {"env": [*present, {"name": INDEX_VARIABLE, "valueFrom": source}]}

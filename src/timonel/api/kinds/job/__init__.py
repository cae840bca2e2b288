"""Job: pods that run until enough of them have succeeded; the row, defaults and the selector it gives itself."""

from __future__ import annotations

from datetime import datetime

from timonel.api import refs
from timonel.api.clock import parse_time
from timonel.api.errors import FieldError
from timonel.api.kinds.columns import (
    AGE,
    NAME,
    TEMPLATE_COLUMNS,
    format_label_selector,
    human_duration,
    plain,
    since,
)
from timonel.api.kinds.fields import number_at
from timonel.api.kinds.job.policies import default_failure_policy
from timonel.api.kinds.job.status import validate_job_status
from timonel.api.kinds.job.update import validate_job_update
from timonel.api.kinds.job.validation import (
    CONTROLLER_UID,
    INDEXED,
    JOB_NAME,
    LEGACY_CONTROLLER_UID,
    LEGACY_JOB_NAME,
    check_job,
)
from timonel.api.kinds.pod.defaults import default_pod_template
from timonel.api.kinds.rules import Errors
from timonel.api.kinds.subresources import STATUS
from timonel.api.kinds.workload import name_warnings, template_warnings
from timonel.api.objects import Object, find_by, get_path, uid_of
from timonel.api.resource import Column, Resource, Strategy

MAX_INT32 = 2**31 - 1
_MANY_INDEXES = (
    "In Indexed Jobs with a number of completions higher than 10^5 and a parallelism higher than 10^4, Kubernetes "
    "might not be able to track completedIndexes when a big number of indexes fail"
)
_SHOWN = ("Suspended", "FailureTarget", "SuccessCriteriaMet")


class JobStrategy(Strategy):
    orphans_dependents = True
    delete_warning = (
        "child pods are preserved by default when jobs are deleted; set propagationPolicy=Background to remove them "
        "or set propagationPolicy=Orphan to suppress this warning"
    )

    def default(self, obj: Object) -> None:
        spec = obj.setdefault("spec", {})
        if spec.get("parallelism") is None:
            if spec.get("completions") is None:
                spec["completions"] = 1
            spec["parallelism"] = 1
        if spec.get("backoffLimit") is None:
            spec["backoffLimit"] = 6 if spec.get("backoffLimitPerIndex") is None else MAX_INT32
        spec.setdefault("completionMode", "NonIndexed")
        spec.setdefault("suspend", False)
        spec.setdefault("manualSelector", False)
        if spec.get("podReplacementPolicy") is None:
            spec["podReplacementPolicy"] = "TerminatingOrFailed" if spec.get("podFailurePolicy") is None else "Failed"
        default_failure_policy(spec.get("podFailurePolicy"))
        default_pod_template(spec.setdefault("template", {}))
        obj.setdefault("status", {})
        _take_labels(obj)

    def prepare_create(self, obj: Object) -> None:
        obj["status"] = {}
        spec = obj["spec"]
        if not spec.get("manualSelector"):
            _generate_selector(obj, spec)
        _take_labels(obj)

    def validate_create(self, obj: Object) -> list[FieldError]:
        errors: Errors = []
        check_job(errors, obj)
        return errors

    def validate_update(self, new: Object, old: Object) -> list[FieldError]:
        return validate_job_update(new, old)

    def validate_status_update(self, new: Object, old: Object) -> list[FieldError]:
        return validate_job_status(new, old)

    def warnings(self, obj: Object, old: Object | None) -> list[str]:
        if old is not None and obj.get("spec") == old.get("spec"):
            return []
        found = name_warnings(obj) if old is None else []
        return found + job_spec_warnings(obj, "spec")


def job_spec_warnings(obj: Object, *path: str) -> list[str]:
    """What is doubtful about the Job's spec at a path."""
    spec = get_path(obj, *path, default={})
    found = []
    if spec.get("completionMode") == INDEXED:
        many = (spec.get("completions") or 0) > 100_000 and (spec.get("parallelism") or 0) > 10_000
        if many:
            found.append(f"{'.'.join(path)}: {_MANY_INDEXES}")
    return found + template_warnings(obj, *path, "template")


def _template_labels(job: Object) -> dict[str, str]:
    labels: dict[str, str] = get_path(job, "spec", "template", "metadata", "labels", default={})
    return labels


def _take_labels(job: Object) -> None:
    """A Job without labels of its own has those of its pods: the same dictionary, so also those that they get later."""
    labels = _template_labels(job)
    if labels and not job["metadata"].get("labels"):
        job["metadata"]["labels"] = labels


def _generate_selector(job: Object, spec: Object) -> None:
    """Pods are known by the Job's uid, so that no other controller's pods are meant. What was given by hand stays."""
    uid, name = uid_of(job), job["metadata"].get("name") or ""
    labels = spec["template"].setdefault("metadata", {}).setdefault("labels", {})
    for key in (LEGACY_JOB_NAME, JOB_NAME):
        labels.setdefault(key, name)
    for key in (LEGACY_CONTROLLER_UID, CONTROLLER_UID):
        labels.setdefault(key, uid)
    spec.setdefault("selector", {}).setdefault("matchLabels", {}).setdefault(CONTROLLER_UID, uid)


def _is_true(job: Object, kind: str) -> bool:
    condition = find_by(get_path(job, "status", "conditions"), "type", kind)
    return condition is not None and condition.get("status") == "True"


def job_status_text(job: Object) -> str:
    for kind in ("Complete", "Failed"):
        if _is_true(job, kind):
            return kind
    if job["metadata"].get("deletionTimestamp"):
        return "Terminating"
    return next((kind for kind in _SHOWN if _is_true(job, kind)), "Running")


def _completions(job: Object) -> str:
    succeeded, wanted = get_path(job, "status", "succeeded", default=0), get_path(job, "spec", "completions")
    if wanted is not None:
        return f"{succeeded}/{wanted}"
    parallelism = get_path(job, "spec", "parallelism", default=0)
    return f"{succeeded}/1 of {parallelism}" if parallelism > 1 else f"{succeeded}/1"


def _duration(job: Object, now: datetime) -> str:
    start, end = get_path(job, "status", "startTime"), get_path(job, "status", "completionTime")
    if not start:
        return ""
    return human_duration((parse_time(end) - parse_time(start)).total_seconds()) if end else since(start, now)


JOBS = Resource(
    ref=refs.JOBS,
    definition="io.k8s.api.batch.v1.Job",
    singular="job",
    categories=("all",),
    subresources=(STATUS,),
    strategy=JobStrategy(),
    columns=(
        NAME,
        Column("Status", plain(job_status_text), description="Whether it runs, and how it ended."),
        Column("Completions", plain(_completions), description="Pods that succeeded, of those needed."),
        Column("Duration", _duration, description="How long it has run, or took."),
        AGE,
        *TEMPLATE_COLUMNS,
        Column(
            "Selector",
            plain(lambda obj: format_label_selector(get_path(obj, "spec", "selector"))),
            priority=1,
            description="Labels its pods are known by.",
        ),
    ),
    selectable_fields={"status.successful": number_at("status", "succeeded")},
    storage_prefix="/registry/jobs/",
    has_status=True,
)

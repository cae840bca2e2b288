"""What a Job's spec must be, in a Job and in a CronJob's template."""

from __future__ import annotations

from timonel.api.field_errors import Path, go_struct, invalid, not_supported, required, too_long
from timonel.api.kinds.job.policies import check_failure_policy, check_replacement_policy, check_success_policy
from timonel.api.kinds.pod.validation import check_template
from timonel.api.kinds.rules import Errors, check_domain_prefixed_path, check_label_selector, check_not_negative
from timonel.api.kinds.workload import label_mismatch
from timonel.api.labels import InvalidSelector, selector_from_object
from timonel.api.names import validate_dns1123_label
from timonel.api.objects import Object, labels_of, uid_of

JOB_NAME, LEGACY_JOB_NAME = "batch.kubernetes.io/job-name", "job-name"
CONTROLLER_UID, LEGACY_CONTROLLER_UID = "batch.kubernetes.io/controller-uid", "controller-uid"
INDEXED, NON_INDEXED = "Indexed", "NonIndexed"
MAX_INDEXED_PARALLELISM = 100_000
MAX_FAILED_INDEXES = 100_000
# Beyond so many completions, what is tracked per index must stay within the size of an object.
MANY_COMPLETIONS = 100_000
MANY_COMPLETIONS_LIMIT = 10_000
MANAGED_BY_LIMIT = 63
_SPEC = Path("spec")
_NOT_NEGATIVE = (
    "parallelism", "completions", "activeDeadlineSeconds", "backoffLimit", "ttlSecondsAfterFinished",
    "backoffLimitPerIndex",
)  # fmt: skip


def check_job(errors: Errors, job: Object, *, prefixed_labels: bool = True) -> None:
    """A whole Job. `prefixed_labels` is False for Jobs from before those labels came."""
    spec = job.get("spec") or {}
    _check_generated_selector(errors, job, prefixed_labels=prefixed_labels)
    check_selected_spec(errors, spec)
    completions = spec.get("completions")
    if spec.get("completionMode") == INDEXED and completions is not None and completions > 0:
        name = job["metadata"].get("name") or ""
        longest = f"{name}-{completions - 1}"
        if validate_dns1123_label(longest):
            why = f"will not able to create pod with invalid DNS label: {longest}"
            errors.append(invalid(Path("metadata") / "name", name, why))


def check_selected_spec(errors: Errors, spec: Object) -> None:
    """A spec with its selector, which must select the template's pods."""
    check_job_spec(errors, _SPEC, spec)
    selector = spec.get("selector")
    if selector is None:
        errors.append(required(_SPEC / "selector"))
    else:
        check_label_selector(errors, _SPEC / "selector", selector)
    labels = ((spec.get("template") or {}).get("metadata") or {}).get("labels")
    try:
        matches = selector_from_object(selector).matches(labels)
    except InvalidSelector:
        return
    if not matches:
        where = _SPEC / "template" / "metadata" / "labels"
        errors.append(label_mismatch(where, labels))


def check_job_spec(errors: Errors, path: Path, spec: Object) -> None:
    for field in _NOT_NEGATIVE:
        check_not_negative(errors, path / field, spec.get(field))
    per_index, max_failed = spec.get("backoffLimitPerIndex"), spec.get("maxFailedIndexes")
    if max_failed is not None:
        check_not_negative(errors, path / "maxFailedIndexes", max_failed)
        if per_index is None:
            errors.append(required(path / "backoffLimitPerIndex", "when maxFailedIndexes is specified"))
    manager = spec.get("managedBy")
    if manager is not None:
        check_domain_prefixed_path(errors, path / "managedBy", manager)
        if len(manager.encode()) > MANAGED_BY_LIMIT:
            errors.append(too_long(path / "managedBy", MANAGED_BY_LIMIT))
    mode = spec.get("completionMode")
    if mode is not None and mode not in (NON_INDEXED, INDEXED):
        errors.append(not_supported(path / "completionMode", mode, (NON_INDEXED, INDEXED)))
    if mode == INDEXED:
        _check_indexed(errors, path, spec)
    elif mode is None or mode == NON_INDEXED:
        for field, value in (("backoffLimitPerIndex", per_index), ("maxFailedIndexes", max_failed)):
            if value is not None:
                errors.append(invalid(path / field, value, "requires indexed completion mode"))
    if spec.get("podFailurePolicy") is not None:
        check_failure_policy(errors, path / "podFailurePolicy", spec)
    if spec.get("successPolicy") is not None:
        if mode != INDEXED:
            rules = spec["successPolicy"].get("rules") or ()
            shown = {"Rules": [go_struct(rule, {"succeededIndexes": None, "succeededCount": None}) for rule in rules]}
            errors.append(invalid(path / "successPolicy", shown, "requires indexed completion mode"))
        else:
            check_success_policy(errors, path / "successPolicy", spec)
    check_replacement_policy(errors, path / "podReplacementPolicy", spec)
    check_template(errors, path / "template", spec.get("template") or {})
    _check_restart_policy(errors, path / "template" / "spec" / "restartPolicy", spec)


def _check_indexed(errors: Errors, path: Path, spec: Object) -> None:
    completions, parallelism = spec.get("completions"), spec.get("parallelism")
    max_failed = spec.get("maxFailedIndexes")
    if completions is None:
        errors.append(required(path / "completions", f"when completion mode is {INDEXED}"))
    if parallelism is not None and parallelism > MAX_INDEXED_PARALLELISM:
        why = f"must be less than or equal to {MAX_INDEXED_PARALLELISM} when completion mode is {INDEXED}"
        errors.append(invalid(path / "parallelism", parallelism, why))
    if completions is not None and max_failed is not None and max_failed > completions:
        errors.append(invalid(path / "maxFailedIndexes", max_failed, "must be less than or equal to completions"))
    if max_failed is not None and max_failed > MAX_FAILED_INDEXES:
        why = f"must be less than or equal to {MAX_FAILED_INDEXES}"
        errors.append(invalid(path / "maxFailedIndexes", max_failed, why))
    if (completions or 0) <= MANY_COMPLETIONS or spec.get("backoffLimitPerIndex") is None:
        return
    if max_failed is None:
        why = f"must be specified when completions is above {MANY_COMPLETIONS}"
        errors.append(required(path / "maxFailedIndexes", why))
    why = (
        f"must be less than or equal to {MANY_COMPLETIONS_LIMIT} when completions are above {MANY_COMPLETIONS} and "
        "used with backoff limit per index"
    )
    for field, value in (("parallelism", parallelism), ("maxFailedIndexes", max_failed)):
        if value is not None and value > MANY_COMPLETIONS_LIMIT:
            errors.append(invalid(path / field, value, why))


def _check_restart_policy(errors: Errors, path: Path, spec: Object) -> None:
    """Pods of Jobs end, so they do not always restart."""
    policy = ((spec.get("template") or {}).get("spec") or {}).get("restartPolicy") or ""
    if policy in ("", "Always"):
        errors.append(required(path, 'valid values: "OnFailure", "Never"'))
    elif policy not in ("OnFailure", "Never"):
        errors.append(not_supported(path, policy, ("OnFailure", "Never")))
    elif spec.get("podFailurePolicy") is not None and policy != "Never":
        errors.append(invalid(path, policy, 'only "Never" is supported when podFailurePolicy is specified'))


def _check_generated_selector(errors: Errors, job: Object, *, prefixed_labels: bool) -> None:
    """A selector not given by hand is about this Job's uid, and the template has the labels that go with it."""
    spec = job.get("spec") or {}
    selector = spec.get("selector")
    if spec.get("manualSelector") or selector is None:
        return
    uid, name = uid_of(job), job["metadata"].get("name") or ""
    if not uid:
        errors.append(required(Path("metadata") / "uid"))
    expected = {LEGACY_CONTROLLER_UID: uid, LEGACY_JOB_NAME: name}
    if prefixed_labels:
        expected |= {CONTROLLER_UID: uid, JOB_NAME: name}
    template = spec.get("template") or {}
    labels = labels_of(template) if template.get("metadata") else {}
    for key, value in expected.items():
        where = (_SPEC / "template" / "metadata" / "labels")[key]
        if key not in labels:
            errors.append(required(where, f"must be '{value}'"))
        elif labels[key] != value:
            errors.append(invalid(where, dict(labels), f"must be '{value}'"))
    try:
        if not selector_from_object(selector).matches(expected):
            errors.append(invalid(_SPEC / "selector", selector, "`selector` not auto-generated"))
    except InvalidSelector:
        pass  # found where the selector itself is checked

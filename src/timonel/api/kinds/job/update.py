"""What may change in a Job: how much runs at once, deadlines, suspension; more while it is suspended and idle."""

from __future__ import annotations

from typing import Any

from timonel.api.field_errors import Path, go_struct, invalid
from timonel.api.kinds.job.validation import CONTROLLER_UID, INDEXED, JOB_NAME, check_job, check_selected_spec
from timonel.api.kinds.pod.update import without_empties
from timonel.api.kinds.rules import IMMUTABLE, Errors, check_immutable
from timonel.api.objects import Object, copy_object, find_by, get_path

_SPEC = Path("spec")
_IMMUTABLE = ("completionMode", "podFailurePolicy", "backoffLimitPerIndex", "managedBy", "successPolicy")
_DIRECTIVES = ("nodeSelector", "tolerations", "schedulingGates")


def validate_job_update(new: Object, old: Object) -> Errors:
    errors: Errors = []
    spec, before = new.get("spec") or {}, old.get("spec") or {}
    old_labels = get_path(before, "template", "metadata", "labels", default={})
    check_job(errors, new, prefixed_labels=JOB_NAME in old_labels and CONTROLLER_UID in old_labels)
    check_selected_spec(errors, spec)
    _check_completions(errors, spec, before)
    check_immutable(errors, _SPEC / "selector", spec.get("selector"), before.get("selector"))
    _check_template(errors, spec.get("template") or {}, old)
    for field in _IMMUTABLE:
        _check_unchanged(errors, _SPEC / field, _shown(field, spec.get(field)), _shown(field, before.get(field)))
    return errors


def _shown(field: str, value: Any) -> Any:
    """The two policies as messages show them."""
    if value is None or field not in ("podFailurePolicy", "successPolicy"):
        return value
    rules = value.get("rules")
    if rules is None:
        return {"Rules": None}
    if field == "successPolicy":
        return {"Rules": [go_struct(rule, {"succeededIndexes": None, "succeededCount": None}) for rule in rules]}
    shown = []
    for rule in rules:
        codes, conditions = rule.get("onExitCodes"), rule.get("onPodConditions")
        shown.append(
            {
                "Action": rule.get("action") or "",
                "OnExitCodes": codes and go_struct(codes, {"containerName": None, "operator": "", "values": None}),
                "OnPodConditions": conditions and [go_struct(item, {"type": "", "status": ""}) for item in conditions],
            }
        )
    return {"Rules": shown}


def _check_unchanged(errors: Errors, path: Path, new: Any, old: Any) -> None:
    """Here 0 is not the same as nothing: no retries is not as many as the Job allows."""
    if new != old:
        errors.append(invalid(path, new, IMMUTABLE))


def is_idle(job: Object) -> bool:
    """Suspended, and no pod runs: it never started, or its pods have been stopped. Then its template may change."""
    status = job.get("status") or {}
    if not get_path(job, "spec", "suspend") or status.get("active"):
        return False
    condition = find_by(status.get("conditions"), "type", "Suspended")
    return status.get("startTime") is None or (condition is not None and condition.get("status") == "True")


def _check_completions(errors: Errors, spec: Object, before: Object) -> None:
    """An Indexed Job is scaled by changing completions and parallelism together."""
    completions = spec.get("completions")
    if spec.get("completionMode") != INDEXED:
        _check_unchanged(errors, _SPEC / "completions", completions, before.get("completions"))
    elif completions is not None and completions not in (before.get("completions"), spec.get("parallelism")):
        why = f"can only be modified in tandem with {_SPEC / 'parallelism'}"
        errors.append(invalid(_SPEC / "completions", completions, why))


def _check_template(errors: Errors, template: Object, old: Object) -> None:
    before = get_path(old, "spec", "template", default={})
    path = _SPEC / "template"
    if not is_idle(old):
        if without_empties(template) != without_empties(before):
            errors.append(invalid(path, template, IMMUTABLE))
        return
    pod_spec, pod_before = _fixed_part(template.get("spec") or {}), _fixed_part(before.get("spec") or {})
    for kind in ("containers", "initContainers"):
        containers, known = pod_spec.get(kind) or [], pod_before.get(kind) or []
        if len(containers) == len(known):
            for container, was in zip(containers, known, strict=True):
                if container.get("name") == was.get("name"):
                    was["resources"] = container.get("resources")
    if without_empties(pod_spec) != without_empties(pod_before):
        errors.append(invalid(path / "spec", template.get("spec") or {}, IMMUTABLE))


def _fixed_part(pod_spec: Object) -> Object:
    """What says nothing about where the pods may run."""
    fixed = copy_object({field: value for field, value in pod_spec.items() if field not in _DIRECTIVES})
    if fixed.get("affinity"):
        fixed["affinity"].pop("nodeAffinity", None)
    return fixed

"""What may change in a running pod: images, a shorter deadline, more tolerations, fewer scheduling gates."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from timonel.api.field_errors import Path, forbidden, go_struct, invalid, render_value, required
from timonel.api.kinds.pod.annotations import check_annotation_updates
from timonel.api.kinds.pod.containers import check_image_padding
from timonel.api.kinds.pod.validation import MAX_INT32, check_pod
from timonel.api.kinds.rules import Errors
from timonel.api.objects import Object, get_path

_SPEC = Path("spec")
_REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
_UPDATABLE = (
    "`spec.containers[*].image`",
    "`spec.initContainers[*].image`",
    "`spec.activeDeadlineSeconds`",
    "`spec.tolerations` (only additions to existing tolerations)",
    "`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)",
)
_CHECKED_APART = ("activeDeadlineSeconds", "schedulingGates", "tolerations", "containers", "initContainers")


def validate_pod_update(new: Object, old: Object) -> Errors:
    errors: Errors = []
    check_pod(errors, new)
    spec, before = new.get("spec") or {}, old.get("spec") or {}
    annotations = Path("metadata") / "annotations"
    check_annotation_updates(
        errors, annotations, new["metadata"].get("annotations"), old["metadata"].get("annotations")
    )
    for kind in ("containers", "initContainers"):
        containers = spec.get(kind) or []
        if len(containers) != len(before.get(kind) or ()):
            errors.append(forbidden(_SPEC / kind, "pod updates may not add or remove containers"))
            return errors
        for index, container in enumerate(containers):
            if not container.get("image"):
                errors.append(required((_SPEC / kind)[index] / "image"))
            check_image_padding(errors, (_SPEC / kind)[index], container)
    if not _check_deadline(errors, spec.get("activeDeadlineSeconds"), before.get("activeDeadlineSeconds")):
        return errors
    if spec == before:
        return errors
    _check_tolerations(errors, spec.get("tolerations") or [], before.get("tolerations") or [])
    _check_gates(errors, spec.get("schedulingGates") or [], before.get("schedulingGates") or [])
    remaining = _without_updatable(spec, before)
    if before.get("schedulingGates"):
        _check_gated(errors, remaining, before)
    if remaining != before and without_empties(remaining) != without_empties(before):
        fields = ",".join(_UPDATABLE)
        lines = "\n".join(describe_difference(before, remaining))
        errors.append(forbidden(_SPEC, f"pod updates may not change fields other than {fields}\n{lines}"))
    return errors


def _check_deadline(errors: Errors, new: int | None, old: int | None) -> bool:
    """Returns whether the other checks still make sense."""
    path = _SPEC / "activeDeadlineSeconds"
    if new is None:
        if old is not None:
            errors.append(invalid(path, None, "must not update from a positive integer to nil value"))
        return True
    if not 0 <= new <= MAX_INT32:
        errors.append(invalid(path, new, f"must be between 0 and {MAX_INT32}, inclusive"))
        return False
    if old is not None and old < new:
        errors.append(invalid(path, new, "must be less than or equal to previous value"))
        return False
    return True


def _check_tolerations(errors: Errors, new: list[Object], old: list[Object]) -> None:
    def without_seconds(toleration: Object) -> Object:
        return {key: value for key, value in toleration.items() if key != "tolerationSeconds"}

    kept = [without_seconds(toleration) for toleration in new]
    if any(without_seconds(toleration) not in kept for toleration in old):
        why = "existing toleration can not be modified except its tolerationSeconds"
        errors.append(forbidden(_SPEC / "tolerations", why))


def _check_gates(errors: Errors, new: list[Object], old: list[Object]) -> None:
    known = {gate.get("name") for gate in old}
    for index, gate in enumerate(new):
        if gate.get("name") not in known:
            why = f"only deletion is allowed, but found new scheduling gate '{gate.get('name') or ''}'"
            errors.append(forbidden((_SPEC / "schedulingGates")[index] / "name", why))


def _without_updatable(spec: Object, before: Object) -> Object:
    """The new spec with everything that may change put back: equal to `before` when nothing else changed."""
    remaining = dict(spec)
    for field in _CHECKED_APART:
        if field in before:
            remaining[field] = before[field]
        else:
            remaining.pop(field, None)
    for kind in ("containers", "initContainers"):
        pairs = zip(spec.get(kind) or (), before.get(kind) or (), strict=False)
        if kind in spec and kind in before:
            remaining[kind] = [{**new, "image": old.get("image")} for new, old in pairs]
    period = before.get("terminationGracePeriodSeconds")
    if period is not None and period < 0 and spec.get("terminationGracePeriodSeconds") == 1:
        remaining["terminationGracePeriodSeconds"] = period
    return remaining


def _check_gated(errors: Errors, remaining: Object, before: Object) -> None:
    """A gated pod may still be narrowed down: more node selectors, stricter node affinity."""
    selector, old_selector = remaining.get("nodeSelector") or {}, before.get("nodeSelector") or {}
    if selector != old_selector:
        if any(selector.get(key) != value for key, value in old_selector.items()):
            why = "only additions to spec.nodeSelector are allowed (no mutations or deletions)"
            errors.append(invalid(_SPEC / "nodeSelector", selector, why))
        _restore(remaining, before, "nodeSelector")
    node, old_node = get_path(remaining, "affinity", "nodeAffinity"), get_path(before, "affinity", "nodeAffinity")
    if node == old_node:
        return
    _check_terms(errors, node, old_node)
    affinity = {key: value for key, value in (remaining.get("affinity") or {}).items() if key != "nodeAffinity"}
    if old_node is not None:
        affinity["nodeAffinity"] = old_node
    if affinity or before.get("affinity") == {}:
        remaining["affinity"] = affinity
    else:
        remaining.pop("affinity", None)


def without_empties(value: Any) -> Any:
    """An empty list or map says the same as none."""
    if isinstance(value, dict):
        pruned = ((key, without_empties(item)) for key, item in value.items())
        return {key: item for key, item in pruned if item not in (None, [], {})}
    if isinstance(value, list):
        return [without_empties(item) for item in value]
    return value


def _restore(remaining: Object, before: Object, field: str) -> None:
    if field in before:
        remaining[field] = before[field]
    else:
        remaining.pop(field, None)


def _shown(term: Object) -> Object:
    """A node selector term as messages show it."""
    fields = {"key": "", "operator": "", "values": None}
    parts = {name: term.get(name) for name in ("matchExpressions", "matchFields")}
    return {name[:1].upper() + name[1:]: items and [go_struct(item, fields) for item in items]
            for name, items in parts.items()}  # fmt: skip


def _check_terms(errors: Errors, new: Object | None, old: Object | None) -> None:
    old_terms = get_path(old, _REQUIRED, "nodeSelectorTerms", default=[])
    if not old_terms:
        return
    new_terms = get_path(new, _REQUIRED, "nodeSelectorTerms", default=[])
    path = _SPEC / "affinity" / "nodeAffinity" / _REQUIRED / "nodeSelectorTerms"
    if len(old_terms) != len(new_terms):
        why = "no additions/deletions to non-empty NodeSelectorTerms list are allowed"
        errors.append(invalid(path, [_shown(term) for term in new_terms] or None, why))
        return
    for index, (term, was) in enumerate(zip(new_terms, old_terms, strict=True)):
        if not _only_added(term, was):
            errors.append(invalid(path[index], _shown(term), "only additions are allowed (no mutations or deletions)"))


def _only_added(new: Object, old: Object) -> bool:
    fields = ("matchExpressions", "matchFields")
    if not any(old.get(field) for field in fields):
        return not any(new.get(field) for field in fields)
    return all((new.get(field) or [])[: len(old.get(field) or [])] == (old.get(field) or []) for field in fields)


def describe_difference(old: Any, new: Any, path: str = "spec") -> Iterator[str]:
    """Lines that name each changed field with its old (-) and new (+) value."""
    if isinstance(old, dict) and isinstance(new, dict):
        for key in sorted(old.keys() | new.keys()):
            if old.get(key) != new.get(key):
                yield from describe_difference(old.get(key), new.get(key), f"{path}.{key}")
    elif isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        for index, (before, after) in enumerate(zip(old, new, strict=True)):
            if before != after:
                yield from describe_difference(before, after, f"{path}[{index}]")
    else:
        yield f"  {path}:"
        if old is not None:
            yield f"-   {render_value(old)}"
        if new is not None:
            yield f"+   {render_value(new)}"

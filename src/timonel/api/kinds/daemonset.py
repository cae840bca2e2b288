"""DaemonSet: a pod on every node that its template fits."""

from __future__ import annotations

import re

from timonel.api import refs
from timonel.api.errors import BadRequest, FieldError
from timonel.api.field_errors import Path, go_struct, invalid, not_supported, quote, required
from timonel.api.kinds.columns import (
    AGE,
    NAME,
    TEMPLATE_COLUMNS,
    cell_at,
    format_label_selector,
    format_labels,
    plain,
)
from timonel.api.kinds.pod.defaults import default_pod_template
from timonel.api.kinds.pod.validation import check_template
from timonel.api.kinds.rules import (
    Errors,
    check_at_most_all,
    check_count_or_percent,
    check_immutable,
    check_label_selector,
    check_not_negative,
    int_or_percent,
)
from timonel.api.kinds.subresources import STATUS
from timonel.api.kinds.workload import (
    SPEC,
    check_collision_count,
    check_endless_pods,
    label_mismatch,
    template_warnings,
)
from timonel.api.kinds.workload import STATUS as STATUS_PATH
from timonel.api.labels import InvalidSelector, selector_from_object
from timonel.api.objects import Object, annotations_of, get_path
from timonel.api.placement import TEMPLATE_GENERATION
from timonel.api.resource import Column, Resource, Strategy

_COUNTS = (
    "currentNumberScheduled", "numberMisscheduled", "desiredNumberScheduled", "numberReady", "observedGeneration",
    "updatedNumberScheduled", "numberAvailable", "numberUnavailable", "collisionCount",
)  # fmt: skip
_ALWAYS = _COUNTS[:4]
_UPDATE = SPEC / "updateStrategy"
_integer = re.compile(r"[+-]?[0-9]{1,18}").fullmatch


class DaemonSetStrategy(Strategy):
    def default(self, obj: Object) -> None:
        text = annotations_of(obj).get(TEMPLATE_GENERATION)
        if text is not None and not _integer(text):
            why = f"strconv.ParseInt: parsing {quote(text)}: invalid syntax"
            raise BadRequest(f'DaemonSet in version "v1" cannot be handled as a DaemonSet: {why}')
        if text is None:
            _set_template_generation(obj, 0)
        spec = obj.setdefault("spec", {})
        update = spec.setdefault("updateStrategy", {})
        if not update.get("type"):
            update["type"] = "RollingUpdate"
        if update["type"] == "RollingUpdate":
            rolling = update.setdefault("rollingUpdate", {})
            rolling.setdefault("maxUnavailable", 1)
            rolling.setdefault("maxSurge", 0)
        spec.setdefault("revisionHistoryLimit", 10)
        default_pod_template(spec.setdefault("template", {}))
        _fill_status(obj.setdefault("status", {}))

    def prepare_create(self, obj: Object) -> None:
        obj["status"] = {}
        _fill_status(obj["status"])
        _set_template_generation(obj, max(1, _template_generation(obj)))

    def validate_create(self, obj: Object) -> list[FieldError]:
        errors: Errors = []
        _check_spec(errors, obj.get("spec") or {})
        return errors

    def prepare_update(self, new: Object, old: Object) -> None:
        changed = get_path(new, "spec", "template") != get_path(old, "spec", "template")
        _set_template_generation(new, _template_generation(old) + changed)

    def validate_update(self, new: Object, old: Object) -> list[FieldError]:
        errors: Errors = []
        check_immutable(errors, SPEC / "selector", get_path(new, "spec", "selector"), get_path(old, "spec", "selector"))
        _check_spec(errors, new.get("spec") or {})
        return errors

    def prepare_status_update(self, new: Object, old: Object) -> None:
        _set_template_generation(new, _template_generation(old))

    def validate_status_update(self, new: Object, old: Object) -> list[FieldError]:
        errors: Errors = []
        status = new.get("status") or {}
        for field in _COUNTS:
            check_not_negative(errors, STATUS_PATH / field, status.get(field))
        check_collision_count(errors, status, old.get("status") or {})
        return errors

    def warnings(self, obj: Object, old: Object | None) -> list[str]:
        if old is not None and get_path(obj, "spec", "template") == get_path(old, "spec", "template"):
            return []
        return template_warnings(obj, "spec", "template")


def _fill_status(status: Object) -> None:
    for field in _ALWAYS:
        status.setdefault(field, 0)


def _template_generation(obj: Object) -> int:
    text = annotations_of(obj).get(TEMPLATE_GENERATION) or ""
    return int(text) if _integer(text) else 0


def _set_template_generation(obj: Object, generation: int) -> None:
    metadata = obj["metadata"]
    metadata["annotations"] = {**(metadata.get("annotations") or {}), TEMPLATE_GENERATION: str(generation)}


def _check_spec(errors: Errors, spec: Object) -> None:
    selector, template = spec.get("selector"), spec.get("template") or {}
    check_label_selector(errors, SPEC / "selector", selector)
    labels = (template.get("metadata") or {}).get("labels")
    try:
        if not selector_from_object(selector).matches(labels):
            where = SPEC / "template" / "metadata" / "labels"
            errors.append(label_mismatch(where, labels))
    except InvalidSelector:
        pass  # found above
    if selector is not None and not selector.get("matchLabels") and not selector.get("matchExpressions"):
        errors.append(invalid(SPEC / "selector", selector, "empty selector is invalid for daemonset"))
    check_template(errors, SPEC / "template", template)
    check_endless_pods(errors, template, called="DaemonSet")
    check_not_negative(errors, SPEC / "minReadySeconds", spec.get("minReadySeconds"))
    _check_update_strategy(errors, spec.get("updateStrategy") or {})
    check_not_negative(errors, SPEC / "revisionHistoryLimit", spec.get("revisionHistoryLimit"))


def _shown(strategy: Object) -> Object:
    """As messages show it."""
    rolling = strategy.get("rollingUpdate")
    if rolling is not None:
        rolling = go_struct(rolling, {"maxUnavailable": 0, "maxSurge": 0})
    return {"Type": strategy.get("type") or "", "RollingUpdate": rolling}


def _check_update_strategy(errors: Errors, strategy: Object) -> None:
    kind, rolling = strategy.get("type"), strategy.get("rollingUpdate")
    if kind == "OnDelete":
        return
    if kind != "RollingUpdate":
        errors.append(not_supported(_UPDATE, _shown(strategy), ("RollingUpdate", "OnDelete")))
    elif rolling is None:
        errors.append(required(_UPDATE / "rollingUpdate"))
    else:
        _check_rolling_update(errors, _UPDATE / "rollingUpdate", rolling)


def _check_rolling_update(errors: Errors, path: Path, rolling: Object) -> None:
    """Either pods go before their successors come (maxUnavailable), or after (maxSurge)."""
    unavailable, surge = rolling.get("maxUnavailable"), rolling.get("maxSurge")
    for rule in (check_count_or_percent, check_at_most_all):
        rule(errors, path / "maxUnavailable", unavailable)
        rule(errors, path / "maxSurge", surge)
    if int_or_percent(unavailable) and int_or_percent(surge):
        errors.append(invalid(path / "maxSurge", surge, "may not be set when maxUnavailable is non-zero"))
    elif not int_or_percent(unavailable) and not int_or_percent(surge):
        errors.append(required(path / "maxUnavailable", "cannot be 0 when maxSurge is 0"))


def _count(title: str, field: str, description: str) -> Column:
    return Column(title, cell_at("status", field, default=0), type="integer", description=description)


DAEMON_SETS = Resource(
    ref=refs.DAEMON_SETS,
    definition="io.k8s.api.apps.v1.DaemonSet",
    singular="daemonset",
    short_names=("ds",),
    categories=("all",),
    subresources=(STATUS,),
    strategy=DaemonSetStrategy(),
    columns=(
        NAME,
        _count("Desired", "desiredNumberScheduled", "Nodes that should run a pod."),
        _count("Current", "currentNumberScheduled", "Of those, nodes that have one."),
        _count("Ready", "numberReady", "Of those, nodes whose pod is ready."),
        _count("Up-to-date", "updatedNumberScheduled", "Nodes whose pod is of the current template."),
        _count("Available", "numberAvailable", "Nodes whose pod is ready for long enough."),
        Column(
            "Node Selector",
            plain(lambda obj: format_labels(get_path(obj, "spec", "template", "spec", "nodeSelector"))),
            description="Labels that nodes must have.",
        ),
        AGE,
        *TEMPLATE_COLUMNS,
        Column(
            "Selector",
            plain(lambda obj: format_label_selector(get_path(obj, "spec", "selector"))),
            priority=1,
            description="Labels its pods are known by.",
        ),
    ),
    storage_prefix="/registry/daemonsets/",
    has_status=True,
)

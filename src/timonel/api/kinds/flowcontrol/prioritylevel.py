"""PriorityLevelConfiguration: how many requests of a level run at once, and what becomes of those above.

Source: kubernetes.io/docs/reference/kubernetes-api/cluster-resources/priority-level-configuration-v1
"""

from __future__ import annotations

from math import ceil, log2

from timonel.api import refs
from timonel.api.errors import FieldError
from timonel.api.field_errors import Path, forbidden, invalid, not_supported, required
from timonel.api.kinds.columns import AGE, NAME, NONE, cell_at
from timonel.api.kinds.flowcontrol.conditions import check_conditions
from timonel.api.kinds.flowcontrol.mandatory import EXEMPT, MANDATORY_PRIORITY_LEVELS
from timonel.api.kinds.rules import Errors, check_between
from timonel.api.kinds.subresources import STATUS
from timonel.api.objects import Object, annotations_of, get_path
from timonel.api.resource import Column, Resource, Strategy

_SPEC = Path("spec")
_DEFAULT_SHARES = 30
_DEFAULT_QUEUING = {"handSize": 8, "queues": 64, "queueLengthLimit": 50}
_MOST_QUEUES = 10_000_000
_HASH_BITS = 60
"""What one hash of a flow yields; dealing a hand of queues uses log2(queues) of them per card."""
_BETA_ANNOTATION = "flowcontrol.k8s.io/v1beta3-preserve-zero-concurrency-shares"


class PriorityLevelStrategy(Strategy):
    def default(self, obj: Object) -> None:
        spec = obj.setdefault("spec", {})
        for field, shares in (("exempt", 0), ("limited", _DEFAULT_SHARES)):
            if spec.get(field) is not None:
                # null, too, is no value.
                for share, value in (("nominalConcurrencyShares", shares), ("lendablePercent", 0)):
                    if spec[field].get(share) is None:
                        spec[field][share] = value
        queuing = get_path(spec, "limited", "limitResponse", "queuing")
        if queuing is not None:
            for field, value in _DEFAULT_QUEUING.items():
                if not queuing.get(field):
                    queuing[field] = value

    def validate_create(self, obj: Object) -> list[FieldError]:
        errors: Errors = []
        spec, name = obj.get("spec") or {}, obj["metadata"].get("name") or ""
        if _BETA_ANNOTATION in annotations_of(obj):
            why = f"annotation '{_BETA_ANNOTATION}' is forbidden"
            errors.append(forbidden(Path("metadata") / "annotations", why))
        _check_spec(errors, spec, name)
        fixed = MANDATORY_PRIORITY_LEVELS.get(name)
        if name == EXEMPT:
            if {**spec, "exempt": None} != {"type": "Exempt", "exempt": None}:
                why = f"spec of '{name}' except the 'spec.exempt' field must equal the fixed value"
                errors.append(invalid(_SPEC, spec, why))
        elif fixed is not None and spec != fixed:
            errors.append(invalid(_SPEC, spec, f"spec of '{name}' must equal the fixed value"))
        check_conditions(errors, obj)
        return errors

    def validate_status_update(self, new: Object, old: Object) -> list[FieldError]:
        errors: Errors = []
        check_conditions(errors, new)
        return errors


def _check_spec(errors: Errors, spec: Object, name: str) -> None:
    kind, exempt, limited = spec.get("type") or "", spec.get("exempt"), spec.get("limited")
    if (name == EXEMPT) != (kind == "Exempt"):
        errors.append(invalid(_SPEC / "type", kind, "must be 'Exempt' if and only if `name` is 'exempt'"))
    if kind == "Exempt":
        if limited is not None:
            errors.append(forbidden(_SPEC / "limited", "must be nil if the type is not Limited"))
        if exempt is not None:
            _check_shares(errors, _SPEC / "exempt", exempt)
    elif kind == "Limited":
        if exempt is not None:
            errors.append(forbidden(_SPEC / "exempt", "must be nil if the type is Limited"))
        if limited is None:
            errors.append(required(_SPEC / "limited", "must not be empty when type is Limited"))
        else:
            _check_limited(errors, _SPEC / "limited", limited)
    else:
        errors.append(not_supported(_SPEC / "type", kind, ("Exempt", "Limited")))


def _check_shares(errors: Errors, path: Path, level: Object) -> None:
    _check_nominal(errors, path, level)
    check_between(errors, path / "lendablePercent", level.get("lendablePercent") or 0, 0, 100)


def _check_nominal(errors: Errors, path: Path, level: Object) -> None:
    shares = level.get("nominalConcurrencyShares") or 0
    if shares < 0:
        errors.append(invalid(path / "nominalConcurrencyShares", shares, "must be a non-negative integer"))


def _check_limited(errors: Errors, path: Path, limited: Object) -> None:
    _check_nominal(errors, path, limited)
    response, here = limited.get("limitResponse") or {}, path / "limitResponse"
    kind, queuing = response.get("type") or "", response.get("queuing")
    if kind == "Reject":
        if queuing is not None:
            why = "must be nil if limited.limitResponse.type is not Limited"
            errors.append(forbidden(here / "queuing", why))
    elif kind == "Queue":
        if queuing is None:
            why = "must not be empty if limited.limitResponse.type is Limited"
            errors.append(required(here / "queuing", why))
        else:
            _check_queuing(errors, here / "queuing", queuing)
    else:
        errors.append(not_supported(here / "type", kind, ("Queue", "Reject")))
    check_between(errors, path / "lendablePercent", limited.get("lendablePercent") or 0, 0, 100)
    borrowing = limited.get("borrowingLimitPercent")
    if borrowing is not None and borrowing < 0:
        why = "if specified, must be a non-negative integer"
        errors.append(invalid(path / "borrowingLimitPercent", borrowing, why))


def _check_queuing(errors: Errors, path: Path, queuing: Object) -> None:
    length, queues, hand = (queuing.get(field) or 0 for field in ("queueLengthLimit", "queues", "handSize"))
    if length <= 0:
        errors.append(invalid(path / "queueLengthLimit", length, "must be positive"))
    if queues <= 0:
        errors.append(invalid(path / "queues", queues, "must be positive"))
    elif queues > _MOST_QUEUES:
        errors.append(invalid(path / "queues", queues, f"must not be greater than {_MOST_QUEUES}"))
    if hand <= 0:
        errors.append(invalid(path / "handSize", hand, "must be positive"))
    elif hand > queues:
        errors.append(invalid(path / "handSize", hand, f"should not be greater than queues ({queues})"))
    elif ceil(log2(queues) * hand) > _HASH_BITS:
        why = f"required entropy bits of deckSize {queues} and handSize {hand} should not be greater than {_HASH_BITS}"
        errors.append(invalid(path / "handSize", hand, why))


def _queuing(name: str, field: str, description: str) -> Column:
    cell = cell_at("spec", "limited", "limitResponse", "queuing", field, default=NONE)
    return Column(name, cell, description=description)


PRIORITY_LEVEL_CONFIGURATIONS = Resource(
    ref=refs.PRIORITY_LEVEL_CONFIGURATIONS,
    definition="io.k8s.api.flowcontrol.v1.PriorityLevelConfiguration",
    singular="prioritylevelconfiguration",
    subresources=(STATUS,),
    strategy=PriorityLevelStrategy(),
    columns=(
        NAME,
        Column("Type", cell_at("spec", "type"), description="Whether its requests are limited at all."),
        Column(
            "NominalConcurrencyShares",
            cell_at("spec", "limited", "nominalConcurrencyShares", default=NONE),
            description="Its share of what the server runs at once.",
        ),
        _queuing("Queues", "queues", "Number of queues."),
        _queuing("HandSize", "handSize", "Queues that one flow may use."),
        _queuing("QueueLengthLimit", "queueLengthLimit", "Requests that wait in one queue."),
        AGE,
    ),
    storage_prefix="/registry/prioritylevelconfigurations/",
    has_status=True,
)

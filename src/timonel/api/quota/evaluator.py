"""What one kind uses of a quota. The base counts objects; kinds that use more have their own module.

Source: kubernetes.io/docs/concepts/policy/resource-quotas
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from timonel.api.labels import Requirement
from timonel.api.objects import Object
from timonel.api.quota.amounts import Amounts
from timonel.api.refs import CONFIGMAPS, REPLICATION_CONTROLLERS, RESOURCE_QUOTAS, SECRETS, SERVICES, ResourceRef

COUNT = "count/"

_OLD_NAMES = {ref.group_resource for ref in (CONFIGMAPS, REPLICATION_CONTROLLERS, RESOURCE_QUOTAS, SECRETS, SERVICES)}
"""Kinds that can also be counted by their plain plural, as before there was "count/"."""

_OPERATORS = {"In": "in", "NotIn": "notin", "Exists": "exists", "DoesNotExist": "!"}


def _none(*args: str) -> Sequence[Object]:
    return ()


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What counting needs to know beside the object: the time, and of devices the classes, claims and pods."""

    now: datetime
    device_classes: Callable[[], Sequence[Object]] = _none
    pod: Callable[[str, str], Object | None] = lambda namespace, name: None
    claims: Callable[[str], Sequence[Object]] = _none
    """ResourceClaims of a namespace."""


class Evaluator:
    """Counts the objects of one resource, under `count/<resource>.<group>`."""

    def __init__(self, group_resource: str) -> None:
        self.group_resource = group_resource
        self.count_name = COUNT + group_resource
        names = [self.count_name]
        if group_resource in _OLD_NAMES:
            names.append(group_resource)
        self.names = frozenset(names)

    def handles(self, operation: str, subresource: str, new: Object, old: Object | None) -> bool:
        """Whether a write could change what is used."""
        return operation == "CREATE" and not subresource

    def matching(self, names: Iterable[str], around: Surroundings) -> set[str]:
        """Those names of a quota that this kind uses."""
        return set(self.names.intersection(names))

    def is_in_scope(self, scope: Object, obj: Object) -> bool:
        """`scope` is a ScopedResourceSelectorRequirement. What has no scopes of its kind is in none."""
        return False

    def missing(self, names: Iterable[str], obj: Object) -> str:
        """What an object must say and does not, once these names are limited; "" when nothing."""
        return ""

    def usage(self, obj: Object, around: Surroundings) -> Amounts:
        return dict.fromkeys(self.names, "1")

    def releases(self, old: Object, new: Object, around: Surroundings) -> bool:
        """Whether an update that admission did not charge may change what is used: a pod that has finished."""
        return False


def scopes_of(quota: Object) -> list[Object]:
    """Scopes of both forms as requirements; an object must be in all."""
    spec = quota.get("spec") or {}
    found = [{"scopeName": scope, "operator": "Exists"} for scope in spec.get("scopes") or ()]
    return found + ((spec.get("scopeSelector") or {}).get("matchExpressions") or [])


def is_in_scopes(evaluator: Evaluator, quota: Object, obj: Object) -> bool:
    return all(evaluator.is_in_scope(scope, obj) for scope in scopes_of(quota))


def names_match(scope: Object, names: Iterable[str]) -> bool:
    """Whether the classes an object names satisfy a scope that selects by class; one of several is enough."""
    key, operator = scope.get("scopeName") or "", scope.get("operator") or ""
    given = [name for name in names if name]
    if operator == "Exists":
        return bool(given)
    if operator not in _OPERATORS:
        return False
    requirement = Requirement(key, _OPERATORS[operator], tuple(scope.get("values") or ()))
    if not given:
        return requirement.matches({})
    return any(requirement.matches({key: name}) for name in given)


def counts(ref: ResourceRef) -> bool:
    """Whether quotas are about this resource at all; Events never were."""
    return ref.plural != "events" or ref.group not in ("", "events.k8s.io")

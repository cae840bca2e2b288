"""What ResourceClaims ask for, and which devices their selectors pick.

Source: kubernetes.io/docs/reference/kubernetes-api/resource/resource-claim-v1
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from timonel.api.objects import Object
from timonel.scheduler.core.devices.catalogue import Device

MOST_RESULTS = 32
"""Devices of one claim."""
MOST_ALTERNATIVES = 8
ALL = "All"


_STEPS_PER_EVALUATION, _COST_PER_STEP = 10, 100
"""About as long as trying so many devices takes."""


class OutOfSteps(Exception):
    """It takes too long to find devices."""


@dataclass(slots=True)
class Steps:
    """How many devices may still be tried: a bound on time that does not depend on the machine."""

    left: int

    def take(self, number: int = 1) -> None:
        self.left -= number
        if self.left < 0:
            raise OutOfSteps


class CannotAllocate(Exception):
    """The claim, a class or a pool is at fault, not the node: the pod is to be tried again later."""


@dataclass(frozen=True, slots=True)
class Wish:
    """A request without alternatives, or one of the alternatives of a request."""

    request: str
    """The request's own name."""
    name: str
    """"request", or "request/alternative"."""
    class_name: str
    takes_all: bool
    count: int
    has_admin_access: bool = False
    selectors: tuple[str, ...] = ()
    tolerations: tuple[Object, ...] = ()
    capacity: Mapping[str, str] = field(default_factory=dict)

    @property
    def own_name(self) -> str:
        return self.name.rpartition("/")[2]


@dataclass(frozen=True, slots=True)
class Rule:
    """All devices have the same value of an attribute, or, `is_distinct`, all another. No requests: of all."""

    attribute: str
    requests: frozenset[str]
    is_distinct: bool

    def concerns(self, wish: Wish) -> bool:
        return not self.requests or wish.request in self.requests or wish.name in self.requests


@dataclass(frozen=True, slots=True)
class Claim:
    """`requests`: for each, its alternatives in order of preference, or itself."""

    name: str
    """namespace/name"""
    obj: Object
    requests: tuple[tuple[Wish, ...], ...]
    rules: tuple[Rule, ...]


def parse_claim(obj: Object) -> Claim:
    """Raises CannotAllocate for what validation should have kept out, or a newer server let in."""
    metadata = obj["metadata"]
    name = f"{metadata.get('namespace', '')}/{metadata['name']}"
    devices = (obj.get("spec") or {}).get("devices") or {}
    requests = tuple(_parse_request(name, each) for each in devices.get("requests") or ())
    return Claim(name, obj, requests, tuple(_parse_rules(name, devices.get("constraints") or ())))


def _parse_request(claim: str, obj: Object) -> tuple[Wish, ...]:
    own = obj.get("name") or ""
    if obj.get("exactly"):
        return (_parse_wish(claim, own, own, obj["exactly"]),)
    if obj.get("firstAvailable"):
        return tuple(_parse_wish(claim, own, f"{own}/{each['name']}", each) for each in obj["firstAvailable"])
    raise CannotAllocate(f"resource claim {claim}, request {own}: unknown request type")


def _parse_wish(claim: str, request: str, name: str, obj: Object) -> Wish:
    where = f"claim {claim}, request {name.rpartition('/')[2]}"
    mode = obj.get("allocationMode") or "ExactCount"
    if mode not in ("ExactCount", ALL):
        raise CannotAllocate(f"{where}: unsupported count mode {mode}")
    selectors = []
    for index, each in enumerate(obj.get("selectors") or ()):
        if not each.get("cel"):
            raise CannotAllocate(f"{where}, selector #{index}: CEL expression empty (unsupported selector type?)")
        selectors.append(each["cel"].get("expression") or "")
    return Wish(
        request=request,
        name=name,
        class_name=obj.get("deviceClassName") or "",
        takes_all=mode == ALL,
        count=obj.get("count") or 1,
        has_admin_access=bool(obj.get("adminAccess")),
        selectors=tuple(selectors),
        tolerations=tuple(obj.get("tolerations") or ()),
        capacity={key: str(value) for key, value in ((obj.get("capacity") or {}).get("requests") or {}).items()},
    )


def _parse_rules(claim: str, constraints: Sequence[Object]) -> Iterable[Rule]:
    for index, each in enumerate(constraints):
        for field_name, is_distinct in (("matchAttribute", False), ("distinctAttribute", True)):
            if each.get(field_name):
                yield Rule(each[field_name], frozenset(each.get("requests") or ()), is_distinct)
                break
        else:
            raise CannotAllocate(f"claim {claim}, constraint #{index}: empty constraint (unsupported constraint type?)")


class Selectors:
    """Asks each expression once about all devices of one shape."""

    _KEPT = 100_000

    def __init__(self) -> None:
        self._answers: OrderedDict[tuple[str, bytes], bool | str] = OrderedDict()

    def pick(self, device: Device, expressions: Sequence[str], where: str, steps: Steps) -> bool:
        """Raises CannotAllocate when one cannot be evaluated, whose it is says `where`; OutOfSteps."""
        for index, text in enumerate(expressions):
            answer = self._answer(text, device, steps)
            if isinstance(answer, str):
                raise CannotAllocate(f"{where}: selector #{index}: {answer}")
            if not answer:
                return False
        return True

    def _answer(self, text: str, device: Device, steps: Steps) -> bool | str:
        key = (text, device.shape)
        answer = self._answers.get(key)
        if answer is None:
            steps.take(_STEPS_PER_EVALUATION)
            answer, cost = _evaluate(text, device)
            self._answers[key] = answer
            steps.left -= cost // _COST_PER_STEP
            if len(self._answers) > self._KEPT:
                self._answers.popitem(last=False)
        return answer


def _evaluate(text: str, device: Device) -> tuple[bool | str, int]:
    """The answer, or what is wrong, and what it cost."""
    # Two megabytes that a cluster without such claims need not have.
    from timonel.api.cel.devices import MOST_COST, compile_selector, device_value
    from timonel.api.cel.issues import CelError, EvaluationError

    try:
        program = compile_selector(text)
    except CelError as exc:
        return f"CEL compile error: {exc}", 0
    try:
        value, cost = program.evaluate({"device": device_value(device.id.driver, device.obj)}, MOST_COST)
    except EvaluationError as exc:
        return f"CEL runtime error: {exc}", getattr(exc, "cost", 0)
    if not isinstance(value, bool):
        return "CEL runtime error: CEL result could not be converted to bool", cost
    return value, cost


def is_tolerated(taint: Object, tolerations: Iterable[Object]) -> bool:
    """Source: kubernetes.io/docs/concepts/scheduling-eviction/dynamic-resource-allocation/#device-taints"""
    return any(
        (not each.get("effect") or each["effect"] == taint.get("effect"))
        and (not each.get("key") or each["key"] == taint.get("key"))
        and (
            each.get("operator") == "Exists"
            or (
                (each.get("operator") or "Equal") == "Equal" and (each.get("value") or "") == (taint.get("value") or "")
            )
        )
        for each in tolerations
    )

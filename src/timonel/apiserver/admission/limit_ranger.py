"""LimitRanger: containers get the defaults of a namespace's LimitRanges, and nothing asks for less or more than these.

Source: kubernetes.io/docs/concepts/policy/limit-range
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from timonel.api.errors import join_errors
from timonel.api.objects import Object
from timonel.api.quantity import MAX_INT64, canonical_quantity, int_value, milli_value
from timonel.api.quota.amounts import Amounts
from timonel.api.quota.pod_amounts import pod_amounts
from timonel.api.refs import LIMIT_RANGES
from timonel.apiserver.admission.by_namespace import ByNamespace
from timonel.apiserver.admission.chain import AdmissionRequest, Meeting, Plugin
from timonel.apiserver.readers import Readers

ANNOTATION = "kubernetes.io/limit-ranger"

_CONTAINERS = (("containers", "container"), ("initContainers", "init container"))
_MAX_MILLI = MAX_INT64 // 1000


class LimitRanger(Plugin):
    name = "LimitRanger"
    operations = frozenset({"CREATE", "UPDATE"})
    resources = frozenset({("", "pods"), ("", "persistentvolumeclaims")})

    def __init__(self, *, readers: Readers) -> None:
        self._ranges = ByNamespace(readers.reader(LIMIT_RANGES))

    def cares(self, meeting: Meeting) -> bool:
        """A pod's containers change only by resizing."""
        writes = "" if meeting.plural != "pods" or meeting.operation == "CREATE" else "resize"
        return meeting.subresource == writes

    async def mutate(self, request: AdmissionRequest) -> None:
        if request.obj is None or request.resource.ref.plural != "pods":
            return
        for limit_range in self._concerning(request):
            request.own("spec")
            set_defaults(request.obj, limit_range)

    async def validate(self, request: AdmissionRequest) -> None:
        if request.obj is None:
            return
        check = _pod_findings if request.resource.ref.plural == "pods" else _claim_findings
        for limit_range in self._concerning(request):
            found = list(check(request.obj, _limits(limit_range)))
            if found:
                raise request.forbidden(join_errors(found))

    def _concerning(self, request: AdmissionRequest) -> Iterable[Object]:
        ranges = self._ranges.of(request.namespace)
        if not ranges or not _is_concerned(request):
            return ()
        return [ranges[name] for name in sorted(ranges)]


def _is_concerned(request: AdmissionRequest) -> bool:
    """A pod's containers change only by resizing; what is being deleted is left alone."""
    if request.old is not None and request.old["metadata"].get("deletionTimestamp"):
        return False
    if request.resource.ref.plural == "pods":
        return request.subresource == ("" if request.operation == "CREATE" else "resize")
    return not request.subresource


def set_defaults(pod: Object, limit_range: Object) -> None:
    """Fills in what containers leave open, and says so in an annotation."""
    requests: Amounts = {}
    limits: Amounts = {}
    for limit in _limits(limit_range):
        if limit.get("type") == "Container":
            requests.update(limit.get("defaultRequest") or {})
            limits.update(limit.get("default") or {})
    notes: list[str] = []
    for field, words in _CONTAINERS:
        for container in pod["spec"].get(field) or ():
            for kind, defaults, what in (("requests", requests, "request"), ("limits", limits, "limit")):
                given = (container.get("resources") or {}).get(kind) or {}
                missing = {name: amount for name, amount in defaults.items() if name not in given}
                if missing:
                    resources = container["resources"] = {**(container.get("resources") or {})}
                    resources[kind] = {**given, **missing}
                    notes.append(f"{', '.join(sorted(missing))} {what} for {words} {container.get('name')}")
    if notes:
        annotations = pod["metadata"]["annotations"] = {**(pod["metadata"].get("annotations") or {})}
        annotations[ANNOTATION] = f"LimitRanger plugin set: {'; '.join(notes)}"


def _pod_findings(pod: Object, limits: Iterable[Object]) -> Iterator[str]:
    for limit in limits:
        match limit.get("type"):
            case "Container":
                for field, _ in _CONTAINERS:
                    for container in pod["spec"].get(field) or ():
                        resources = container.get("resources") or {}
                        yield from _findings(limit, resources.get("requests") or {}, resources.get("limits") or {})
            case "Pod":
                requests, bounds = (
                    pod_amounts(pod, kind, with_status=False, with_overhead=False, overrides=_CPU_OR_MEMORY)
                    for kind in ("requests", "limits")
                )
                yield from _findings(limit, requests, bounds)


_CPU_OR_MEMORY = frozenset({"cpu", "memory"}).__contains__


def _claim_findings(claim: Object, limits: Iterable[Object]) -> Iterator[str]:
    """Claims ask for storage and nothing else: their own limits mean nothing here."""
    requests = ((claim["spec"].get("resources") or {}).get("requests")) or {}
    for limit in limits:
        if limit.get("type") == "PersistentVolumeClaim":
            for name, bound in _sorted(limit.get("min")):
                yield from _too_little(name, "PersistentVolumeClaim", bound, requests, {})
            for name, bound in _sorted(limit.get("max")):
                words = f"maximum {name} usage per PersistentVolumeClaim is {bound}"
                if name not in requests:
                    yield f"{words}.  No request is specified"
                elif _compared(requests[name], "0", bound)[0] > _compared(requests[name], "0", bound)[2]:
                    yield f"{words}, but request is {_spelled(requests[name])}"


def _findings(limit: Object, requests: Amounts, limits: Amounts) -> Iterator[str]:
    kind = limit["type"]
    for name, bound in _sorted(limit.get("min")):
        yield from _too_little(name, kind, bound, requests, limits)
    for name, bound in _sorted(limit.get("max")):
        yield from _too_much(name, kind, bound, requests, limits)
    for name, bound in _sorted(limit.get("maxLimitRequestRatio")):
        yield from _too_far_apart(name, kind, bound, requests, limits)


def _too_little(name: str, kind: str, bound: str, requests: Amounts, limits: Amounts) -> Iterator[str]:
    request, limit, least = _compared(requests.get(name, "0"), limits.get(name, "0"), bound)
    words = f"minimum {name} usage per {kind} is {bound}"
    if name not in requests:
        yield f"{words}.  No request is specified"
    elif request < least:
        yield f"{words}, but request is {_spelled(requests[name])}"
    elif name in limits and limit < least:
        yield f"{words}, but limit is {_spelled(limits[name])}"


def _too_much(name: str, kind: str, bound: str, requests: Amounts, limits: Amounts) -> Iterator[str]:
    request, limit, most = _compared(requests.get(name, "0"), limits.get(name, "0"), bound)
    words = f"maximum {name} usage per {kind} is {bound}"
    if name not in limits:
        yield f"{words}.  No limit is specified"
    elif limit > most:
        yield f"{words}, but limit is {_spelled(limits[name])}"
    elif name in requests and request > most:
        yield f"{words}, but request is {_spelled(requests[name])}"


def _too_far_apart(name: str, kind: str, bound: str, requests: Amounts, limits: Amounts) -> Iterator[str]:
    request, limit, _ = _compared(requests.get(name, "0"), limits.get(name, "0"), bound)
    words = f"{name} max limit to request ratio per {kind} is {bound}"
    if not request:
        yield f"{words}, but no request is specified or request is 0"
    elif not limit:
        yield f"{words}, but no limit is specified or limit is 0"
    else:
        ratio = limit / request
        fine = int_value(bound) <= _MAX_MILLI
        if (ratio * 1000 if fine else ratio) > (milli_value(bound) if fine else int_value(bound)):
            yield f"{words}, but provided ratio is {ratio:.6f}"


def _compared(*amounts: str) -> tuple[int, ...]:
    """In thousandths, or in whole units where one is too large for that."""
    whole = tuple(int_value(str(amount)) for amount in amounts)
    return whole if max(whole) > _MAX_MILLI else tuple(milli_value(str(amount)) for amount in amounts)


def _spelled(amount: str) -> str:
    return canonical_quantity(str(amount))


def _limits(limit_range: Object) -> list[Object]:
    return (limit_range.get("spec") or {}).get("limits") or []


def _sorted(amounts: Amounts | None) -> list[tuple[str, str]]:
    return sorted((amounts or {}).items())

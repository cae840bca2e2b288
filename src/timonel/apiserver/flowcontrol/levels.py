"""The priority levels and flow schemas in force: made of the objects, kept while they are busy, looked up per request.

Whatever the objects say or fail to say, the two mandatory levels and schemas are there. A level whose object has gone
gets no new requests and keeps its seats until its queues are empty. A schema whose level is not there is left out.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass, field

from timonel.api.kinds.flowcontrol.mandatory import (
    CATCH_ALL,
    EXEMPT,
    MANDATORY_FLOW_SCHEMAS,
    MANDATORY_PRIORITY_LEVELS,
)
from timonel.api.objects import Object, name_of
from timonel.apiserver.authn.user import UserInfo
from timonel.apiserver.flowcontrol.classification import Schema, compile_schema, in_order
from timonel.apiserver.flowcontrol.dealing import Queuing
from timonel.apiserver.flowcontrol.flow_stats import FlowStats
from timonel.apiserver.flowcontrol.limits import Adjustment, Demand, Limits, adjust, divide, next_demand
from timonel.apiserver.flowcontrol.queue_set import QueueSet
from timonel.apiserver.flowcontrol.retry_after import RetryAfter
from timonel.apiserver.flowcontrol.suggested import bootstrap_object
from timonel.apiserver.flowcontrol.tickets import Flow
from timonel.apiserver.routing import Route

log = logging.getLogger(__name__)

_MOST_KNOWN = 8192
"""Kinds of requests remembered with their flow. Names made up by clients must not fill memory."""
_LONGEST_KNOWN = 1024
"""Characters of a path, for the same reason: a request line may have a million."""


@dataclass(slots=True)
class Level:
    name: str
    queue_set: QueueSet
    spec: Object
    uid: str = ""
    is_leaving: bool = False
    """Its object has gone."""
    limits: Limits = field(default_factory=lambda: Limits(0, 0, 0))
    demand: Demand = field(default_factory=Demand)
    stats: dict[str, FlowStats] = field(default_factory=dict)
    """By FlowSchema."""
    retry_after: RetryAfter = field(default_factory=RetryAfter)


class Levels:
    """`total`: seats of the whole server."""

    def __init__(self, *, total: int, now: float) -> None:
        self.total = total
        self.by_name: dict[str, Level] = {}
        self.queue_sets: list[QueueSet] = []
        self.schemas: tuple[Schema, ...] = ()
        self.adjustment = Adjustment({}, {}, 0.0)
        self._named: frozenset[str] = frozenset()
        """Namespaces that schemas name: all others are the same to them."""
        self._known: dict[tuple[object, ...], Flow | Schema] = {}
        self._flows: dict[tuple[str, str], Flow] = {}
        self.take((), (), now)

    # Looking up

    def flow_of(self, route: Route, user: UserInfo) -> Flow:
        """About half a microsecond for a request like one before."""
        if route.resource:
            namespace = route.namespace
            key: tuple[object, ...] = (
                user.name,
                user.groups,
                route.verb,
                route.group,
                route.resource,
                route.subresource,
                namespace if namespace in self._named else not namespace,
            )
        else:
            key = (user.name, user.groups, route.verb, route.path)
        found = self._known.get(key)
        if found.__class__ is Flow:
            return found
        if found is None:
            schema = self._match(route, user)
            if len(route.path) > _LONGEST_KNOWN:
                return self._flow(schema, schema.distinguisher(route, user)[:_LONGEST_KNOWN])
            if len(self._known) >= _MOST_KNOWN:
                self._forget()
            if schema.method != "ByNamespace":
                self._known[key] = flow = self._flow(schema, schema.distinguisher(route, user))
                return flow
            self._known[key] = found = schema
        assert isinstance(found, Schema)
        return self._flow(found, route.namespace)

    def _match(self, route: Route, user: UserInfo) -> Schema:
        for schema in self.schemas:
            if schema.matches(route, user):
                return schema
        # Somebody without any of the two groups that everybody is in.
        return next(schema for schema in self.schemas if schema.name == CATCH_ALL)

    def _flow(self, schema: Schema, distinguisher: str) -> Flow:
        flow = self._flows.get((schema.name, distinguisher))
        if flow is None:
            if len(self._flows) >= _MOST_KNOWN:
                self._forget()
            level = self.by_name[schema.level]
            stats = level.stats.get(schema.name)
            if stats is None:
                stats = level.stats[schema.name] = FlowStats()
            # Ids, not names: how an administrator ranks people is not everybody's to read. Spelt as Go spells them.
            header = (
                f"X-Kubernetes-Pf-Flowschema-Uid: {schema.uid}\r\nX-Kubernetes-Pf-Prioritylevel-Uid: {level.uid}\r\n"
            )
            flow = Flow(
                level.queue_set,
                stats,
                schema=schema.name,
                distinguisher=distinguisher,
                header=header.encode(),
                widest=level.limits.widest,
            )
            self._flows[schema.name, distinguisher] = flow
        return flow

    def _forget(self) -> None:
        self._known.clear()
        self._flows.clear()

    # Changing

    def take(self, levels: Iterable[Object], schemas: Iterable[Object], now: float) -> dict[str, bool]:
        """Puts these objects in force. Answers for each schema whether the level it names exists."""
        objects = {name_of(obj): obj for obj in levels if _is_sound(obj)}
        found: dict[str, bool] = {}
        compiled: list[Schema] = []
        for obj in schemas:
            schema = compile_schema(obj)
            found[schema.name] = schema.level in objects
            if found[schema.name]:
                compiled.append(schema)
        there = {schema.name for schema in compiled}
        for name, spec in MANDATORY_FLOW_SCHEMAS.items():
            if name not in there:
                compiled.append(compile_schema(bootstrap_object(name, spec)))
        for name, spec in MANDATORY_PRIORITY_LEVELS.items():
            objects.setdefault(name, bootstrap_object(name, spec))
        for name, obj in objects.items():
            self._put_level(name, obj, now)
        for name, level in list(self.by_name.items()):
            if name not in objects:
                level.is_leaving = True
        self._remove_idle()
        self.schemas = in_order(compiled)
        self._named = frozenset[str]().union(*(schema.namespaces for schema in compiled))
        self._divide(now)
        return found

    def adjust(self, now: float) -> None:
        """Once a period: levels whose objects have gone go when they are empty; seats follow demand."""
        if self._remove_idle():
            self._divide(now)
            return
        for level in self.by_name.values():
            queues = level.queue_set
            queues.advance(now)
            level.demand = next_demand(
                level.demand,
                seconds=now - queues.area_from,
                area=queues.area,
                square=queues.square,
                peak=queues.peak,
            )
            queues.begin_period(now)
        exempt = frozenset(name for name, level in self.by_name.items() if level.queue_set.exempt)
        self.adjustment = adjust(
            {name: level.limits for name, level in self.by_name.items()},
            {name: level.demand for name, level in self.by_name.items()},
            exempt,
        )
        for name, seats in self.adjustment.current.items():
            level = self.by_name[name]
            queues, nominal = level.queue_set, level.limits.nominal
            if name not in exempt:
                queues.limit = seats
            queues.times.measure_by(nominal=nominal, limit=seats, places=queues.dealer.queuing.places, now=now)

    def _put_level(self, name: str, obj: Object, now: float) -> None:
        spec = obj["spec"]
        level = self.by_name.get(name)
        if level is None:
            queue_set = QueueSet(name, now=now, exempt=name == EXEMPT)
            level = self.by_name[name] = Level(name, queue_set, spec)
        level.spec = spec
        level.uid = obj["metadata"].get("uid") or ""
        level.is_leaving = False
        queuing = ((spec.get("limited") or {}).get("limitResponse") or {}).get("queuing")
        level.queue_set.configure(
            Queuing(queuing["queues"], queuing["handSize"], queuing["queueLengthLimit"]) if queuing else Queuing()
        )

    def _divide(self, now: float) -> None:
        limits = divide({name: level.spec for name, level in self.by_name.items()}, self.total)
        for name, level in self.by_name.items():
            level.limits = limits[name]
        self.queue_sets = [level.queue_set for level in self.by_name.values()]
        self._forget()  # flows hold what has changed
        self.adjust(now)

    def _remove_idle(self) -> bool:
        gone = [level for level in self.by_name.values() if level.is_leaving and level.queue_set.is_idle]
        for level in gone:
            del self.by_name[level.name]
            log.info("priority level went name=%s", level.name)
        return bool(gone)


def _is_sound(obj: Object) -> bool:
    """Whether the spec is of one piece, as validation leaves it; others are as if they were not there."""
    spec = obj.get("spec") or {}
    exempt, limited = spec.get("exempt"), spec.get("limited")
    is_exempt = spec.get("type") == "Exempt"
    if is_exempt != (name_of(obj) == EXEMPT) or is_exempt == (exempt is None) or is_exempt == (limited is not None):
        return False
    if limited is None:
        return True
    response = limited.get("limitResponse") or {}
    return bool((response.get("type") == "Reject") == (response.get("queuing") is None))

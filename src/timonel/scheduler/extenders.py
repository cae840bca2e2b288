"""Extenders: programs elsewhere that filter and rate nodes, choose victims, and bind, as a configuration names them.

What they answer becomes a filter and a score that the core asks like any other (`Answers.added_to`). What they cannot
answer is the pod's reason to wait, unless they are `ignorable`; a rating that fails is left out, as upstream does.
Keys are upstream's Go names, and read whatever their case, as Go reads them.
Source: kubernetes.io/docs/reference/config-api/kube-scheduler-config.v1, "Extender"; k8s.io/kube-scheduler/extender/v1
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import numpy as np

from timonel.api.objects import Object, get_path, name_of, namespace_of, uid_of
from timonel.scheduler.configuration.extenders import ExtenderConfig
from timonel.scheduler.core.cluster import Cluster
from timonel.scheduler.core.framework import MAX_SCORE, Attempt, Change, PodScope, Ratings, Refusal, Slots
from timonel.scheduler.core.profile import Profile

log = logging.getLogger(__name__)

NAME = "Extender"
"""What stands for all of them among the plugins that refuse a pod."""
_MOST = 10
"""The highest of their priorities."""
_NOT_ASKED = "node(s) were not there when extenders were asked"


class ExtenderFailed(Exception):
    """The pod has to wait. The message is its event's."""


class Transport(Protocol):
    async def ask(self, extender: ExtenderConfig, verb: str, question: Object) -> Any:
        """The answer's JSON. Raises ExtenderFailed."""
        ...


@dataclass(slots=True)
class Answers:
    """About nodes by name. `refused`: why, and whether evicting pods could help; `ratings` are weighted."""

    asked: frozenset[str]
    refused: dict[str, tuple[str, bool]] = field(default_factory=dict)
    ratings: dict[str, int] = field(default_factory=dict)

    @property
    def left(self) -> list[str]:
        return [name for name in self.asked if name not in self.refused]

    def added_to(self, profile: Profile) -> Profile:
        scores = (*profile.scores, (_Rated(self), 1)) if self.ratings else profile.scores
        return replace(profile, filters=(*profile.filters, _Answered(self)), scores=scores)


class _Answered:
    name = NAME
    is_static = False
    pod_scope = PodScope.NONE
    helped_by = frozenset(Change)

    def __init__(self, answers: Answers) -> None:
        self._answers = answers

    def refuse(self, cluster: Cluster, attempt: Attempt) -> Sequence[Refusal]:
        slots: dict[tuple[str, bool], list[int]] = {}
        for name, slot in cluster.nodes.slots.items():
            if name not in self._answers.asked:
                slots.setdefault((_NOT_ASKED, False), []).append(slot)
            elif name in self._answers.refused:
                slots.setdefault(self._answers.refused[name], []).append(slot)
        refusals = []
        for (reason, resolvable), refused in slots.items():
            mask = np.zeros(cluster.nodes.capacity, np.bool_)
            mask[refused] = True
            refusals.append(Refusal(reason, mask, resolvable))
        return refusals


class _Rated:
    name = NAME

    def __init__(self, answers: Answers) -> None:
        self._ratings = answers.ratings

    def score(self, cluster: Cluster, attempt: Attempt, nodes: Slots) -> Ratings | None:
        return np.array([self._ratings.get(cluster.nodes.names[slot], 0) for slot in nodes], np.int64)


class Extenders:
    """`node` gives a node's JSON by its name, for extenders that do not know the nodes themselves."""

    def __init__(
        self,
        configs: Sequence[ExtenderConfig],
        *,
        transport: Transport | None = None,
        node: Callable[[str], Object | None] = lambda name: None,
    ) -> None:
        self._configs = tuple(configs)
        self._transport = transport
        self._node = node

    def are_asked(self, pod: Object) -> bool:
        """Whether any has a say in where the pod goes."""
        return any(
            (each.filter_verb or each.prioritize_verb or each.preempt_verb) and _concerns(each, pod)
            for each in self._configs
        )

    async def answers(self, pod: Object, nodes: Sequence[str]) -> Answers:
        """What they say of nodes that will do otherwise. Raises ExtenderFailed."""
        answers = Answers(frozenset(nodes))
        concerned = [each for each in self._configs if _concerns(each, pod)]
        for extender in concerned:
            left = [name for name in nodes if name not in answers.refused]
            if extender.filter_verb and left:
                try:
                    answers.refused.update(await self._filter(extender, pod, left))
                except ExtenderFailed as exc:
                    if not extender.ignorable:
                        raise
                    log.info("An extender was done without extender=%s error=%s", extender.url_prefix, exc)
        left = [name for name in nodes if name not in answers.refused]
        if len(left) > 1:
            raters = [each for each in concerned if each.prioritize_verb]
            for ratings in await asyncio.gather(*(self._rate(each, pod, left) for each in raters)):
                for name, rating in ratings.items():
                    answers.ratings[name] = answers.ratings.get(name, 0) + rating
        return answers

    async def _filter(self, extender: ExtenderConfig, pod: Object, names: list[str]) -> dict[str, tuple[str, bool]]:
        told = _fields(await self._ask(extender, extender.filter_verb, self._question(extender, pod, names)))
        if error := told.get("error"):
            raise ExtenderFailed(str(error))
        url = extender.url_prefix
        listed = told.get("nodenames")
        if extender.node_cache_capable and listed is not None:
            left = _texts(listed)
        else:
            items = _fields(told.get("nodes") or {}).get("items") or []
            left = _texts([get_path(each, "metadata", "name") for each in items] if isinstance(items, list) else None)
        if left is None:
            raise ExtenderFailed(f'extender "{url}" answered with something else than nodes')
        if strangers := set(left) - set(names):
            name = min(strangers)
            why = f'extender "{url}" claims a filtered node "{name}" which is not found in the input node list'
            raise ExtenderFailed(why)
        failed, hopeless = told.get("failednodes") or {}, told.get("failedandunresolvablenodes") or {}
        if not isinstance(failed, dict) or not isinstance(hopeless, dict):
            raise ExtenderFailed(f'extender "{url}" answered with something else than failed nodes')
        refused = {}
        for name in set(names) - set(left):
            reason = str(hopeless.get(name) or failed.get(name) or f"node(s) were refused by extender {url}")
            refused[name] = (reason, name in failed and name not in hopeless)
        return refused

    async def _rate(self, extender: ExtenderConfig, pod: Object, names: list[str]) -> dict[str, int]:
        """{} when it cannot: plugins and other extenders rate as well."""
        try:
            answer = await self._ask(extender, extender.prioritize_verb, self._question(extender, pod, names))
            ratings = {}
            for each in answer if isinstance(answer, list) else [answer]:
                told = _fields(each)
                name, score = told.get("host"), told.get("score", 0)
                if not isinstance(name, str) or type(score) is not int or not 0 <= score <= _MOST:
                    raise ExtenderFailed(f"an answer was no list of hosts with scores from 0 to {_MOST}")
                ratings[name] = score * extender.weight * (MAX_SCORE // _MOST)
        except ExtenderFailed as exc:
            log.info("An extender rated no nodes extender=%s error=%s", extender.url_prefix, exc)
            return {}
        return ratings

    def _question(self, extender: ExtenderConfig, pod: Object, names: list[str]) -> Object:
        if extender.node_cache_capable:
            return {"Pod": pod, "Nodes": None, "NodeNames": names}
        items = [node for name in names if (node := self._node(name)) is not None]
        return {"Pod": pod, "Nodes": {"metadata": {}, "items": items}, "NodeNames": None}

    # Preemption

    def narrow_preemption(self, pod: Object) -> bool:
        return any(each.preempt_verb and _concerns(each, pod) for each in self._configs)

    async def narrowed(
        self, pod: Object, victims: Mapping[str, tuple[Sequence[Object], int]]
    ) -> dict[str, tuple[list[str], int]]:
        """By node: uids of the victims and how many budgets they break, of those that are left. Raises ExtenderFailed.

        `victims` by node: pods that would go, and how many of them budgets would keep.
        """
        known = {node: {uid_of(each): each for each in pods} for node, (pods, _) in victims.items()}
        left = {node: (list(pods), victims[node][1]) for node, pods in known.items()}
        for extender in self._configs:
            if not extender.preempt_verb or not _concerns(extender, pod) or not left:
                continue
            question: Object = {"Pod": pod, "NodeNameToVictims": None, "NodeNameToMetaVictims": None}
            if extender.node_cache_capable:
                question["NodeNameToMetaVictims"] = {
                    node: {"Pods": [{"UID": uid} for uid in uids], "NumPDBViolations": broken}
                    for node, (uids, broken) in left.items()
                }
            else:
                question["NodeNameToVictims"] = {
                    node: {"Pods": [known[node][uid] for uid in uids], "NumPDBViolations": broken}
                    for node, (uids, broken) in left.items()
                }
            try:
                told = _fields(await self._ask(extender, extender.preempt_verb, question))
                left = _read_victims(extender, told.get("nodenametometavictims") or {}, known)
            except ExtenderFailed as exc:
                if not extender.ignorable:
                    raise
                log.info("An extender was done without extender=%s error=%s", extender.url_prefix, exc)
        return left

    # Binding

    def binder(self, pod: Object) -> ExtenderConfig | None:
        return next((each for each in self._configs if each.bind_verb and _concerns(each, pod)), None)

    async def bind(self, extender: ExtenderConfig, pod: Object, node: str) -> bool:
        """Whether it bound the pod; not, when it is ignorable and could not. Raises ExtenderFailed."""
        question = {
            "PodName": name_of(pod),
            "PodNamespace": namespace_of(pod),
            "PodUID": uid_of(pod),
            "Node": node,
        }
        try:
            if error := _fields(await self._ask(extender, extender.bind_verb, question)).get("error"):
                raise ExtenderFailed(str(error))
        except ExtenderFailed as exc:
            if not extender.ignorable:
                raise
            log.info("An extender was done without extender=%s error=%s", extender.url_prefix, exc)
            return False
        return True

    async def _ask(self, extender: ExtenderConfig, verb: str, question: Object) -> Any:
        if self._transport is None:
            raise ExtenderFailed(f'extender "{extender.url_prefix}" cannot be asked from here')
        return await self._transport.ask(extender, verb, question)


def _concerns(extender: ExtenderConfig, pod: Object) -> bool:
    """It looks after all pods, or after a resource that a container of the pod names."""
    if not extender.managed_resources:
        return True
    spec = pod.get("spec") or {}
    return any(
        not extender.managed_resources.isdisjoint(get_path(container, "resources", kind, default={}))
        for containers in ("containers", "initContainers")
        for container in spec.get(containers) or ()
        for kind in ("requests", "limits")
    )


def _read_victims(
    extender: ExtenderConfig, answer: Any, known: Mapping[str, Mapping[str, Object]]
) -> dict[str, tuple[list[str], int]]:
    if not isinstance(answer, dict):
        raise ExtenderFailed(f'extender "{extender.url_prefix}" answered with something else than victims')
    found = {}
    for node, victims in answer.items():
        told = _fields(victims)
        uids = [_fields(each).get("uid") for each in told.get("pods") or ()]
        stranger = next((uid for uid in uids if uid not in known.get(node, {})), None)
        if node not in known or stranger is not None:
            why = f"claims to preempt pod (UID: {stranger}) on node: {node}, but the pod is not found on that node"
            raise ExtenderFailed(f'extender "{extender.url_prefix}" {why}')
        broken = told.get("numpdbviolations") or 0
        found[node] = ([str(uid) for uid in uids], broken if isinstance(broken, int) else 0)
    return found


def _fields(value: Any) -> Object:
    """An object's fields by their names in lower case. Raises ExtenderFailed for anything else."""
    if not isinstance(value, dict):
        raise ExtenderFailed(f"an extender answered with something else than expected: {str(value)[:100]!r}")
    return {str(key).lower(): each for key, each in value.items()}


def _texts(value: Any) -> list[str] | None:
    return value if isinstance(value, list) and all(isinstance(each, str) for each in value) else None

"""Which FlowSchema a request matches. Schemas are compiled into sets once; a request then costs set look-ups.

Source: kubernetes.io/docs/concepts/cluster-administration/flow-control ("FlowSchema").
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from timonel.api.objects import Object
from timonel.apiserver.authn.user import SERVICE_ACCOUNT_USER_PREFIX, UserInfo
from timonel.apiserver.routing import Route

_ALL = "*"
_Names = frozenset[str] | None
"""None: all names."""


@dataclass(frozen=True, slots=True)
class _Subjects:
    users: _Names
    groups: _Names
    account_namespaces: tuple[str, ...]
    """Prefixes of user names: all service accounts of a namespace."""

    def include(self, user: UserInfo) -> bool:
        if self.users is None or self.groups is None or user.name in self.users:
            return True
        if not self.groups.isdisjoint(user.groups):
            return True
        return bool(self.account_namespaces) and user.name.startswith(self.account_namespaces)


@dataclass(frozen=True, slots=True)
class _ResourceRule:
    verbs: _Names
    groups: _Names
    resources: _Names
    """With subresources as "pods/status"."""
    namespaces: _Names
    cluster_scope: bool

    def matches(self, route: Route, resource: str) -> bool:
        if self.verbs is not None and route.verb not in self.verbs:
            return False
        if self.resources is not None and resource not in self.resources:
            return False
        if self.groups is not None and route.group not in self.groups:
            return False
        if not route.namespace:
            return self.cluster_scope
        return self.namespaces is None or route.namespace in self.namespaces


@dataclass(frozen=True, slots=True)
class _PathRule:
    verbs: _Names
    paths: _Names
    prefixes: tuple[str, ...]

    def matches(self, route: Route) -> bool:
        if self.verbs is not None and route.verb not in self.verbs:
            return False
        return self.paths is None or route.path in self.paths or route.path.startswith(self.prefixes)


@dataclass(frozen=True, slots=True)
class _Rule:
    subjects: _Subjects
    resources: tuple[_ResourceRule, ...]
    paths: tuple[_PathRule, ...]


@dataclass(frozen=True, slots=True)
class Schema:
    """A FlowSchema, compiled. `method`: "", "ByUser" or "ByNamespace"."""

    name: str
    uid: str
    level: str
    precedence: int
    method: str
    rules: tuple[_Rule, ...]
    namespaces: frozenset[str]
    """Those that some rule names."""

    def matches(self, route: Route, user: UserInfo) -> bool:
        resource = f"{route.resource}/{route.subresource}" if route.subresource else route.resource
        for rule in self.rules:
            if not rule.subjects.include(user):
                continue
            if resource:
                if any(each.matches(route, resource) for each in rule.resources):
                    return True
            elif any(each.matches(route) for each in rule.paths):
                return True
        return False

    def distinguisher(self, route: Route, user: UserInfo) -> str:
        if self.method == "ByUser":
            return user.name
        return route.namespace if self.method == "ByNamespace" else ""


def compile_schema(obj: Object) -> Schema:
    metadata, spec = obj["metadata"], obj.get("spec") or {}
    rules = tuple(_compile_rule(rule) for rule in spec.get("rules") or ())
    return Schema(
        name=metadata["name"],
        uid=metadata.get("uid") or "",
        level=spec["priorityLevelConfiguration"]["name"],
        precedence=spec.get("matchingPrecedence") or 0,
        method=(spec.get("distinguisherMethod") or {}).get("type") or "",
        rules=rules,
        namespaces=frozenset(name for rule in rules for each in rule.resources for name in each.namespaces or ()),
    )


def in_order(schemas: Iterable[Schema]) -> tuple[Schema, ...]:
    """As they are asked: lowest matchingPrecedence first, then by name."""
    return tuple(sorted(schemas, key=lambda schema: (schema.precedence, schema.name)))


def _compile_rule(rule: Object) -> _Rule:
    resources = tuple(
        _ResourceRule(
            _names(each.get("verbs")),
            _names(each.get("apiGroups")),
            _names(each.get("resources")),
            _names(each.get("namespaces")),
            bool(each.get("clusterScope")),
        )
        for each in rule.get("resourceRules") or ()
    )
    return _Rule(
        _compile_subjects(rule.get("subjects") or ()),
        resources,
        tuple(_compile_paths(each) for each in rule.get("nonResourceRules") or ()),
    )


def _compile_subjects(subjects: Iterable[Object]) -> _Subjects:
    users: list[str] = []
    groups: list[str] = []
    namespaces: list[str] = []
    for subject in subjects:
        kind = subject.get("kind")
        if kind == "User" and subject.get("user"):
            users.append(subject["user"]["name"])
        elif kind == "Group" and subject.get("group"):
            groups.append(subject["group"]["name"])
        elif kind == "ServiceAccount" and (account := subject.get("serviceAccount")):
            prefix = f"{SERVICE_ACCOUNT_USER_PREFIX}{account.get('namespace', '')}:"
            if account["name"] == _ALL:
                namespaces.append(prefix)
            else:
                users.append(prefix + account["name"])
    # Unlike in rules, "*" may stand beside other subjects, and still means everybody.
    return _Subjects(
        None if _ALL in users else frozenset(users), None if _ALL in groups else frozenset(groups), tuple(namespaces)
    )


def _compile_paths(rule: Object) -> _PathRule:
    """A path also covers what is below it, with or without "/*" at its end."""
    urls: list[str] = rule.get("nonResourceURLs") or []
    prefixes = tuple(url.removesuffix("*").removesuffix("/") + "/" for url in urls if url != _ALL)
    return _PathRule(_names(rule.get("verbs")), None if _ALL in urls else frozenset(urls), prefixes)


def _names(values: list[str] | None) -> _Names:
    values = values or []
    return None if values == [_ALL] else frozenset(values)

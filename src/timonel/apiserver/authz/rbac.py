"""RBAC, compiled lazily to one dictionary per subject and kept exactly as current as the watch caches.

Bindings are indexed by subject as they change; what a user may do is worked out from the rules the first time it is
asked and remembered until any role or binding changes. The usual decision is then two dictionary accesses.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field

from timonel.api.errors import join_errors
from timonel.api.objects import Object
from timonel.api.refs import CLUSTER_ROLE_BINDINGS, CLUSTER_ROLES, ROLE_BINDINGS, ROLES
from timonel.apiserver.authn.user import UserInfo, service_account_user_name
from timonel.apiserver.authz.attributes import Attributes, Decision
from timonel.apiserver.authz.rules import matches_path, matches_resource_type
from timonel.apiserver.readers import Readers

MAX_SUBJECTS = 4096
"""Subjects remembered at once; beyond it everything is forgotten and learnt again (about 2 KB each)."""
MAX_GRANTS_PER_SUBJECT = 4096
"""So that requests for invented resources cannot grow the memory of one subject without end."""


_REFUSED = Decision(False)


@dataclass(slots=True)
class Grant:
    """Why one (verb, resource) is allowed: for every name, or for some."""

    any_name: Decision | None = None
    names: dict[str, Decision] = field(default_factory=dict)
    refused: Decision = _REFUSED
    """The answer for any other name; it tells of roles that bindings name and that do not exist."""


_Subject = tuple[str, tuple[str, ...]]
_Asked = tuple[str, str, str, str, str]


class RbacAuthorizer:
    def __init__(self, *, readers: Readers) -> None:
        self._roles = readers.reader(ROLES)
        self._cluster_roles = readers.reader(CLUSTER_ROLES)
        # (namespace or "", "User:x" or "Group:x") -> bindings by (namespace, name), in the order they came.
        self._bindings: dict[tuple[str, str], dict[tuple[str, str], Object]] = defaultdict(dict)
        self._grants: dict[_Subject, dict[_Asked, Grant]] = {}
        for ref in (ROLES, CLUSTER_ROLES):
            readers.reader(ref).subscribe(self._role_changed)
        for ref in (CLUSTER_ROLE_BINDINGS, ROLE_BINDINGS):
            readers.reader(ref).subscribe(self._binding_changed)

    async def authorize(self, a: Attributes) -> Decision:
        return self.decide(a)

    def decide(self, a: Attributes) -> Decision:
        user = a.user
        subject = (user.name, user.groups)
        grants = self._grants.get(subject)
        if grants is None:
            if len(self._grants) >= MAX_SUBJECTS:
                self._grants.clear()
            grants = self._grants[subject] = {}
        asked = (
            (a.verb, a.group, a.resource, a.subresource, a.namespace) if a.resource else (a.verb, "", "", a.path, "")
        )
        grant = grants.get(asked)
        if grant is None:
            if len(grants) >= MAX_GRANTS_PER_SUBJECT:
                grants.clear()
            grant = grants[asked] = self._work_out(a)
        return grant.any_name or grant.names.get(a.name) or grant.refused

    def rules_for(self, user: UserInfo, namespace: str) -> list[Object]:
        """Every rule that holds for the user in the namespace, cluster-wide ones included ("": only those)."""
        return [rule for _, rule in self._rules(user, namespace, [])]

    def role_rules(self, role_ref: Object, namespace: str) -> list[Object] | None:
        """The rules of the role a binding in `namespace` refers to; None when there is no such role."""
        role = (
            self._cluster_roles.get("", role_ref["name"])
            if role_ref["kind"] == "ClusterRole"
            else self._roles.get(namespace, role_ref["name"])
        )
        return None if role is None else role.get("rules") or []

    def _work_out(self, a: Attributes) -> Grant:
        grant = Grant()
        missing: list[str] = []
        for binding, rule in self._rules(a.user, a.namespace, missing):
            if not a.resource:
                if matches_path(rule, a.verb, a.path):
                    grant.any_name = grant.any_name or _allowed(binding, a.user)
            elif matches_resource_type(rule, a.verb, a.group, a.resource, a.subresource):
                if names := rule.get("resourceNames"):
                    for name in names:
                        grant.names.setdefault(name, _allowed(binding, a.user))
                else:
                    grant.any_name = grant.any_name or _allowed(binding, a.user)
        if missing:
            grant.refused = Decision(False, f"RBAC: {join_errors(missing)}")
        return grant

    def _rules(self, user: UserInfo, namespace: str, missing: list[str]) -> Iterator[tuple[Object, Object]]:
        subjects = [f"User:{user.name}", *(f"Group:{group}" for group in user.groups)]
        for scope in ("", namespace) if namespace else ("",):
            seen: set[tuple[str, str]] = set()
            for subject in subjects:
                for key, binding in self._bindings.get((scope, subject), _NONE).items():
                    if key not in seen:
                        seen.add(key)
                        rules = self.role_rules(binding["roleRef"], scope)
                        if rules is None:
                            role = binding["roleRef"]
                            missing.append(f'{role["kind"].lower()}.{CLUSTER_ROLES.group} "{role["name"]}" not found')
                        for rule in rules or ():
                            yield binding, rule

    def _role_changed(self, old: Object | None, new: Object | None) -> None:
        self._grants.clear()

    def _binding_changed(self, old: Object | None, new: Object | None) -> None:
        self._grants.clear()
        if old is not None:
            key = _key(old)
            for subject in _subjects(old):
                if bindings := self._bindings.get((key[0], subject)):
                    bindings.pop(key, None)
                    if not bindings:
                        del self._bindings[key[0], subject]
        if new is not None:
            key = _key(new)
            for subject in _subjects(new):
                self._bindings[key[0], subject][key] = new


_NONE: dict[tuple[str, str], Object] = {}


def _key(binding: Object) -> tuple[str, str]:
    metadata = binding["metadata"]
    return metadata.get("namespace") or "", metadata["name"]


def _subjects(binding: Object) -> Iterator[str]:
    """The subjects as the user or group each stands for."""
    for subject in binding.get("subjects") or ():
        kind = subject.get("kind")
        if kind in ("User", "Group"):
            yield f"{kind}:{subject.get('name')}"
        elif kind == "ServiceAccount" and (namespace := subject.get("namespace") or _key(binding)[0]):
            yield f"User:{service_account_user_name(namespace, subject.get('name') or '')}"


def _allowed(binding: Object, user: UserInfo) -> Decision:
    """With upstream's reason, seen in SubjectAccessReviews and audit annotations."""
    namespace, name = _key(binding)
    kind, described = ("RoleBinding", f"{name}/{namespace}") if namespace else ("ClusterRoleBinding", name)
    subject = next(_matching_subjects(binding, user), "")
    role = binding["roleRef"]
    reason = f'RBAC: allowed by {kind} "{described}" of {role["kind"]} "{role["name"]}" to {subject}'
    return Decision(True, reason)


def _matching_subjects(binding: Object, user: UserInfo) -> Iterator[str]:
    for subject in binding.get("subjects") or ():
        kind, name = subject.get("kind"), subject.get("name") or ""
        if kind == "ServiceAccount":
            namespace = subject.get("namespace") or _key(binding)[0]
            if user.name == service_account_user_name(namespace, name):
                yield f'ServiceAccount "{name}/{namespace}"'
        elif (kind == "User" and name == user.name) or (kind == "Group" and name in user.groups):
            yield f'{kind} "{name}"'

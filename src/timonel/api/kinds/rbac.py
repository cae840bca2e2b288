"""Roles say what may be done; bindings give them to users, groups and service accounts.

Source: kubernetes.io/docs/reference/access-authn-authz/rbac
"""

from __future__ import annotations

from timonel.api import refs
from timonel.api.errors import FieldError
from timonel.api.field_errors import Path, invalid, required
from timonel.api.kinds.columns import AGE, DEFAULT_COLUMNS, NAME, plain
from timonel.api.kinds.rules import Errors, check_label_selector, check_option, check_subdomain, check_text
from timonel.api.names import validate_path_segment
from timonel.api.objects import Object
from timonel.api.resource import Column, Resource, Strategy

GROUP = "rbac.authorization.k8s.io"
_ROLE_REF = Path("roleRef")
_SELECTORS = Path("aggregationRule") / "clusterRoleSelectors"


class _RbacStrategy(Strategy):
    create_on_update = True
    tracks_generation = False

    def __init__(self, *, namespaced: bool) -> None:
        self._namespaced = namespaced

    def validate_name(self, name: str) -> list[str]:
        return validate_path_segment(name)


class RoleStrategy(_RbacStrategy):
    def default(self, obj: Object) -> None:
        # Upstream always writes the field.
        obj.setdefault("rules", [])

    def validate_create(self, obj: Object) -> list[FieldError]:
        errors: Errors = []
        for index, rule in enumerate(obj.get("rules") or ()):
            check_rule(errors, Path("rules")[index], rule, namespaced=self._namespaced)
        aggregation = obj.get("aggregationRule")
        if aggregation is not None:
            selectors = aggregation.get("clusterRoleSelectors") or []
            if not selectors:
                why = "at least one clusterRoleSelector required if aggregationRule is non-nil"
                errors.append(required(_SELECTORS, why))
            for index, selector in enumerate(selectors):
                found: Errors = []
                check_label_selector(found, _SELECTORS[index], selector)
                errors += found
                if found:
                    errors.append(invalid(_SELECTORS[index], None, "invalid label selector."))
        return errors


class RoleBindingStrategy(_RbacStrategy):
    def default(self, obj: Object) -> None:
        ref = obj.setdefault("roleRef", {})
        if not ref.get("apiGroup"):
            ref["apiGroup"] = GROUP
        for subject in obj.get("subjects") or ():
            if not subject.get("apiGroup") and subject.get("kind") in ("User", "Group"):
                subject["apiGroup"] = GROUP

    def validate_create(self, obj: Object) -> list[FieldError]:
        errors: Errors = []
        ref = obj.get("roleRef") or {}
        check_option(errors, _ROLE_REF / "apiGroup", ref.get("apiGroup") or "", (GROUP,))
        kinds = ("Role", "ClusterRole") if self._namespaced else ("ClusterRole",)
        check_option(errors, _ROLE_REF / "kind", ref.get("kind") or "", kinds)
        if not ref.get("name"):
            errors.append(required(_ROLE_REF / "name"))
        else:
            check_text(errors, _ROLE_REF / "name", ref["name"], validate_path_segment)
        for index, subject in enumerate(obj.get("subjects") or ()):
            check_subject(errors, Path("subjects")[index], subject, namespaced=self._namespaced)
        return errors

    def validate_update(self, new: Object, old: Object) -> list[FieldError]:
        errors = self.validate_create(new)
        if new.get("roleRef") != old.get("roleRef"):
            errors.append(invalid(_ROLE_REF, new.get("roleRef"), "cannot change roleRef"))
        return errors


def check_rule(errors: Errors, path: Path, rule: Object, *, namespaced: bool) -> None:
    """A rule is about resources or about URLs, not both; in a namespace only about resources."""
    if not rule.get("verbs"):
        errors.append(required(path / "verbs", "verbs must contain at least one value"))
    urls = rule.get("nonResourceURLs")
    if urls:
        where = path / "nonResourceURLs"
        if namespaced:
            errors.append(invalid(where, urls, "namespaced rules cannot apply to non-resource URLs"))
        if rule.get("apiGroups") or rule.get("resources") or rule.get("resourceNames"):
            why = "rules cannot apply to both regular resources and non-resource URLs"
            errors.append(invalid(where, urls, why))
        return
    if not rule.get("apiGroups"):
        errors.append(required(path / "apiGroups", "resource rules must supply at least one api group"))
    if not rule.get("resources"):
        errors.append(required(path / "resources", "resource rules must supply at least one resource"))


def check_subject(errors: Errors, path: Path, subject: Object, *, namespaced: bool) -> None:
    name, kind, group = subject.get("name") or "", subject.get("kind") or "", subject.get("apiGroup") or ""
    if not name:
        errors.append(required(path / "name"))
    if kind == "ServiceAccount":
        if name:
            check_subdomain(errors, path / "name", name)
        check_option(errors, path / "apiGroup", group, ("",))
        if not namespaced and not subject.get("namespace"):
            errors.append(required(path / "namespace"))
    elif kind in ("User", "Group"):
        check_option(errors, path / "apiGroup", group, (GROUP,))
    else:
        check_option(errors, path / "kind", kind, ("ServiceAccount", "User", "Group"))


def _role(binding: Object) -> str:
    ref = binding.get("roleRef") or {}
    return f"{ref.get('kind', '')}/{ref.get('name', '')}"


def _subjects(binding: Object, kind: str) -> str:
    found = []
    for subject in binding.get("subjects") or ():
        if subject.get("kind") == kind:
            name = subject.get("name") or ""
            found.append(f"{subject.get('namespace') or ''}/{name}" if kind == "ServiceAccount" else name)
    return ", ".join(found)


_BINDING_COLUMNS = (
    NAME,
    Column("Role", plain(_role), description="The role that is given."),
    AGE,
    Column("Users", plain(lambda obj: _subjects(obj, "User")), priority=1, description="Users who get it."),
    Column("Groups", plain(lambda obj: _subjects(obj, "Group")), priority=1, description="Groups that get it."),
    Column(
        "ServiceAccounts",
        plain(lambda obj: _subjects(obj, "ServiceAccount")),
        priority=1,
        description="Service accounts that get it.",
    ),
)

ROLES = Resource(
    ref=refs.ROLES,
    definition="io.k8s.api.rbac.v1.Role",
    singular="role",
    strategy=RoleStrategy(namespaced=True),
    columns=DEFAULT_COLUMNS,
    storage_prefix="/registry/roles/",
)
CLUSTER_ROLES = Resource(
    ref=refs.CLUSTER_ROLES,
    definition="io.k8s.api.rbac.v1.ClusterRole",
    singular="clusterrole",
    strategy=RoleStrategy(namespaced=False),
    columns=DEFAULT_COLUMNS,
    storage_prefix="/registry/clusterroles/",
)
ROLE_BINDINGS = Resource(
    ref=refs.ROLE_BINDINGS,
    definition="io.k8s.api.rbac.v1.RoleBinding",
    singular="rolebinding",
    strategy=RoleBindingStrategy(namespaced=True),
    columns=_BINDING_COLUMNS,
    storage_prefix="/registry/rolebindings/",
)
CLUSTER_ROLE_BINDINGS = Resource(
    ref=refs.CLUSTER_ROLE_BINDINGS,
    definition="io.k8s.api.rbac.v1.ClusterRoleBinding",
    singular="clusterrolebinding",
    strategy=RoleBindingStrategy(namespaced=False),
    columns=_BINDING_COLUMNS,
    storage_prefix="/registry/clusterrolebindings/",
)

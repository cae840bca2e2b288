"""Roles say what may be done; bindings give them to users, groups and service accounts."""

from __future__ import annotations

from timonel.api import refs
from timonel.api.kinds.columns import AGE, DEFAULT_COLUMNS, NAME, plain
from timonel.api.objects import Object
from timonel.api.resource import Column, Resource, Strategy


class RoleStrategy(Strategy):
    create_on_update = True
    tracks_generation = False


class RoleBindingStrategy(Strategy):
    create_on_update = True
    tracks_generation = False


def _role(binding: Object) -> str:
    ref = binding.get("roleRef") or {}
    return f"{ref.get('kind', '')}/{ref.get('name', '')}"


def _subjects(binding: Object, kind: str) -> str:
    subjects = [s for s in binding.get("subjects") or () if s.get("kind") == kind]
    if kind == "ServiceAccount":
        return ", ".join(f"{s.get('namespace', '')}/{s['name']}" if s.get("namespace") else s.get("name", "")
                         for s in subjects)  # fmt: skip
    return ", ".join(s.get("name", "") for s in subjects)


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
    strategy=RoleStrategy(),
    columns=DEFAULT_COLUMNS,
    storage_prefix="/registry/roles/",
)
CLUSTER_ROLES = Resource(
    ref=refs.CLUSTER_ROLES,
    definition="io.k8s.api.rbac.v1.ClusterRole",
    singular="clusterrole",
    strategy=RoleStrategy(),
    columns=DEFAULT_COLUMNS,
    storage_prefix="/registry/clusterroles/",
)
ROLE_BINDINGS = Resource(
    ref=refs.ROLE_BINDINGS,
    definition="io.k8s.api.rbac.v1.RoleBinding",
    singular="rolebinding",
    strategy=RoleBindingStrategy(),
    columns=_BINDING_COLUMNS,
    storage_prefix="/registry/rolebindings/",
)
CLUSTER_ROLE_BINDINGS = Resource(
    ref=refs.CLUSTER_ROLE_BINDINGS,
    definition="io.k8s.api.rbac.v1.ClusterRoleBinding",
    singular="clusterrolebinding",
    strategy=RoleBindingStrategy(),
    columns=_BINDING_COLUMNS,
    storage_prefix="/registry/clusterrolebindings/",
)

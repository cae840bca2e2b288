"""Roles say what may be done; bindings give them to users, groups and service accounts."""

from __future__ import annotations

from timonel.api import refs
from timonel.api.kinds.columns import AGE, DEFAULT_COLUMNS, NAME
from timonel.api.resource import Resource, Strategy


class RoleStrategy(Strategy):
    create_on_update = True
    tracks_generation = False


class RoleBindingStrategy(Strategy):
    create_on_update = True
    tracks_generation = False


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
    columns=(NAME, AGE),
    storage_prefix="/registry/rolebindings/",
)
CLUSTER_ROLE_BINDINGS = Resource(
    ref=refs.CLUSTER_ROLE_BINDINGS,
    definition="io.k8s.api.rbac.v1.ClusterRoleBinding",
    singular="clusterrolebinding",
    strategy=RoleBindingStrategy(),
    columns=(NAME, AGE),
    storage_prefix="/registry/clusterrolebindings/",
)

"""Brings the objects every cluster has into being, and back, each time the server starts.

What an administrator added to a default role stays; what was taken away comes back, unless the object's annotation
rbac.authorization.kubernetes.io/autoupdate says "false".
Source: kubernetes.io/docs/reference/access-authn-authz/rbac/#auto-reconciliation
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from datetime import date
from typing import Protocol

from timonel.api.cluster_roles import aggregated_rules
from timonel.api.errors import AlreadyExists
from timonel.api.objects import Object, annotations_of, copy_object, labels_of, name_of, namespace_of
from timonel.api.refs import (
    API_SERVICES,
    CLUSTER_ROLE_BINDINGS,
    CLUSTER_ROLES,
    CONFIGMAPS,
    NAMESPACES,
    PRIORITY_CLASSES,
    ROLE_BINDINGS,
    ROLES,
    ResourceRef,
)
from timonel.api.token_secrets import TRACKING, TRACKING_NAMESPACE
from timonel.apiserver.authz.rules import uncovered
from timonel.apiserver.bootstrap import api_services, policy
from timonel.apiserver.readers import Readers

log = logging.getLogger(__name__)

SYSTEM_NAMESPACES = ("default", "kube-system", "kube-public", "kube-node-lease")

_PRIORITY_CLASSES = (
    (
        "system-node-critical",
        2_000_001_000,
        "Used for system critical pods that must not be moved from their current node.",
    ),
    (
        "system-cluster-critical",
        2_000_000_000,
        "Used for system critical pods that must run in the cluster, but can be moved to another node if necessary.",
    ),
)


class Objects(Readers, Protocol):
    """The registry, writing as the server itself: no authorisation, everything else of the write path."""

    async def create(self, ref: ResourceRef, obj: Object, namespace: str = "") -> object: ...

    async def update(
        self, ref: ResourceRef, namespace: str, name: str, transform: Callable[[Object], Object]
    ) -> object: ...

    async def delete(self, ref: ResourceRef, namespace: str, name: str) -> object: ...


async def reconcile_bootstrap(
    objects: Objects,
    *,
    today: date,
    group_versions: Iterable[tuple[str, str]] = (),
    client_ca: str = "",
    front_proxy_ca: str = "",
) -> None:
    """Namespaces, priority classes, APIServices, RBAC policy, aggregated roles. Idempotent.

    `group_versions` are those served here. `client_ca` and `front_proxy_ca` are PEM: extension API servers read them
    from a ConfigMap in kube-system.
    """
    for name in SYSTEM_NAMESPACES:
        await _ensure(objects, NAMESPACES, {"kind": "Namespace", "apiVersion": "v1", "metadata": {"name": name}})
    for name, value, description in _PRIORITY_CLASSES:
        await _ensure(
            objects,
            PRIORITY_CLASSES,
            {
                "kind": "PriorityClass",
                "apiVersion": PRIORITY_CLASSES.api_version,
                "metadata": {"name": name},
                "value": value,
                "description": description,
            },
        )
    await _reconcile_api_services(objects, group_versions)
    await _ensure(objects, CONFIGMAPS, _token_tracking(today))
    for role in policy.default_cluster_roles():
        await _reconcile_role(objects, CLUSTER_ROLES, role)
    for role in policy.default_roles():
        await _reconcile_role(objects, ROLES, role)
    await aggregate_cluster_roles(objects)
    for binding in policy.default_cluster_role_bindings():
        await _reconcile_binding(objects, CLUSTER_ROLE_BINDINGS, binding)
    for binding in policy.default_role_bindings():
        await _reconcile_binding(objects, ROLE_BINDINGS, binding)
    if client_ca:
        await _publish_authentication(objects, client_ca, front_proxy_ca)


async def aggregate_cluster_roles(objects: Objects) -> None:
    """Gives every ClusterRole with an aggregationRule the rules of those its selectors choose, before anybody asks."""
    reader = objects.reader(CLUSTER_ROLES)
    for role in list(reader.list()):
        rules = aggregated_rules(role, reader.list())
        if rules is not None and rules != (role.get("rules") or []):
            await _replace(objects, CLUSTER_ROLES, role, rules=rules)


async def _ensure(objects: Objects, ref: ResourceRef, wanted: Object) -> None:
    if objects.reader(ref).get(namespace_of(wanted), name_of(wanted)) is None:
        await _create(objects, ref, wanted)


async def _create(objects: Objects, ref: ResourceRef, wanted: Object) -> None:
    try:
        await objects.create(ref, copy_object(wanted))
    except AlreadyExists:
        return  # another server of this cluster was first
    log.info("bootstrap object was created resource=%s name=%s", ref.group_resource, name_of(wanted))


async def _find_or_create(objects: Objects, ref: ResourceRef, wanted: Object) -> Object | None:
    """The one that is there and may be restored; None when there was none, or when somebody wants to keep it."""
    live = objects.reader(ref).get(namespace_of(wanted), name_of(wanted))
    if live is None:
        await _create(objects, ref, wanted)
        return None
    return None if annotations_of(live).get(policy.AUTOUPDATE) == "false" else live


async def _reconcile_role(objects: Objects, ref: ResourceRef, wanted: Object) -> None:
    live = await _find_or_create(objects, ref, wanted)
    if live is None:
        return
    changes = _missing_metadata(live, wanted)
    if aggregation := wanted.get("aggregationRule"):
        if live.get("aggregationRule") != aggregation:
            changes["aggregationRule"] = aggregation
    elif missing := uncovered(live.get("rules") or [], wanted["rules"]):
        changes["rules"] = [*(live.get("rules") or ()), *missing]
    if changes:
        await _replace(objects, ref, live, **changes)
        log.info("bootstrap role was restored resource=%s name=%s", ref.group_resource, name_of(wanted))


async def _reconcile_binding(objects: Objects, ref: ResourceRef, wanted: Object) -> None:
    live = await _find_or_create(objects, ref, wanted)
    if live is None:
        return
    if live.get("roleRef") != wanted["roleRef"]:
        # A roleRef cannot be changed; what the binding grants is what counts.
        await objects.delete(ref, namespace_of(live), name_of(live))
        await _create(objects, ref, wanted)
        return
    changes = _missing_metadata(live, wanted)
    present = live.get("subjects") or []
    if missing := [subject for subject in wanted.get("subjects") or () if subject not in present]:
        changes["subjects"] = [*present, *missing]
    if changes:
        await _replace(objects, ref, live, **changes)
        log.info("bootstrap binding was restored resource=%s name=%s", ref.group_resource, name_of(wanted))


def _missing_metadata(live: Object, wanted: Object) -> Object:
    """{"metadata": …} with the default labels and annotations that are missing, or nothing."""
    metadata = live["metadata"]
    merged = {part: {**wanted["metadata"][part], **(metadata.get(part) or {})} for part in ("labels", "annotations")}
    if all(merged[part] == (metadata.get(part) or {}) for part in merged):
        return {}
    return {"metadata": {**metadata, **merged}}


async def _replace(objects: Objects, ref: ResourceRef, live: Object, **changes: object) -> None:
    """Writes top-level fields over whatever the object is by then."""

    def change(old: Object) -> Object:
        return copy_object({**old, **changes})

    await objects.update(ref, namespace_of(live), name_of(live), change)


async def _reconcile_api_services(objects: Objects, group_versions: Iterable[tuple[str, str]]) -> None:
    wanted = {name_of(service): service for service in api_services.default_api_services(group_versions)}
    for service in wanted.values():
        live = objects.reader(API_SERVICES).get("", name_of(service))
        if live is None:
            await _create(objects, API_SERVICES, service)
        elif api_services.MANAGED in labels_of(live) and live["spec"] != service["spec"]:
            await _replace(objects, API_SERVICES, live, spec=service["spec"])
            log.info("bootstrap object was restored resource=apiservices name=%s", name_of(service))
    for live in list(objects.reader(API_SERVICES).list()):
        if api_services.MANAGED in labels_of(live) and name_of(live) not in wanted:
            await objects.delete(API_SERVICES, "", name_of(live))
            log.info("bootstrap object was removed, its group is not served name=%s", name_of(live))


def _token_tracking(today: date) -> Object:
    """Since when uses of tokens in Secrets have been noted, which says when one that is not noted may be removed.

    Source: kubernetes.io/docs/reference/access-authn-authz/service-accounts-admin/#legacy-serviceaccount-token-tracking
    """
    metadata = {"name": TRACKING, "namespace": TRACKING_NAMESPACE}
    return {"kind": "ConfigMap", "apiVersion": "v1", "metadata": metadata, "data": {"since": today.isoformat()}}


async def _publish_authentication(objects: Objects, client_ca: str, front_proxy_ca: str) -> None:
    data = {"client-ca-file": client_ca}
    if front_proxy_ca:
        data |= {
            "requestheader-client-ca-file": front_proxy_ca,
            "requestheader-allowed-names": '["front-proxy-client"]',
            "requestheader-extra-headers-prefix": '["X-Remote-Extra-"]',
            "requestheader-group-headers": '["X-Remote-Group"]',
            "requestheader-uid-headers": '["X-Remote-Uid"]',
            "requestheader-username-headers": '["X-Remote-User"]',
        }
    name = "extension-apiserver-authentication"
    live = objects.reader(CONFIGMAPS).get("kube-system", name)
    if live is None:
        metadata = {"name": name, "namespace": "kube-system"}
        await _create(
            objects, CONFIGMAPS, {"kind": "ConfigMap", "apiVersion": "v1", "metadata": metadata, "data": data}
        )
    elif live.get("data") != data:
        await _replace(objects, CONFIGMAPS, live, data=data)

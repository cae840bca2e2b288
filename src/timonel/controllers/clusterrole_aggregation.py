"""ClusterRoles with an aggregationRule have the rules of the roles that it selects.

Source: kubernetes.io/docs/reference/access-authn-authz/rbac/#aggregated-clusterroles
"""

from __future__ import annotations

import logging

from timonel.api.cluster_roles import aggregated_rules
from timonel.api.labels import InvalidSelector
from timonel.api.objects import Object, ObjectKey, key_of, labels_of
from timonel.api.refs import CLUSTER_ROLES
from timonel.client.controller import Controller, Result, Watch

log = logging.getLogger(__name__)

FIELD_MANAGER = "clusterrole-aggregation-controller"


class ClusterRoleAggregationController(Controller):
    """Keys are aggregating roles. There are few: whatever role changes, all of them are looked at."""

    name = "clusterrole-aggregation"
    workers = 1

    def register(self) -> None:
        self._watch(Watch(CLUSTER_ROLES, key=self._aggregating, changed=_changed))

    watches = (Watch(CLUSTER_ROLES),)

    def _aggregating(self, role: Object) -> list[ObjectKey]:
        return [key_of(each) for each in self.lister(CLUSTER_ROLES).list() if each.get("aggregationRule")]

    async def sync(self, key: ObjectKey) -> Result:
        role = self.lister(CLUSTER_ROLES).get(*key)
        if role is None:
            return Result()
        try:
            rules = aggregated_rules(role, self.lister(CLUSTER_ROLES).list())
        except InvalidSelector as exc:
            log.warning("cluster role was not aggregated role=%s error=%s", key, exc)
            return Result()
        if rules is None or rules == (role.get("rules") or []):
            return Result()
        wanted = {
            "kind": CLUSTER_ROLES.kind,
            "apiVersion": CLUSTER_ROLES.api_version,
            "metadata": {"name": key.name},
            "rules": rules,
        }
        await self.client.patch(CLUSTER_ROLES, key.name, wanted, type="apply", field_manager=FIELD_MANAGER, force=True)
        log.info("cluster role was aggregated role=%s rules=%d", key, len(rules))
        return Result()


def _changed(old: Object, new: Object) -> bool:
    return labels_of(old) != labels_of(new) or any(
        old.get(part) != new.get(part) for part in ("rules", "aggregationRule")
    )

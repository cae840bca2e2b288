"""What ClusterRoles that aggregate others consist of: written by the server when it starts, then by a controller.

Source: kubernetes.io/docs/reference/access-authn-authz/rbac/#aggregated-clusterroles
"""

from __future__ import annotations

from collections.abc import Collection, Iterator

from timonel.api.labels import selector_from_object
from timonel.api.objects import Object, labels_of, name_of


def aggregated_rules(role: Object, roles: Collection[Object]) -> list[Object] | None:
    """The rules that an aggregating role should have, each once; None: it does not aggregate.

    They come in order of the selectors, and of the names of the roles that each selects. Of roles that aggregate in
    turn, it is what those should have that counts. Roles that choose each other in a circle get the same rules, and
    what none of the others gives them is not kept for having been in the circle once.
    """
    if not role.get("aggregationRule"):
        return None
    rules: list[Object] = []
    for source in _sources(role, sorted(roles, key=name_of), {name_of(role)}):
        rules += [rule for rule in source.get("rules") or () if rule not in rules]
    return rules


def _sources(role: Object, roles: Collection[Object], seen: set[str]) -> Iterator[Object]:
    """Roles with rules of their own. One met before has given all that it can."""
    for item in role["aggregationRule"].get("clusterRoleSelectors") or ():
        selector = selector_from_object(item)
        for source in roles:
            if name_of(source) in seen or not selector.matches(labels_of(source)):
                continue
            seen.add(name_of(source))
            if source.get("aggregationRule"):
                yield from _sources(source, roles, seen)
            else:
                yield source

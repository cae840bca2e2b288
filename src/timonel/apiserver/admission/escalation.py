"""Nobody grants by RBAC what they do not hold, unless they hold the verbs `bind` or `escalate`.

Source: kubernetes.io/docs/reference/access-authn-authz/rbac/#privilege-escalation-prevention-and-bootstrapping
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from timonel.api.errors import not_found
from timonel.api.objects import Object
from timonel.api.refs import CLUSTER_ROLE_BINDINGS, CLUSTER_ROLES, ROLE_BINDINGS, ROLES
from timonel.apiserver.admission.chain import AdmissionRequest, Plugin
from timonel.apiserver.authn.user import MASTERS_GROUP
from timonel.apiserver.authz.attributes import Attributes, Authorizer
from timonel.apiserver.authz.rbac import RbacAuthorizer
from timonel.apiserver.authz.rules import uncovered

_ROLES = (ROLES.plural, CLUSTER_ROLES.plural)
_BINDINGS = (ROLE_BINDINGS.plural, CLUSTER_ROLE_BINDINGS.plural)
_EVERYTHING: list[Object] = [
    {"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]},
    {"verbs": ["*"], "nonResourceURLs": ["*"]},
]


class RbacEscalation(Plugin):
    """Not a plugin upstream, where it sits in the storage of these kinds; the rule and the words are the same."""

    name = "RbacEscalation"
    operations = frozenset({"CREATE", "UPDATE"})
    resources = frozenset((ROLES.group, plural) for plural in (*_ROLES, *_BINDINGS))

    def __init__(self, *, authorizer: Authorizer, rbac: RbacAuthorizer) -> None:
        self._authorizer = authorizer
        self._rbac = rbac

    async def validate(self, request: AdmissionRequest) -> None:
        obj = request.obj
        if obj is None or MASTERS_GROUP in request.user.groups or _only_lets_go(request):
            return
        if request.resource.ref.plural in _BINDINGS:
            await self._check_binding(request, obj)
        else:
            await self._check_role(request, obj)

    async def _check_binding(self, request: AdmissionRequest, binding: Object) -> None:
        role_ref = binding["roleRef"]
        plural = CLUSTER_ROLES.plural if role_ref.get("kind") == "ClusterRole" else ROLES.plural
        if await self._may(request, "bind", plural, role_ref.get("name") or ""):
            return
        rules = self._rbac.role_rules(role_ref, request.namespace)
        if rules is None:
            # Upstream names what is written, the binding.
            raise not_found(request.resource.ref, role_ref.get("name") or "")
        self._refuse_uncovered(request, rules)

    async def _check_role(self, request: AdmissionRequest, role: Object) -> None:
        if await self._may(request, "escalate", request.resource.ref.plural, request.attributes.name):
            return
        self._refuse_uncovered(request, role.get("rules") or ())
        if any(((item or {}).get("aggregationRule") or {}).get("clusterRoleSelectors") for item in (role, request.old)):
            owned = self._rbac.rules_for(request.user, request.namespace)
            if uncovered(owned, _EVERYTHING):
                raise request.forbidden("must have cluster-admin privileges to use the aggregationRule")

    async def _may(self, request: AdmissionRequest, verb: str, plural: str, name: str) -> bool:
        attributes: Attributes = replace(
            request.attributes, verb=verb, version="*", resource=plural, subresource="", name=name
        )
        return (await self._authorizer.authorize(attributes)).allowed

    def _refuse_uncovered(self, request: AdmissionRequest, rules: Iterable[Object]) -> None:
        missing = uncovered(self._rbac.rules_for(request.user, request.namespace), rules)
        if missing:
            groups = _quoted(request.user.groups)
            lines = "\n".join(sorted({_describe(rule) for rule in _merge_verbs(missing)}))
            raise request.forbidden(
                f'user "{request.user.name}" (groups={groups}) is attempting to grant RBAC permissions not currently'
                f" held:\n{lines}"
            )


def _only_lets_go(request: AdmissionRequest) -> bool:
    """An update of finalizers and owners alone, as the garbage collector makes, grants nothing."""
    if request.operation != "UPDATE" or request.old is None or request.obj is None:
        return False
    return _without_gc_fields(request.obj) == _without_gc_fields(request.old)


def _without_gc_fields(obj: Object) -> Object:
    drop = ("finalizers", "ownerReferences", "managedFields", "resourceVersion", "generation")
    metadata = {key: value for key, value in obj["metadata"].items() if key not in drop}
    return {**obj, "metadata": metadata}


def _merge_verbs(pieces: Iterable[Object]) -> list[Object]:
    """Joins pieces that differ only in their verb, as upstream prints them."""
    merged: dict[str, Object] = {}
    for piece in pieces:
        key = repr({field: value for field, value in piece.items() if field != "verbs"})
        known = merged.setdefault(key, {**piece, "verbs": []})
        known["verbs"] += [verb for verb in piece["verbs"] if verb not in known["verbs"]]
    return list(merged.values())


def _describe(rule: Object) -> str:
    fields = (
        ("APIGroups", "apiGroups"), ("Resources", "resources"), ("NonResourceURLs", "nonResourceURLs"),
        ("ResourceNames", "resourceNames"), ("Verbs", "verbs"),
    )  # fmt: skip
    return "{" + ", ".join(f"{words}:{_quoted(rule[field])}" for words, field in fields if rule.get(field)) + "}"


def _quoted(values: Sequence[str]) -> str:
    return "[" + " ".join(f'"{value}"' for value in values) + "]"

"""OwnerReferencesPermissionEnforcement: who names an owner must be able to delete, and to hold up the owner's deletion.

Source: kubernetes.io/docs/reference/access-authn-authz/admission-controllers/#ownerreferencespermissionenforcement
"""

from __future__ import annotations

from dataclasses import replace

from timonel.api.objects import Object, owner_references
from timonel.api.resource import Resource, ResourceTable, split_api_version
from timonel.apiserver.admission.chain import AdmissionRequest, Plugin
from timonel.apiserver.authz.attributes import Attributes, Authorizer


class OwnerReferencesPermissionEnforcement(Plugin):
    name = "OwnerReferencesPermissionEnforcement"
    operations = frozenset({"CREATE", "UPDATE"})

    def __init__(self, *, authorizer: Authorizer, table: ResourceTable) -> None:
        self._authorizer = authorizer
        self._table = table

    async def validate(self, request: AdmissionRequest) -> None:
        new, old = request.obj, request.old
        if new is None or "metadata" not in new:
            return
        ref = request.resource.ref
        if (ref.group, ref.plural, request.subresource) == ("", "pods", "status"):
            return  # where owners cannot change
        owners = owner_references(new)
        before = owner_references(old) if old is not None else []
        if owners == before:
            return
        if request.operation != "CREATE":
            attributes = replace(request.attributes, verb="delete", name=request.name)
            decision = await self._authorizer.authorize(attributes)
            if not decision.allowed:
                raise request.forbidden(
                    f"cannot set an ownerRef on a resource you can't delete: {decision.reason}, <nil>"
                )
        known = {owner.get("uid"): owner for owner in before}
        blocking = [
            owner
            for owner in owners
            if owner.get("blockOwnerDeletion") and not (known.get(owner.get("uid")) or {}).get("blockOwnerDeletion")
        ]
        if blocking and not await self._may_finalize(request, None, "*"):
            for owner in blocking:
                await self._check_owner(request, owner)

    async def _check_owner(self, request: AdmissionRequest, owner: Object) -> None:
        api_version, kind = owner.get("apiVersion") or "", owner.get("kind") or ""
        group, version = split_api_version(api_version)
        row = self._table.find_kind(group, version, kind)
        if row is None:
            raise request.forbidden(
                "cannot set blockOwnerDeletion in this case because cannot find RESTMapping for APIVersion"
                f' {api_version} Kind {kind}: no matches for kind "{kind}" in version "{api_version}"'
            )
        reason = await self._may_finalize(request, row, owner.get("name") or "", why=True)
        if reason is not True:
            raise request.forbidden(
                "cannot set blockOwnerDeletion if an ownerReference refers to a resource you can't set finalizers on:"
                f" {reason or ''}, <nil>"
            )

    async def _may_finalize(
        self, request: AdmissionRequest, row: Resource | None, name: str, *, why: bool = False
    ) -> bool | str:
        """True, or why not. No row: whatever there is."""
        ref = row.ref if row else None
        decision = await self._authorizer.authorize(
            Attributes(
                request.user,
                "update",
                ref.group if ref else "*",
                ref.version if ref else "*",
                ref.plural if ref else "*",
                "finalizers",
                request.namespace if ref and ref.namespaced else "",
                name,
            )
        )
        return decision.allowed or (decision.reason if why else False)

"""Tells in a policy's status what its expressions get wrong about the kinds that it matches.

The compiler of expressions is imported when there is a first policy: most clusters have none.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

import orjson

from timonel.api.errors import error_from_status
from timonel.api.objects import Object, ObjectKey, get_path, name_of
from timonel.api.refs import VALIDATING_ADMISSION_POLICIES
from timonel.client.controller import Controller, Result, Watch

if TYPE_CHECKING:
    from timonel.controllers.admissionpolicies.type_checking import GroupVersionKind, GroupVersionResource

log = logging.getLogger(__name__)

_MANAGER = "validatingadmissionpolicy-status"


class PolicyStatusController(Controller):
    name = "validatingadmissionpolicy-status-controller"
    watches = (Watch(VALIDATING_ADMISSION_POLICIES),)
    workers = 1  # checking is work for the processor, not for the network

    async def sync(self, key: ObjectKey) -> Result:
        policy = self.lister(VALIDATING_ADMISSION_POLICIES).get(*key)
        generation = get_path(policy, "metadata", "generation", default=0)
        if policy is None or generation <= get_path(policy, "status", "observedGeneration", default=0):
            return Result()
        warnings = await self._check(policy)
        checking: Object = {"expressionWarnings": warnings} if warnings else {}
        patch = {
            "apiVersion": VALIDATING_ADMISSION_POLICIES.api_version,
            "kind": VALIDATING_ADMISSION_POLICIES.kind,
            "metadata": {"name": key.name},
            "status": {"observedGeneration": generation, "typeChecking": checking},
        }
        await self.client.patch(
            VALIDATING_ADMISSION_POLICIES, key.name, patch,
            type="apply", subresource="status", field_manager=_MANAGER, force=True,
        )  # fmt: skip
        if warnings:
            log.info("policy was checked name=%s warnings=%d", name_of(policy), len(warnings))
        return Result()

    async def _check(self, policy: Object) -> list[Object]:
        from timonel.controllers.admissionpolicies.type_checking import (
            check_policy,
            declare_kind,
            kinds_to_check,
            param_kind,
        )

        kinds = kinds_to_check(policy, await self._served(policy))
        params = param_kind(policy)
        documents: dict[tuple[str, str], Any] = {}
        for kind in (*kinds, *((params,) if params is not None else ())):
            if kind[:2] not in documents:
                documents[kind[:2]] = await self._document(kind)

        def check() -> list[Object]:
            declared = {kind: found for kind in kinds if (found := declare_kind(documents[kind[:2]], kind)) is not None}
            return check_policy(policy, declared, declare_kind(documents[params[:2]], params) if params else None)

        return await asyncio.to_thread(check)

    async def _served(self, policy: Object) -> dict[GroupVersionResource, str]:
        from timonel.controllers.admissionpolicies.type_checking import matched_resources

        asked: dict[tuple[str, str], dict[str, str]] = {}
        served: dict[GroupVersionResource, str] = {}
        for resources in matched_resources(policy):
            for resource in resources:
                group, version, name = resource
                if (group, version) not in asked:
                    document = await self._get(_path(group, version))
                    rows = document.get("resources") or ()
                    asked[group, version] = {row["name"]: row["kind"] for row in rows}
                if kind := asked[group, version].get(name):
                    served[resource] = kind
        return served

    async def _document(self, kind: GroupVersionKind) -> Object:
        return await self._get(f"/openapi/v3{_path(kind.group, kind.version)}")

    async def _get(self, path: str) -> Object:
        """{} for what is not served. Raises ApiError."""
        status, _, body = await self.client.raw("GET", path)
        if status == 404:
            return {}
        if status >= 400:
            raise error_from_status({"message": f"reading {path} failed"}, status)
        document: Object = orjson.loads(body)
        return document


def _path(group: str, version: str) -> str:
    return f"/apis/{group}/{version}" if group else f"/api/{version}"

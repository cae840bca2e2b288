"""What tests of admission plugins share: writes to review, and what becomes of them."""

from __future__ import annotations

from typing import Any

import pytest

from timonel.api.errors import ApiError
from timonel.api.kinds import BUILTIN
from timonel.api.objects import Object
from timonel.api.refs import ResourceRef
from timonel.apiserver.admission.chain import AdmissionRequest, Plugin
from timonel.apiserver.authn.user import UserInfo
from timonel.apiserver.authz.attributes import Attributes, Decision


def review(ref: ResourceRef, obj: Object | None, operation: str = "CREATE", **fields: Any) -> AdmissionRequest:
    """A write of ann's; `fields` are those of AdmissionRequest, and namespace, name, user and verb."""
    namespace = fields.pop("namespace", "d" if ref.namespaced else "")
    user, verb = fields.pop("user", UserInfo("ann")), fields.pop("verb", operation.lower())
    attributes = Attributes(
        user, verb, ref.group, ref.version, ref.plural, fields.get("subresource", ""), namespace, fields.pop("name", "")
    )
    return AdmissionRequest(attributes, BUILTIN.row(ref), operation, obj, **fields)


def pod(**spec: Any) -> Object:
    return {"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c"}], **spec}}


async def admit(plugin: Plugin, request: AdmissionRequest) -> Object:
    await plugin.mutate(request)
    await plugin.validate(request)
    return request.obj or {}


async def refused(plugin: Plugin, request: AdmissionRequest) -> ApiError:
    with pytest.raises(ApiError) as caught:
        await admit(plugin, request)
    return caught.value


class Permits:
    """An authoriser that allows what it is given as (verb, resource with subresource, name); no name is any."""

    def __init__(self, *allowed: tuple[str, str, str]) -> None:
        self.allowed = set(allowed)

    async def authorize(self, a: Attributes) -> Decision:
        found = {(a.verb, a.qualified_resource, a.name), (a.verb, a.qualified_resource, "")}
        return Decision(bool(found & self.allowed), "")

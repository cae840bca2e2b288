"""Whoever makes an object that nothing acts on is told so."""

import pytest

from timonel.api import refs
from timonel.api.kinds import BUILTIN
from timonel.apiserver.admission.chain import AdmissionRequest
from timonel.apiserver.admission.unbuilt import UNBUILT, Unbuilt
from timonel.apiserver.authn.user import UserInfo
from timonel.apiserver.authz.attributes import Attributes


async def warnings_of(ref, obj, subresource=""):
    attributes = Attributes(UserInfo("jane"), "create", ref.group, ref.version, ref.plural, subresource)
    operation = "UPDATE" if subresource else "CREATE"
    request = AdmissionRequest(attributes, BUILTIN.row(ref), operation, obj, subresource=subresource)
    await Unbuilt().validate(request)
    return request.warnings


async def test_the_kind_is_named():
    assert await warnings_of(refs.CUSTOM_RESOURCE_DEFINITIONS, {"kind": "CustomResourceDefinition"}) == [
        "not built in this release of Timonel: custom resources are not served"
    ]


async def test_what_others_act_on_is_not_warned_of():
    local = {"kind": "APIService", "spec": {"group": "apps"}}
    assert await warnings_of(refs.API_SERVICES, local) == []
    away = {"kind": "APIService", "spec": {"group": "x.io", "service": {"name": "x"}}}
    assert len(await warnings_of(refs.API_SERVICES, away)) == 1


@pytest.mark.parametrize("ref", UNBUILT, ids=lambda ref: ref.kind)
def test_every_kind_named_is_served(ref):
    assert BUILTIN.row(ref).ref == ref

"""Says so, as a warning, when somebody makes an object that nothing in this release acts on.

The object is kept, defaulted and validated like any other, so that clients and backups work with it; but whoever makes
it must not believe that it does something. A row goes when the part that acts is built.
"""

from __future__ import annotations

from timonel.api import refs
from timonel.api.objects import Object, get_path
from timonel.api.refs import ResourceRef
from timonel.apiserver.admission.chain import AdmissionRequest, Plugin

UNBUILT: dict[ResourceRef, str] = {
    refs.RESOURCE_CLAIMS: "nodes do not prepare the devices that are allocated to ResourceClaims",
    refs.VALIDATING_WEBHOOK_CONFIGURATIONS: "webhooks are not called",
    refs.MUTATING_WEBHOOK_CONFIGURATIONS: "webhooks are not called",
    refs.VALIDATING_ADMISSION_POLICY_BINDINGS: "ValidatingAdmissionPolicies are not enforced",
    refs.MUTATING_ADMISSION_POLICY_BINDINGS: "MutatingAdmissionPolicies are not applied",
    refs.CUSTOM_RESOURCE_DEFINITIONS: "custom resources are not served",
    refs.API_SERVICES: "requests are not handed on to extension API servers",
}

_PREFIX = "not built in this release of Timonel: "


class Unbuilt(Plugin):
    name = "Unbuilt"
    operations = frozenset({"CREATE"})
    resources = frozenset((ref.group, ref.plural) for ref in UNBUILT)

    async def validate(self, request: AdmissionRequest) -> None:
        if request.operation == "CREATE" and not request.subresource and not _is_our_own(request.obj or {}):
            request.warnings.append(_PREFIX + UNBUILT[request.resource.ref])


def _is_our_own(obj: Object) -> bool:
    """An APIService of a group that is served here."""
    return obj.get("kind") == "APIService" and get_path(obj, "spec", "service") is None

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
    refs.HORIZONTAL_POD_AUTOSCALERS: "nothing scales by HorizontalPodAutoscalers",
    refs.HORIZONTAL_POD_AUTOSCALERS_V1: "nothing scales by HorizontalPodAutoscalers",
    refs.NETWORK_POLICIES: "NetworkPolicies are not enforced",
    refs.PERSISTENT_VOLUME_CLAIMS: "PersistentVolumeClaims are not bound to volumes",
    refs.RESOURCE_CLAIMS: "no devices are allocated to ResourceClaims",
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
    operations = frozenset({"CREATE", "UPDATE"})
    resources = frozenset((ref.group, ref.plural) for ref in (*UNBUILT, refs.PODS))

    async def validate(self, request: AdmissionRequest) -> None:
        """Raises Forbidden for pods that would run in another way than they ask for."""
        ref, obj = request.resource.ref, request.obj or {}
        if ref == refs.PODS:
            if request.subresource == "resize":
                request.warnings.append(f"{_PREFIX}containers that run are not resized")
            elif request.operation == "CREATE" and get_path(obj, "spec", "runtimeClassName"):
                raise request.forbidden(f"{_PREFIX}nodes do not know RuntimeClasses")
        elif request.operation == "CREATE" and not request.subresource and not _is_our_own(obj):
            request.warnings.append(_PREFIX + UNBUILT[ref])


def _is_our_own(obj: Object) -> bool:
    """An APIService of a group that is served here."""
    return obj.get("kind") == "APIService" and get_path(obj, "spec", "service") is None

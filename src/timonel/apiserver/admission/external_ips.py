"""DenyServiceExternalIPs: nobody draws the traffic of an address to themselves. Off unless it is enabled.

Source: kubernetes.io/docs/reference/access-authn-authz/admission-controllers/#denyserviceexternalips
"""

from __future__ import annotations

from timonel.api.objects import get_path
from timonel.apiserver.admission.chain import AdmissionRequest, Plugin


class DenyServiceExternalIPs(Plugin):
    name = "DenyServiceExternalIPs"
    operations = frozenset({"CREATE", "UPDATE"})
    resources = frozenset({("", "services")})

    async def validate(self, request: AdmissionRequest) -> None:
        if request.subresource:
            return
        new, old = (set(get_path(obj, "spec", "externalIPs", default=[])) for obj in (request.obj, request.old))
        if not new <= old:
            raise request.forbidden("Use of external IPs is denied by admission control")

"""NamespaceLifecycle: nothing is created in a namespace that is absent or going, and the first ones never go.

Source: kubernetes.io/docs/reference/access-authn-authz/admission-controllers/#namespacelifecycle
"""

from __future__ import annotations

from timonel.api.errors import forbidden, not_found
from timonel.api.refs import NAMESPACES
from timonel.apiserver.admission.chain import AdmissionRequest, Plugin
from timonel.apiserver.readers import Readers

IMMORTAL = frozenset({"default", "kube-system", "kube-public"})


class NamespaceLifecycle(Plugin):
    name = "NamespaceLifecycle"
    operations = frozenset({"CREATE", "UPDATE", "DELETE"})

    def __init__(self, *, readers: Readers) -> None:
        self._namespaces = readers.reader(NAMESPACES)

    async def mutate(self, request: AdmissionRequest) -> None:
        ref = request.resource.ref
        if ref.plural == "namespaces" and not ref.group:
            if request.operation == "DELETE" and request.name in IMMORTAL:
                raise forbidden(ref, request.name, "this namespace may not be deleted")
            return
        # An answer about the namespace would tell who asks for a review which namespaces exist.
        if not request.namespace or request.operation == "DELETE" or ref.plural == "localsubjectaccessreviews":
            return
        namespace = self._namespaces.get("", request.namespace)
        if namespace is None:
            raise not_found(NAMESPACES, request.namespace)
        if request.operation == "CREATE" and (namespace.get("status") or {}).get("phase") == "Terminating":
            error = request.forbidden(
                f"unable to create new content in namespace {request.namespace} because it is being terminated"
            )
            error.details["causes"] = [
                {
                    "reason": "NamespaceTerminating",
                    "message": f"namespace {request.namespace} is being terminated",
                    "field": "metadata.namespace",
                }
            ]
            raise error

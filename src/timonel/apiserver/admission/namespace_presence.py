"""NamespaceAutoProvision and NamespaceExists: a missing namespace is made, or is an error. Off unless enabled.

Source: kubernetes.io/docs/reference/access-authn-authz/admission-controllers/#namespaceautoprovision
"""

from __future__ import annotations

from timonel.api.errors import AlreadyExists, ApiError, not_found
from timonel.api.refs import NAMESPACES
from timonel.apiserver.admission.chain import AdmissionRequest, Plugin
from timonel.apiserver.readers import Readers, Writer


class NamespaceAutoProvision(Plugin):
    name = "NamespaceAutoProvision"
    operations = frozenset({"CREATE"})

    def __init__(self, *, readers: Readers, writer: Writer) -> None:
        self._namespaces = readers.reader(NAMESPACES)
        self._writer = writer

    async def mutate(self, request: AdmissionRequest) -> None:
        if request.dry_run or not _is_in_namespace(request) or self._namespaces.get("", request.namespace):
            return
        try:
            await self._writer.create(NAMESPACES, {"metadata": {"name": request.namespace}})
        except AlreadyExists:
            pass
        except ApiError as exc:
            raise request.forbidden(exc.message) from exc


class NamespaceExists(Plugin):
    name = "NamespaceExists"
    operations = frozenset({"CREATE", "UPDATE", "DELETE"})

    def __init__(self, *, readers: Readers) -> None:
        self._namespaces = readers.reader(NAMESPACES)

    async def validate(self, request: AdmissionRequest) -> None:
        if _is_in_namespace(request) and self._namespaces.get("", request.namespace) is None:
            raise not_found(NAMESPACES, request.namespace)


def _is_in_namespace(request: AdmissionRequest) -> bool:
    return bool(request.namespace) and request.resource.ref != NAMESPACES

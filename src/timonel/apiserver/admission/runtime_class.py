"""RuntimeClass: the kind is not built yet, so a pod that asks for a class is refused instead of running otherwise."""

from __future__ import annotations

from timonel.apiserver.admission.chain import AdmissionRequest, Plugin


class RuntimeClass(Plugin):
    name = "RuntimeClass"
    operations = frozenset({"CREATE"})
    resources = frozenset({("", "pods")})

    async def validate(self, request: AdmissionRequest) -> None:
        if request.subresource or request.obj is None:
            return
        spec = request.obj["spec"]
        if name := spec.get("runtimeClassName"):
            raise request.forbidden(
                f'pod rejected: RuntimeClass "{name}" not found (RuntimeClass is not built in this version)'
            )
        if spec.get("overhead"):
            raise request.forbidden(
                "pod rejected: Pod Overhead set without corresponding RuntimeClass defined Overhead"
            )

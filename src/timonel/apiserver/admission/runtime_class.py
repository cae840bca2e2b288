"""RuntimeClass: a pod takes over what its class says of overhead and of the nodes that have the runtime.

Source: kubernetes.io/docs/concepts/containers/runtime-class
"""

from __future__ import annotations

from timonel.api.objects import Object
from timonel.api.refs import RUNTIME_CLASSES
from timonel.apiserver.admission.chain import AdmissionRequest, Meeting, Plugin
from timonel.apiserver.admission.tolerations import merge_tolerations
from timonel.apiserver.readers import Readers


class RuntimeClass(Plugin):
    name = "RuntimeClass"
    operations = frozenset({"CREATE"})
    resources = frozenset({("", "pods")})

    def __init__(self, *, readers: Readers) -> None:
        self._classes = readers.reader(RUNTIME_CLASSES)

    def cares(self, meeting: Meeting) -> bool:
        return not meeting.subresource

    async def mutate(self, request: AdmissionRequest) -> None:
        found = self._class_of(request)
        if found is None or request.obj is None:
            return
        spec = request.obj["spec"]
        overhead = _overhead(found)
        if overhead is not None:
            if spec.get("overhead") and spec["overhead"] != overhead:
                raise _mismatch(request)
            spec["overhead"] = dict(overhead)
        scheduling = found.get("scheduling")
        if scheduling is not None:
            _place(request, spec, scheduling)

    async def validate(self, request: AdmissionRequest) -> None:
        found = self._class_of(request)
        if request.obj is None or request.subresource:
            return
        given, overhead = request.obj["spec"].get("overhead"), _overhead(found)
        if overhead is None:
            if given is not None:
                raise request.forbidden(
                    "pod rejected: Pod Overhead set without corresponding RuntimeClass defined Overhead"
                )
        elif overhead != (given or {}):
            raise _mismatch(request)

    def _class_of(self, request: AdmissionRequest) -> Object | None:
        if request.subresource or request.obj is None:
            return None
        name = request.obj["spec"].get("runtimeClassName")
        if name is None:
            return None
        found = self._classes.get("", name)
        if found is None:
            raise request.forbidden(f'pod rejected: RuntimeClass "{name}" not found')
        return found


def _overhead(found: Object | None) -> Object | None:
    overhead = (found or {}).get("overhead")
    return None if overhead is None else overhead.get("podFixed") or {}


def _mismatch(request: AdmissionRequest) -> Exception:
    return request.forbidden("pod rejected: Pod's Overhead doesn't match RuntimeClass's defined Overhead")


def _place(request: AdmissionRequest, spec: Object, scheduling: Object) -> None:
    wanted = scheduling.get("nodeSelector") or {}
    given = spec.get("nodeSelector") or {}
    for key, value in sorted(wanted.items()):
        if given.get(key, value) != value:
            raise request.forbidden(
                f"conflict: runtimeClass.scheduling.nodeSelector[{key}] = {value};"
                f" pod.spec.nodeSelector[{key}] = {given[key]}"
            )
    if wanted:
        spec["nodeSelector"] = {**given, **wanted}
    if tolerations := merge_tolerations(spec.get("tolerations") or [], scheduling.get("tolerations") or []):
        spec["tolerations"] = tolerations

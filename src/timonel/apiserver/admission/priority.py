"""Priority: a pod's priority and preemption policy follow from its class; only one class may be the default.

Source: kubernetes.io/docs/concepts/scheduling-eviction/pod-priority-preemption
"""

from __future__ import annotations

from timonel.api.kinds.priorityclass import SYSTEM_CLASSES
from timonel.api.objects import Object, name_of
from timonel.api.refs import PRIORITY_CLASSES
from timonel.apiserver.admission.by_namespace import ByNamespace
from timonel.apiserver.admission.chain import AdmissionRequest, Meeting, Plugin
from timonel.apiserver.readers import Readers

_DEFAULT_POLICY = "PreemptLowerPriority"


class Priority(Plugin):
    name = "Priority"
    operations = frozenset({"CREATE", "UPDATE", "DELETE"})
    resources = frozenset({("", "pods"), (PRIORITY_CLASSES.group, PRIORITY_CLASSES.plural)})

    def __init__(self, *, readers: Readers) -> None:
        self._classes = readers.reader(PRIORITY_CLASSES)
        self._present = ByNamespace(self._classes)

    def cares(self, meeting: Meeting) -> bool:
        """Pods get what their class says; classes are only checked."""
        return not meeting.subresource and meeting.mutates == (meeting.plural == "pods")

    async def mutate(self, request: AdmissionRequest) -> None:
        if request.operation == "DELETE" or request.subresource or request.obj is None:
            return
        if request.resource.ref.plural != "pods":
            return
        spec = request.obj["spec"]
        if request.operation == "UPDATE":
            if request.old is not None:
                for field in ("priority", "preemptionPolicy"):
                    if spec.get(field) is None and request.old["spec"].get(field) is not None:
                        spec = request.own("spec")
                        spec[field] = request.old["spec"][field]
            return
        name, priority, policy = self._resolve(request, spec.get("priorityClassName") or "")
        if name:
            spec["priorityClassName"] = name
        given = spec.get("priority")
        if given is not None and given != priority:
            raise request.forbidden(
                f"the integer value of priority ({given}) must not be provided in pod spec; priority admission"
                f" controller computed {priority} from the given PriorityClass name"
            )
        spec["priority"] = priority
        given = spec.get("preemptionPolicy")
        if given is not None and given != policy:
            raise request.forbidden(
                f"the string value of PreemptionPolicy ({given}) must not be provided in pod spec; priority admission"
                f" controller computed {policy} from the given PriorityClass name"
            )
        spec["preemptionPolicy"] = policy

    async def validate(self, request: AdmissionRequest) -> None:
        if request.operation == "DELETE":
            if request.resource.ref == PRIORITY_CLASSES and request.attributes.name in SYSTEM_CLASSES:
                # Upstream says so in the storage of the kind.
                raise request.forbidden("this is a system priority class and cannot be deleted")
            return
        if request.subresource or request.obj is None or request.resource.ref.plural != PRIORITY_CLASSES.plural:
            return
        if not request.obj.get("globalDefault"):
            return
        default = self._default()
        if default is not None and (request.operation == "CREATE" or name_of(default) != name_of(request.obj)):
            raise request.forbidden(
                f"PriorityClass {name_of(default)} is already marked as default. Only one default can exist"
            )

    def _resolve(self, request: AdmissionRequest, name: str) -> tuple[str, int, str]:
        if not name:
            found = self._default()
            if found is None:
                return "", 0, _DEFAULT_POLICY
        else:
            found = self._classes.get("", name)
            if found is None:
                raise request.forbidden(f"no PriorityClass with name {name} was found")
        return name_of(found), found.get("value") or 0, found.get("preemptionPolicy") or _DEFAULT_POLICY

    def _default(self) -> Object | None:
        """The default class; of several made at the same moment the least important."""
        defaults = [item for item in self._present.of("").values() if item.get("globalDefault")]
        return min(defaults, key=lambda item: (item.get("value") or 0, name_of(item)), default=None)

"""Pod: the row; defaults, validation and columns are in the modules beside, shared with kinds that have templates."""

from __future__ import annotations

from timonel.api import refs
from timonel.api.clock import format_time
from timonel.api.errors import FieldError
from timonel.api.field_errors import Path
from timonel.api.kinds.fields import flag_at, text_at
from timonel.api.kinds.pod.columns import POD_COLUMNS
from timonel.api.kinds.pod.defaults import default_pod, default_pod_status
from timonel.api.kinds.pod.qos import qos_class
from timonel.api.kinds.pod.scheduling import merge_label_keys
from timonel.api.kinds.pod.status import prepare_status, validate_status_update
from timonel.api.kinds.pod.subresources import (
    prepare_ephemeral_containers,
    prepare_resize,
    validate_ephemeral_containers,
    validate_resize,
)
from timonel.api.kinds.pod.update import validate_pod_update
from timonel.api.kinds.pod.validation import validate_pod
from timonel.api.kinds.pod.warnings import pod_warnings
from timonel.api.kinds.subresources import PROXY_VERBS, STATUS
from timonel.api.names import validate_dns1123_label
from timonel.api.objects import Object, get_path
from timonel.api.resource import Occasion, Resource, Strategy, Subresource


class PodStrategy(Strategy):
    deletes_gracefully = True
    shares_parts = True
    repeats = True

    def default(self, obj: Object) -> None:
        default_pod(obj)

    def default_status(self, obj: Object) -> None:
        default_pod_status(obj)

    def prepare_create(self, obj: Object) -> None:
        spec, metadata = obj["spec"], obj["metadata"]
        status: Object = {"phase": "Pending", "qosClass": qos_class(spec)}
        if spec.get("schedulingGates"):
            status["conditions"] = [
                {
                    "type": "PodScheduled",
                    "status": "False",
                    "lastProbeTime": None,
                    "reason": "SchedulingGated",
                    "message": "Scheduling is blocked due to non-empty scheduling gates",
                }
            ]
        obj["status"] = status
        if spec.get("affinity") or spec.get("topologySpreadConstraints"):
            merge_label_keys(spec, metadata.get("labels") or {})

    def stamp(self, new: Object, old: Object | None, occasion: Occasion) -> None:
        if old is None:
            for condition in new["status"].get("conditions") or ():
                condition["lastTransitionTime"] = format_time(occasion.now)

    def validate_create(self, obj: Object) -> list[FieldError]:
        return validate_pod(obj)

    def validate_update(self, new: Object, old: Object) -> list[FieldError]:
        return validate_pod_update(new, old)

    def prepare_status_update(self, new: Object, old: Object) -> None:
        prepare_status(new, old)

    def validate_status_update(self, new: Object, old: Object) -> list[FieldError]:
        return validate_status_update(new, old)

    def grace_period_seconds(self, obj: Object, requested: int | None) -> int:
        """The request's period, else the pod's own; a pod that runs nowhere or has ended goes at once."""
        if not get_path(obj, "spec", "nodeName"):
            return 0
        if get_path(obj, "status", "phase") in ("Failed", "Succeeded"):
            return 0
        period = requested
        if period is None:
            period = get_path(obj, "spec", "terminationGracePeriodSeconds")
        if period is None:
            return 0
        # A negative period is treated as the shortest one.
        return 1 if period < 0 else int(period)

    def warnings(self, obj: Object, old: Object | None) -> list[str]:
        # People seldom write pods twice, and controllers do it often: updates are not looked at.
        if old is not None:
            return []
        found = []
        problems = validate_dns1123_label(obj["metadata"].get("name") or "")
        if problems:
            found.append(
                "metadata.name: this is used in the Pod's hostname, which can result in surprising behavior; "
                f"a DNS label is recommended: [{' '.join(problems)}]"
            )
        return found + pod_warnings(Path(), obj["metadata"], obj["spec"])


class EphemeralContainersStrategy(PodStrategy):
    """Writes through the subresource of that name, by `kubectl debug`."""

    def prepare_update(self, new: Object, old: Object) -> None:
        prepare_ephemeral_containers(new, old)

    def validate_update(self, new: Object, old: Object) -> list[FieldError]:
        return validate_ephemeral_containers(new, old)


class ResizeStrategy(PodStrategy):
    """Writes through `resize`: other resources for containers that run."""

    def prepare_update(self, new: Object, old: Object) -> None:
        prepare_resize(new, old)

    def validate_update(self, new: Object, old: Object) -> list[FieldError]:
        return validate_resize(new, old)


def _pod_ip(obj: Object) -> str:
    ip: str = get_path(obj, "status", "podIPs", 0, "ip", default="") or get_path(obj, "status", "podIP", default="")
    return ip


_BY_OPTIONS = ("create", "get")

PODS = Resource(
    ref=refs.PODS,
    definition="io.k8s.api.core.v1.Pod",
    singular="pod",
    short_names=("po",),
    categories=("all",),
    subresources=(
        Subresource("attach", verbs=_BY_OPTIONS, kind="PodAttachOptions"),
        Subresource("binding", verbs=("create",), kind="Binding"),
        Subresource("ephemeralcontainers", strategy=EphemeralContainersStrategy()),
        Subresource("eviction", verbs=("create",), kind="Eviction", group="policy", version="v1"),
        Subresource("exec", verbs=_BY_OPTIONS, kind="PodExecOptions"),
        Subresource("log", verbs=("get",)),
        Subresource("portforward", verbs=_BY_OPTIONS, kind="PodPortForwardOptions"),
        Subresource("proxy", verbs=PROXY_VERBS, kind="PodProxyOptions"),
        Subresource("resize", strategy=ResizeStrategy()),
        STATUS,
    ),
    strategy=PodStrategy(),
    columns=POD_COLUMNS,
    selectable_fields={
        "spec.nodeName": text_at("spec", "nodeName"),
        "spec.host": text_at("spec", "nodeName"),
        "spec.restartPolicy": text_at("spec", "restartPolicy"),
        "spec.schedulerName": text_at("spec", "schedulerName"),
        "spec.serviceAccountName": text_at("spec", "serviceAccountName"),
        "spec.hostNetwork": flag_at("spec", "hostNetwork"),
        "status.phase": text_at("status", "phase"),
        "status.podIP": _pod_ip,
        "status.podIPs": _pod_ip,
        "status.nominatedNodeName": text_at("status", "nominatedNodeName"),
    },
    storage_prefix="/registry/pods/",
    has_status=True,
)

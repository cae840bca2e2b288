"""What makes a pod of a StatefulSet: its name, ordinal, labels, host name and volumes. Pure.

Source: kubernetes.io/docs/concepts/workloads/controllers/statefulset#pod-identity
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from timonel.api.objects import Object, get_path, labels_of, name_of, namespace_of
from timonel.api.refs import STATEFUL_SETS
from timonel.controllers.history import REVISION_HASH, template_of
from timonel.controllers.replicaset.planner import pod_from_template

POD_NAME = "statefulset.kubernetes.io/pod-name"
POD_INDEX = "apps.kubernetes.io/pod-index"
_MAX_ORDINAL = 2**31 - 1
_name = re.compile(r"(.*)-([0-9]+)", re.DOTALL).fullmatch


def parse_pod_name(name: str) -> tuple[str, int]:
    """("web-0") -> ("web", 0). The ordinal is -1 for names of other forms."""
    match = _name(name)
    if match is None:
        return "", -1
    ordinal = int(match[2])
    return match[1], ordinal if ordinal <= _MAX_ORDINAL else -1


def ordinal_of(pod: Object) -> int:
    return parse_pod_name(name_of(pod))[1]


def is_member(stateful_set: Object, pod: Object) -> bool:
    return parse_pod_name(name_of(pod))[0] == name_of(stateful_set)


def ordinals_of(stateful_set: Object) -> range:
    """Those of the pods there should be."""
    spec = stateful_set["spec"]
    start: int = get_path(spec, "ordinals", "start", default=0)
    replicas = spec.get("replicas")
    return range(start, start + (1 if replicas is None else replicas))


def pod_name(stateful_set: Object, ordinal: int) -> str:
    return f"{name_of(stateful_set)}-{ordinal}"


def claim_name(stateful_set: Object, template: Object, ordinal: int) -> str:
    return f"{name_of(template)}-{name_of(stateful_set)}-{ordinal}"


def claim_templates(stateful_set: Object) -> list[Object]:
    return stateful_set["spec"].get("volumeClaimTemplates") or []


def revision_of(pod: Object) -> str:
    """The name of the revision it was made from; "" when nothing says."""
    return labels_of(pod).get(REVISION_HASH) or ""


def new_pod(stateful_set: Object, revision: Object, ordinal: int) -> Object:
    """The pod of this ordinal as the revision's template says. Shares the template's parts: for sending only."""
    owner = {**stateful_set, "spec": {**stateful_set["spec"], "template": template_of(revision)}}
    pod = pod_from_template(owner, STATEFUL_SETS)
    name = pod_name(stateful_set, ordinal)
    metadata = {key: value for key, value in pod["metadata"].items() if key != "generateName"}
    labels = {**(metadata.get("labels") or {}), REVISION_HASH: name_of(revision), **identity_labels(name, ordinal)}
    pod["metadata"] = {**metadata, "name": name, "namespace": namespace_of(stateful_set), "labels": labels}
    spec = {**pod["spec"], "hostname": name}
    if stateful_set["spec"].get("serviceName"):
        spec["subdomain"] = stateful_set["spec"]["serviceName"]
    if volumes := volumes_of(stateful_set, spec.get("volumes") or (), ordinal):
        spec["volumes"] = volumes
    pod["spec"] = spec
    return pod


def identity_labels(name: str, ordinal: int) -> dict[str, str]:
    return {POD_NAME: name, POD_INDEX: str(ordinal)}


def volumes_of(stateful_set: Object, present: Iterable[Object], ordinal: int) -> list[Object]:
    """One for each claim, and of the present ones those that no claim stands in for."""
    claimed = {
        name_of(template): {
            "name": name_of(template),
            "persistentVolumeClaim": {"claimName": claim_name(stateful_set, template, ordinal)},
        }
        for template in claim_templates(stateful_set)
    }
    return [*claimed.values(), *(volume for volume in present if volume["name"] not in claimed)]


def repair_of(stateful_set: Object, pod: Object) -> Object | None:
    """The merge patch that gives a pod its identity and storage back; None when it has them."""
    ordinal = ordinal_of(pod)
    patch: Object = {}
    if labels_of(pod).get(POD_NAME) != name_of(pod):
        patch["metadata"] = {"labels": identity_labels(name_of(pod), ordinal)}
    volumes = {volume["name"]: volume for volume in pod["spec"].get("volumes") or ()}
    if any(
        get_path(volumes, name_of(template), "persistentVolumeClaim", "claimName")
        != claim_name(stateful_set, template, ordinal)
        for template in claim_templates(stateful_set)
    ):
        patch["spec"] = {"volumes": volumes_of(stateful_set, volumes.values(), ordinal)}
    return patch or None

"""Labels and annotations by which sandboxes and containers are found again after a restart of the agent.

They are upstream's, so that crictl and other tools show pods as they do anywhere.
"""

from __future__ import annotations

from collections.abc import Mapping

import orjson

from timonel.api.objects import Object, annotations_of, labels_of, name_of, namespace_of, uid_of
from timonel.kubelet.pods.spec import spec_hash

POD_NAME = "io.kubernetes.pod.name"
POD_NAMESPACE = "io.kubernetes.pod.namespace"
POD_UID = "io.kubernetes.pod.uid"
CONTAINER_NAME = "io.kubernetes.container.name"
CONTAINER_HASH = "io.kubernetes.container.hash"
RESTART_COUNT = "io.kubernetes.container.restartCount"
TERMINATION_PATH = "io.kubernetes.container.terminationMessagePath"
TERMINATION_POLICY = "io.kubernetes.container.terminationMessagePolicy"
PRE_STOP = "io.kubernetes.container.preStopHandler"
GRACE = "io.kubernetes.pod.terminationGracePeriod"


def pod_labels(pod: Object) -> dict[str, str]:
    own = {POD_NAME: name_of(pod), POD_NAMESPACE: namespace_of(pod), POD_UID: uid_of(pod)}
    return dict(labels_of(pod)) | own


def pod_annotations(pod: Object) -> dict[str, str]:
    return {"kubernetes.io/config.source": "api"} | dict(annotations_of(pod))


def container_labels(pod: Object, container: Object) -> dict[str, str]:
    return {
        CONTAINER_NAME: container["name"],
        POD_NAME: name_of(pod),
        POD_NAMESPACE: namespace_of(pod),
        POD_UID: uid_of(pod),
    }


def container_annotations(pod: Object, container: Object, attempt: int) -> dict[str, str]:
    annotations = {
        CONTAINER_HASH: spec_hash(container),
        RESTART_COUNT: str(attempt),
        TERMINATION_PATH: container.get("terminationMessagePath") or "/dev/termination-log",
        TERMINATION_POLICY: container.get("terminationMessagePolicy") or "File",
    }
    grace = pod["spec"].get("terminationGracePeriodSeconds")
    if grace is not None:
        annotations[GRACE] = str(grace)
    handler = (container.get("lifecycle") or {}).get("preStop")
    if handler:
        annotations[PRE_STOP] = orjson.dumps(handler).decode()
    return annotations


def pod_from_labels(labels: Mapping[str, str]) -> Object:
    """As much of a pod as a sandbox or container tells: enough to end what is left of it."""
    return {
        "kind": "Pod",
        "apiVersion": "v1",
        "metadata": {"name": labels[POD_NAME], "namespace": labels[POD_NAMESPACE], "uid": labels[POD_UID]},
        "spec": {"containers": []},
    }


def container_from_annotations(name: str, annotations: Mapping[str, str]) -> Object:
    container: Object = {"name": name}
    if annotations.get(PRE_STOP):
        container["lifecycle"] = {"preStop": orjson.loads(annotations[PRE_STOP])}
    return container

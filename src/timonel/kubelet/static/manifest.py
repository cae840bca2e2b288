"""A static pod from the text of its file. Pure.

Source: kubernetes.io/docs/tasks/configure-pod-container/static-pod
"""

from __future__ import annotations

import hashlib
from datetime import datetime

import orjson

from timonel.api.clock import format_micro_time
from timonel.api.objects import Object, copy_object

HASH, MIRROR = "kubernetes.io/config.hash", "kubernetes.io/config.mirror"
SOURCE, SEEN = "kubernetes.io/config.source", "kubernetes.io/config.seen"
_EVERY_EXECUTION = {"operator": "Exists", "effect": "NoExecute"}
_DEFINITION = "io.k8s.api.core.v1.Pod"


class InvalidManifest(ValueError):
    """The message says what is wrong, without the file's name."""


def parse_manifest(text: bytes, *, file: str, node_name: str) -> Object:
    """The pod, defaulted and validated, on this node. Its uid follows from text, file and node, so a new agent finds
    what an earlier one started. Raises InvalidManifest.
    """
    # Imported here: the schema costs memory, and most nodes have no static pods.
    from timonel.api.decode import decode
    from timonel.api.errors import ApiError
    from timonel.api.kinds import BUILTIN
    from timonel.api.pod_references import first_api_reference
    from timonel.api.refs import PODS
    from timonel.api.schema import schemas

    try:
        decoded = decode(text, "application/yaml")
    except ApiError as exc:
        raise InvalidManifest(str(exc)) from exc
    pod = decoded.obj
    if not isinstance(pod, dict) or (pod.get("apiVersion"), pod.get("kind")) != ("v1", "Pod"):
        raise InvalidManifest("not a Pod of v1")
    checked = schemas().check(_DEFINITION, pod)
    problems = [*decoded.duplicates, *checked.unknown, *([checked.error] if checked.error else [])]
    if problems:
        raise InvalidManifest("; ".join(problems))
    metadata = pod.setdefault("metadata", {})
    if not metadata.get("name"):
        raise InvalidManifest("invalid pod: name is needed for the pod")
    if not isinstance(pod.get("spec"), dict):
        raise InvalidManifest("invalid pod: spec is needed for the pod")
    pod.pop("status", None)
    uid = metadata.get("uid") or _uid(pod, file, node_name)
    metadata["uid"] = uid
    metadata["name"] = f"{metadata['name']}-{node_name}".lower()
    metadata.setdefault("namespace", "default")
    metadata["annotations"] = (metadata.get("annotations") or {}) | {HASH: uid, SOURCE: "file"}
    spec = pod["spec"]
    spec["nodeName"] = node_name
    if _EVERY_EXECUTION not in (spec.get("tolerations") or ()):
        spec["tolerations"] = [*(spec.get("tolerations") or ()), dict(_EVERY_EXECUTION)]
    strategy = BUILTIN.row(PODS).strategy
    strategy.default(pod)
    errors = strategy.validate_create(pod)
    if errors:
        raise InvalidManifest(f"invalid pod: {'; '.join(str(error) for error in errors)}")
    reference = first_api_reference(pod)
    if reference:
        raise InvalidManifest(f"static pods may not reference {reference}")
    pod["status"] = {"phase": "Pending"}
    return pod


def _uid(pod: Object, file: str, node_name: str) -> str:
    text = orjson.dumps(pod, option=orjson.OPT_SORT_KEYS)
    return hashlib.sha256(text + f"host:{node_name}file:{file}".encode()).hexdigest()[:32]


def mirror_of(pod: Object, node: Object) -> Object:
    """What the API is shown of a static pod. `node` is the Node object, which owns it.

    Source: KEP-1314, on the owner.
    """
    made = copy_object(pod)
    metadata = made["metadata"]
    uid = metadata.pop("uid")
    metadata["annotations"] = {**metadata["annotations"], MIRROR: uid}
    owner = {"apiVersion": "v1", "kind": "Node", "name": node["metadata"]["name"], "uid": node["metadata"]["uid"]}
    metadata["ownerReferences"] = [{**owner, "controller": True}]
    made.pop("status", None)
    return made


def seen_at(pod: Object, now: datetime) -> Object:
    """With the time it was found, which its uid does not depend on."""
    metadata = pod["metadata"]
    return {**pod, "metadata": {**metadata, "annotations": {**metadata["annotations"], SEEN: format_micro_time(now)}}}

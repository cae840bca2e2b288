"""The files of configMap, secret, downwardAPI and projected volumes. Pure: objects and tokens come from lookups.

Source: kubernetes.io/docs/concepts/storage/{volumes,projected-volumes}
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from timonel.api.objects import Object
from timonel.kubelet.containers.downward import metadata_field, resource_field
from timonel.kubelet.volumes.atomic import File

DEFAULT_MODE = 0o644


class PayloadError(Exception):
    """What a volume needs is not there (yet)."""


@dataclass(frozen=True, slots=True)
class PayloadSource:
    lookup: Callable[[str, str], Object | None]
    """("configmap" | "secret", name) in the pod's namespace."""
    token: Callable[[Object], str]
    """The token for a serviceAccountToken projection, fetched before."""
    allocatable: Object


def config_map_data(obj: Object) -> dict[str, bytes]:
    text = {key: value.encode() for key, value in (obj.get("data") or {}).items()}
    return text | {key: base64.b64decode(value) for key, value in (obj.get("binaryData") or {}).items()}


def secret_data(obj: Object) -> dict[str, bytes]:
    return {key: base64.b64decode(value) for key, value in (obj.get("data") or {}).items()}


def _selected(data: Mapping[str, bytes], source: Object, default_mode: int, kind: str) -> dict[str, File]:
    items = source.get("items")
    if not items:
        return {key: File(value, default_mode) for key, value in data.items()}
    files = {}
    for item in items:
        if item["key"] not in data:
            if source.get("optional"):
                continue
            raise PayloadError(
                f"{kind} references non-existent {'config' if kind == 'configmap' else kind} key: {item['key']}"
            )
        mode = item.get("mode")
        files[item["path"]] = File(data[item["key"]], default_mode if mode is None else mode)
    return files


def _object_files(kind: str, name: str, source: Object, default_mode: int, inputs: PayloadSource) -> dict[str, File]:
    found = inputs.lookup(kind, name)
    if found is None:
        if source.get("optional"):
            return {}
        raise PayloadError(f'{kind} "{name}" not found')
    data = config_map_data(found) if kind == "configmap" else secret_data(found)
    return _selected(data, source, default_mode, kind)


def _downward_files(pod: Object, source: Object, default_mode: int, inputs: PayloadSource) -> dict[str, File]:
    files = {}
    for item in source.get("items") or ():
        try:
            if item.get("fieldRef"):
                text = metadata_field(pod, item["fieldRef"]["fieldPath"])
            else:
                text = resource_field(pod, item["resourceFieldRef"], None, inputs.allocatable)
        except ValueError as exc:
            raise PayloadError(str(exc)) from exc
        mode = item.get("mode")
        files[item["path"]] = File(text.encode(), default_mode if mode is None else mode)
    return files


def _user_of_all(pod: Object) -> int | None:
    """The user every container of the pod runs as, if it is one and the same: it may own tokens."""
    context = pod["spec"].get("securityContext") or {}
    users = set()
    for container in (pod["spec"].get("initContainers") or []) + (pod["spec"].get("containers") or []):
        users.add((container.get("securityContext") or {}).get("runAsUser", context.get("runAsUser")))
    return users.pop() if len(users) == 1 else None


def _projected_files(pod: Object, volume: Object, inputs: PayloadSource) -> dict[str, File]:
    mode = volume.get("defaultMode")
    mode = DEFAULT_MODE if mode is None else mode
    files: dict[str, File] = {}
    for source in volume.get("sources") or ():
        if source.get("configMap"):
            name = source["configMap"].get("name", "")
            files |= _object_files("configmap", name, source["configMap"], mode, inputs)
        elif source.get("secret"):
            files |= _object_files("secret", source["secret"].get("name", ""), source["secret"], mode, inputs)
        elif source.get("downwardAPI"):
            files |= _downward_files(pod, source["downwardAPI"], mode, inputs)
        elif source.get("serviceAccountToken"):
            projection = source["serviceAccountToken"]
            owner = _user_of_all(pod)
            group = (pod["spec"].get("securityContext") or {}).get("fsGroup")
            token_mode = 0o600 if owner is not None or group is not None else mode
            files[projection["path"]] = File(inputs.token(projection).encode(), token_mode, owner)
        else:
            raise PayloadError(f"projected volume source {', '.join(source)} is not built")
    return files


def render_volume(pod: Object, volume: Object, inputs: PayloadSource) -> dict[str, File]:
    """Relative path -> file. Raises PayloadError; KeyError never."""
    if "configMap" in volume:
        source = volume["configMap"]
        return _object_files("configmap", source.get("name", ""), source, _mode(source), inputs)
    if "secret" in volume:
        source = volume["secret"]
        return _object_files("secret", source.get("secretName", ""), source, _mode(source), inputs)
    if "downwardAPI" in volume:
        return _downward_files(pod, volume["downwardAPI"], _mode(volume["downwardAPI"]), inputs)
    return _projected_files(pod, volume["projected"], inputs)


def _mode(source: Object) -> int:
    mode = source.get("defaultMode")
    return DEFAULT_MODE if mode is None else int(mode)


def token_projections(pod: Object) -> Iterator[Object]:
    for volume in pod["spec"].get("volumes") or ():
        for source in (volume.get("projected") or {}).get("sources") or ():
            if source.get("serviceAccountToken"):
                yield source["serviceAccountToken"]


def reads_object(volume: Object, kind: str, name: str) -> bool:
    """Whether a change of that object changes this volume."""
    sources = (volume.get("projected") or {}).get("sources") or [volume]
    for source in sources:
        if kind == "configmap" and source.get("configMap") and source["configMap"].get("name") == name:
            return True
        secret = source.get("secret") or {}
        if kind == "secret" and name in (secret.get("name"), secret.get("secretName")):
            return True
    return False

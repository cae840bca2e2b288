"""Which other API objects a pod names: what its node may read, and what a mirror pod may not use."""

from __future__ import annotations

from collections.abc import Iterator

from timonel.api.objects import Object

CONTAINER_LISTS = ("initContainers", "containers", "ephemeralContainers")

# Volume sources that name a Secret, and where: field of the source, or an object reference inside it.
_SECRET_FIELDS = {"azureFile": "secretName", "secret": "secretName"}
_SECRET_REFS = {
    "cephfs": "secretRef",
    "cinder": "secretRef",
    "flexVolume": "secretRef",
    "rbd": "secretRef",
    "scaleIO": "secretRef",
    "iscsi": "secretRef",
    "storageos": "secretRef",
    "csi": "nodePublishSecretRef",
}


def all_containers(pod: Object) -> Iterator[Object]:
    spec = pod["spec"]
    for field in CONTAINER_LISTS:
        yield from spec.get(field) or ()


def references(pod: Object) -> Iterator[tuple[str, str]]:
    """(resource, name) pairs of the pod's own namespace, repeated ones included."""
    spec = pod["spec"]
    if account := spec.get("serviceAccountName"):
        yield "serviceaccounts", account
    yield from secret_names(pod)
    yield from config_map_names(pod)
    for volume in spec.get("volumes") or ():
        if claim := volume.get("persistentVolumeClaim"):
            yield "persistentvolumeclaims", claim.get("claimName") or ""
        elif "ephemeral" in volume:
            yield "persistentvolumeclaims", f"{pod['metadata'].get('name')}-{volume.get('name')}"


def secret_names(pod: Object) -> Iterator[tuple[str, str]]:
    spec = pod["spec"]
    names = [item.get("name") for item in spec.get("imagePullSecrets") or ()]
    names += _from_containers(pod, "secretRef", "secretKeyRef")
    for volume in spec.get("volumes") or ():
        names += (volume[kind].get(field) for kind, field in _SECRET_FIELDS.items() if volume.get(kind))
        names += ((volume[kind].get(ref) or {}).get("name") for kind, ref in _SECRET_REFS.items() if volume.get(kind))
        names += _projected(volume, "secret")
    return (("secrets", name) for name in names if name)


def config_map_names(pod: Object) -> Iterator[tuple[str, str]]:
    names = _from_containers(pod, "configMapRef", "configMapKeyRef")
    for volume in pod["spec"].get("volumes") or ():
        names.append((volume.get("configMap") or {}).get("name"))
        names += _projected(volume, "configMap")
    return (("configmaps", name) for name in names if name)


def _from_containers(pod: Object, env_from: str, key_ref: str) -> list[str | None]:
    names: list[str | None] = []
    for container in all_containers(pod):
        names += ((item.get(env_from) or {}).get("name") for item in container.get("envFrom") or ())
        for variable in container.get("env") or ():
            names.append(((variable.get("valueFrom") or {}).get(key_ref) or {}).get("name"))
    return names


def _projected(volume: Object, kind: str) -> list[str | None]:
    sources = (volume.get("projected") or {}).get("sources") or ()
    return [(source.get(kind) or {}).get("name") for source in sources]


_NEEDS_NO_API = frozenset({
    "awsElasticBlockStore", "azureDisk", "cephfs", "cinder", "downwardAPI", "emptyDir", "fc", "flexVolume", "flocker",
    "gcePersistentDisk", "gitRepo", "hostPath", "image", "iscsi", "nfs", "photonPersistentDisk", "portworxVolume",
    "quobyte", "rbd", "scaleIO", "storageos", "vsphereVolume",
})  # fmt: skip
_NEEDS_API = {
    "configMap": "configmaps (via configmap volumes)",
    "secret": "secrets (via secret volumes)",
    "csi": "csidrivers (via CSI volumes)",
    "glusterfs": "endpoints (via glusterFS volumes)",
    "persistentVolumeClaim": "persistentvolumeclaims",
    "ephemeral": "persistentvolumeclaims (via ephemeral volumes)",
    "azureFile": "secrets (via azureFile volumes)",
}
_PROJECTION_NEEDS_API = {
    "configMap": "configmaps (via projected volumes)",
    "secret": "secrets (via projected volumes)",
    "serviceAccountToken": "serviceaccounts (via projected volumes)",
    "clusterTrustBundle": "clustertrustbundles",
    "podCertificate": "podcertificates",
}


def first_api_reference(pod: Object) -> str:
    """What in a would-be mirror pod needs the API, in upstream's words; "" when nothing does."""
    spec = pod["spec"]
    if spec.get("serviceAccountName"):
        return "serviceaccounts"
    if next(secret_names(pod), None):
        return "secrets"
    if next(config_map_names(pod), None):
        return "configmaps"
    if spec.get("resourceClaims"):
        return "resourceclaims"
    for volume in spec.get("volumes") or ():
        for kind, words in _NEEDS_API.items():
            if kind in volume:
                return words
        if "projected" in volume:
            for source in volume["projected"].get("sources") or ():
                for kind, words in _PROJECTION_NEEDS_API.items():
                    if kind in source:
                        return words
        elif not _NEEDS_NO_API & volume.keys():
            return f'unknown volume type for volume "{volume.get("name")}"'
    return ""

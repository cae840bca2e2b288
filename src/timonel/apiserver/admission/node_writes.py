"""What kubelets may write of kinds beside pods and nodes: only what is about their own node.

The authoriser knows names alone; whom a new object is about, it does not see.
Source: kubernetes.io/docs/reference/access-authn-authz/admission-controllers/#noderestriction
"""

from __future__ import annotations

from timonel.api.kinds.certificates.pem import requested_common_name
from timonel.api.objects import Object, get_path, is_deleting, labels_of
from timonel.api.volumes import LOCAL_FINALIZER, LOCAL_NODE_LABEL
from timonel.apiserver.admission.chain import AdmissionRequest

_KUBELET_SIGNERS = frozenset({"kubernetes.io/kubelet-serving", "kubernetes.io/kube-apiserver-client-kubelet"})
_CLAIM_STATUS = frozenset({"capacity", "conditions", "allocatedResources", "allocatedResourceStatuses"})


def check_claim(node: str, request: AdmissionRequest) -> None:
    """Of a PersistentVolumeClaim, what resizing it has come to."""
    if request.subresource != "status":
        raise request.forbidden("may only update PVC status")
    if request.operation != "UPDATE":
        raise request.forbidden(f'unexpected operation "{request.operation}"')
    if _but_resizing(request.obj) != _but_resizing(request.old):
        raise request.forbidden(
            f'node "{node}" is not allowed to update fields other than status.quantity and status.conditions'
        )


def _but_resizing(claim: Object | None) -> Object:
    claim = claim or {}
    metadata, status = claim.get("metadata") or {}, claim.get("status") or {}
    return {
        **claim,
        "metadata": {
            field: value
            for field, value in metadata.items()
            if value and field not in ("managedFields", "resourceVersion")
        },
        "status": {field: value for field, value in status.items() if field not in _CLAIM_STATUS},
    }


def check_volume(node: str, request: AdmissionRequest) -> None:
    """Of a local volume of its own that is deleted: that its directory is gone."""
    new, old = request.obj or {}, request.old or {}
    if request.operation != "UPDATE" or request.subresource:
        raise request.forbidden("may only release local volumes that are being deleted")
    if labels_of(old).get(LOCAL_NODE_LABEL) != node or not is_deleting(old):
        raise request.forbidden(f'node "{node}" may only release local volumes of its own that are being deleted')
    kept = [each for each in old["metadata"].get("finalizers") or () if each != LOCAL_FINALIZER]
    released = {**old, "metadata": {**old["metadata"], "finalizers": kept}}
    if _without_versions(new) != _without_versions(released):
        raise request.forbidden(f'node "{node}" may change nothing of a local volume but its finalizer')


def _without_versions(obj: Object) -> Object:
    dropped = ("managedFields", "resourceVersion", "generation")
    metadata = {field: value for field, value in obj["metadata"].items() if value and field not in dropped}
    return {**obj, "metadata": metadata}


def check_csi_node(node: str, request: AdmissionRequest) -> None:
    name = request.name
    if request.operation == "CREATE":
        name = get_path(request.obj, "metadata", "name", default="")
    if name != node:
        raise request.forbidden("can only access CSINode with the same name as the requesting node")


def check_slice(node: str, request: AdmissionRequest) -> None:
    verbs = {"CREATE": ("create", request.obj), "DELETE": ("delete", request.old)}
    if request.operation in verbs:
        verb, obj = verbs[request.operation]
        if get_path(obj, "spec", "nodeName") != node:
            raise request.forbidden(f"can only {verb} ResourceSlice with the same NodeName as the requesting node")


def check_certificate_request(node: str, request: AdmissionRequest) -> None:
    spec = get_path(request.obj, "spec", default={})
    if request.operation != "CREATE" or spec.get("signerName") not in _KUBELET_SIGNERS:
        return
    try:
        name = requested_common_name(spec.get("request") or "")
    except ValueError as exc:
        raise request.forbidden(f"unable to parse csr: {exc}") from exc
    if name != f"system:node:{node}":
        raise request.forbidden(f"can only create a node CSR with CN=system:node:{node}")

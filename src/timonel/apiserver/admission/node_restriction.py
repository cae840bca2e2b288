"""NodeRestriction: what a kubelet writes concerns only itself and its pods; needs to see the objects, unlike authz.

Source: kubernetes.io/docs/reference/access-authn-authz/admission-controllers/#noderestriction
"""

from __future__ import annotations

from collections.abc import Mapping

from timonel.api.errors import not_found
from timonel.api.objects import Object, annotations_of, labels_of, owner_references, uid_of
from timonel.api.pod_references import first_api_reference
from timonel.api.refs import (
    CERTIFICATE_SIGNING_REQUESTS,
    CSI_NODES,
    LEASES,
    NODES,
    PERSISTENT_VOLUME_CLAIMS,
    PERSISTENT_VOLUMES,
    PODS,
    RESOURCE_SLICES,
    SERVICE_ACCOUNTS,
)
from timonel.apiserver.admission.chain import AdmissionRequest, Plugin
from timonel.apiserver.admission.node_writes import (
    check_certificate_request,
    check_claim,
    check_csi_node,
    check_slice,
    check_volume,
)
from timonel.apiserver.admission.service_account import MIRROR_ANNOTATION
from timonel.apiserver.authn.user import node_name_of
from timonel.apiserver.authz.node import NODE_LEASE_NAMESPACE
from timonel.apiserver.readers import Readers

_KUBELET_LABELS = frozenset({
    "kubernetes.io/hostname", "topology.kubernetes.io/zone", "topology.kubernetes.io/region",
    "failure-domain.beta.kubernetes.io/zone", "failure-domain.beta.kubernetes.io/region",
    "beta.kubernetes.io/instance-type", "node.kubernetes.io/instance-type", "kubernetes.io/os", "kubernetes.io/arch",
    "beta.kubernetes.io/os", "beta.kubernetes.io/arch",
})  # fmt: skip
_KUBELET_LABEL_NAMESPACES = ("kubelet.kubernetes.io", "node.kubernetes.io")
_RESTRICTED = "node-restriction.kubernetes.io"


class NodeRestriction(Plugin):
    name = "NodeRestriction"
    operations = frozenset({"CREATE", "UPDATE", "DELETE"})
    resources = frozenset(
        (ref.group, ref.plural)
        for ref in (
            CERTIFICATE_SIGNING_REQUESTS, CSI_NODES, LEASES, NODES, PERSISTENT_VOLUME_CLAIMS, PERSISTENT_VOLUMES, PODS,
            RESOURCE_SLICES, SERVICE_ACCOUNTS,
        )
    )  # fmt: skip

    def __init__(self, *, readers: Readers) -> None:
        self._pods = readers.reader(PODS)
        self._nodes = readers.reader(NODES)

    async def mutate(self, request: AdmissionRequest) -> None:
        node = node_name_of(request.user)
        if node is None:
            return
        if not node:
            raise request.forbidden(f'could not determine node from user "{request.user.name}"')
        match request.resource.ref.plural, request.subresource:
            case "pods", "":
                self._check_pod(node, request)
            case "pods", "status":
                _check_pod_status(node, request)
            case "pods", "eviction":
                self._check_eviction(node, request)
            case "pods", other:
                raise request.forbidden(
                    f"unexpected pod subresource \"{other}\", only 'status' and 'eviction' are allowed"
                )
            case "nodes", _:
                _check_node(node, request)
            case "serviceaccounts", "token":
                self._check_token(node, request)
            case "leases", _:
                _check_lease(node, request)
            case "persistentvolumeclaims", _:
                check_claim(node, request)
            case "persistentvolumes", _:
                check_volume(node, request)
            case "csinodes", _:
                check_csi_node(node, request)
            case "resourceslices", _:
                check_slice(node, request)
            case "certificatesigningrequests", _:
                check_certificate_request(node, request)

    def _check_pod(self, node: str, request: AdmissionRequest) -> None:
        if request.operation == "DELETE":
            if self._pod(request, request.name)["spec"].get("nodeName") != node:
                raise request.forbidden(f'node "{node}" can only delete pods with spec.nodeName set to itself')
            return
        if request.operation != "CREATE" or request.obj is None:
            raise request.forbidden(
                f'unexpected operation "{request.operation}", node "{node}" can only create and delete mirror pods'
            )
        pod = request.obj
        if MIRROR_ANNOTATION not in annotations_of(pod):
            raise request.forbidden(
                f'pod does not have "{MIRROR_ANNOTATION}" annotation, node "{node}" can only create mirror pods'
            )
        if pod["spec"].get("nodeName") != node:
            raise request.forbidden(f'node "{node}" can only create pods with spec.nodeName set to itself')
        self._check_owner(node, request, pod)
        if words := first_api_reference(pod):
            raise request.forbidden(f'node "{node}" can not create pods that reference {words}')

    def _check_owner(self, node: str, request: AdmissionRequest, pod: Object) -> None:
        owners = owner_references(pod)
        can_only = f'node "{node}" can only create pods with'
        if len(owners) > 1:
            raise request.forbidden(f"{can_only} a single owner reference set to itself")
        owner = owners[0] if owners else {}
        if (owner.get("apiVersion"), owner.get("kind"), owner.get("name")) != ("v1", "Node", node):
            raise request.forbidden(f"{can_only} an owner reference set to itself")
        if not owner.get("controller"):
            raise request.forbidden(f"{can_only} a controller owner reference set to itself")
        if owner.get("blockOwnerDeletion"):
            raise request.forbidden(f'node "{node}" must not set blockOwnerDeletion on an owner reference')
        live = self._nodes.get("", node)
        if live is None:
            raise not_found(NODES, node)
        if owner.get("uid") != uid_of(live):
            raise request.forbidden(f"node {node} UID mismatch: expected {owner.get('uid')} got {uid_of(live)}")

    def _check_eviction(self, node: str, request: AdmissionRequest) -> None:
        if request.operation != "CREATE":
            raise request.forbidden(f"unexpected operation {request.operation}")
        if not request.name:
            raise request.forbidden("could not determine pod from request data")
        if self._pod(request, request.name)["spec"].get("nodeName") != node:
            raise request.forbidden(f"node {node} can only evict pods with spec.nodeName set to itself")

    def _check_token(self, node: str, request: AdmissionRequest) -> None:
        if request.operation != "CREATE":
            return
        spec = (request.obj or {}).get("spec") or {}
        bound = spec.get("boundObjectRef") or {}
        if bound.get("apiVersion") != "v1" or bound.get("kind") != "Pod" or not bound.get("name"):
            raise request.forbidden("node requested token not bound to a pod")
        if not bound.get("uid"):
            raise request.forbidden("node requested token with a pod binding without a uid")
        pod = self._pod(request, bound["name"])
        if bound["uid"] != uid_of(pod):
            raise request.forbidden(
                f"the UID in the bound object reference ({bound['uid']}) does not match the UID in record."
                " The object might have been deleted and then recreated"
            )
        if pod["spec"].get("nodeName") != node:
            raise request.forbidden("node requested token bound to a pod scheduled on a different node")
        audiences = spec.get("audiences") or [""]
        if len(audiences) > 1:
            raise request.forbidden("node may only request 0 or 1 audiences")
        if not _projects_audience(pod, audiences[0]):
            raise request.forbidden(
                f'audience "{audiences[0]}" not found in pod spec volume, {request.user.name} is not authorized'
                " to request tokens for this audience"
            )

    def _pod(self, request: AdmissionRequest, name: str) -> Object:
        pod = self._pods.get(request.namespace, name)
        if pod is None:
            raise not_found(PODS, name)
        return pod


def _projects_audience(pod: Object, audience: str) -> bool:
    for volume in pod["spec"].get("volumes") or ():
        for source in (volume.get("projected") or {}).get("sources") or ():
            token = source.get("serviceAccountToken")
            if token is not None and (token.get("audience") or "") == audience:
                return True
    return False


def _check_pod_status(node: str, request: AdmissionRequest) -> None:
    old, new = request.old, request.obj
    if request.operation != "UPDATE" or old is None or new is None:
        raise request.forbidden(f'unexpected operation "{request.operation}"')
    if old["spec"].get("nodeName") != node:
        raise request.forbidden(f'node "{node}" can only update pod status for pods with spec.nodeName set to itself')
    if labels_of(old) != labels_of(new):
        raise request.forbidden(f'node "{node}" cannot update labels through pod status')
    before, after = old.get("status") or {}, new.get("status") or {}
    if (before.get("resourceClaimStatuses") or []) != (after.get("resourceClaimStatuses") or []):
        raise request.forbidden(f'node "{node}" cannot update resource claim statues')
    if before.get("extendedResourceClaimStatus") != after.get("extendedResourceClaimStatus"):
        raise request.forbidden(f'node "{node}" cannot update extended resource claim status')


def _check_node(node: str, request: AdmissionRequest) -> None:
    if request.name != node:
        raise request.forbidden(f'node "{node}" is not allowed to modify node "{request.name}"')
    new, old = request.obj, request.old
    if new is None or request.operation == "DELETE":
        return
    before = old if old is not None and request.operation == "UPDATE" else {"metadata": {}}
    forbidden_labels = sorted(
        label for label in _changed(labels_of(new), labels_of(before)) if _is_forbidden_label(label)
    )
    if request.operation == "CREATE":
        if (new.get("spec") or {}).get("configSource") is not None:
            raise request.forbidden(f'node "{node}" is not allowed to create pods with a non-nil configSource')
        if forbidden_labels:
            raise request.forbidden(
                f'node "{node}" is not allowed to set the following labels: {", ".join(forbidden_labels)}'
            )
        return
    new_spec, old_spec = new.get("spec") or {}, before.get("spec") or {}
    if new_spec.get("configSource") not in (None, old_spec.get("configSource")):
        raise request.forbidden(f'node "{node}" is not allowed to update configSource to a new non-nil configSource')
    if (new_spec.get("taints") or []) != (old_spec.get("taints") or []):
        raise request.forbidden(f'node "{node}" is not allowed to modify taints')
    if owner_references(new) != owner_references(before):
        raise request.forbidden(f'node "{node}" is not allowed to modify ownerReferences')
    if forbidden_labels:
        raise request.forbidden(f"is not allowed to modify labels: {', '.join(forbidden_labels)}")


def _changed(new: Mapping[str, str], old: Mapping[str, str]) -> set[str]:
    return {key for key in new.keys() | old.keys() if new.get(key) != old.get(key)}


def _is_forbidden_label(label: str) -> bool:
    prefix = label.partition("/")[0] if "/" in label else ""
    if _is_within(prefix, _RESTRICTED):
        return True
    if not (_is_within(prefix, "kubernetes.io") or _is_within(prefix, "k8s.io")):
        return False
    return label not in _KUBELET_LABELS and not any(_is_within(prefix, name) for name in _KUBELET_LABEL_NAMESPACES)


def _is_within(prefix: str, domain: str) -> bool:
    return prefix == domain or prefix.endswith(f".{domain}")


def _check_lease(node: str, request: AdmissionRequest) -> None:
    if request.namespace != NODE_LEASE_NAMESPACE:
        raise request.forbidden(f'can only access leases in the "{NODE_LEASE_NAMESPACE}" system namespace')
    if request.name != node:
        raise request.forbidden("can only access node lease with the same name as the requesting node")

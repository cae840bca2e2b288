"""The Node authoriser: a kubelet may read what its own pods name, and write what is its own.

An index from (resource, namespace, name) to nodes is kept from pod events; a decision is a dictionary access.
What a node may create or change in detail is NodeRestriction's business, which sees the object.
Source: kubernetes.io/docs/reference/access-authn-authz/node
"""

from __future__ import annotations

from collections import Counter, defaultdict

from timonel.api.fields import InvalidFieldSelector, parse_field_selector
from timonel.api.labels import InvalidSelector, parse_label_selector
from timonel.api.objects import Object, ObjectKey, labels_of, uid_of
from timonel.api.pod_references import references
from timonel.api.refs import PERSISTENT_VOLUMES, PODS, VOLUME_ATTACHMENTS
from timonel.api.volumes import LOCAL_NODE_LABEL, claim_key_of, node_secrets
from timonel.apiserver.authn.user import node_name_of
from timonel.apiserver.authz.attributes import Attributes, Decision
from timonel.apiserver.authz.rules import matches
from timonel.apiserver.readers import Readers

NODE_LEASE_NAMESPACE = "kube-node-lease"

_READ = ("get", "list", "watch")
_ALLOWED = Decision(True)
_NO_OPINION = Decision(False)

NODE_RULES: tuple[Object, ...] = tuple(
    {"verbs": sorted(verbs.split()), "apiGroups": groups, "resources": sorted(resources.split())}
    for verbs, groups, resources in (
        ("create", ["authentication.k8s.io"], "tokenreviews"),
        ("create", ["authorization.k8s.io"], "subjectaccessreviews localsubjectaccessreviews"),
        ("get list watch", [""], "services"),
        ("create get list watch", [""], "nodes"),
        ("update patch", [""], "nodes/status"),
        ("update patch", [""], "nodes"),
        ("create update patch", ["", "events.k8s.io"], "events"),
        ("get list watch", [""], "pods"),
        ("create delete", [""], "pods"),
        ("update patch", [""], "pods/status"),
        ("create", [""], "pods/eviction"),
        ("get list watch", [""], "secrets configmaps"),
        ("get", [""], "persistentvolumeclaims persistentvolumes"),
        ("get", [""], "endpoints"),
        ("create get list watch", ["certificates.k8s.io"], "certificatesigningrequests"),
        ("get create update patch delete", ["coordination.k8s.io"], "leases"),
        ("get", ["storage.k8s.io"], "volumeattachments"),
        ("create", [""], "serviceaccounts/token"),
        ("get update patch", [""], "persistentvolumeclaims/status"),
        ("get watch list", ["storage.k8s.io"], "csidrivers"),
        ("get create update patch delete", ["storage.k8s.io"], "csinodes"),
        ("get list watch", ["node.k8s.io"], "runtimeclasses"),
        ("get", ["resource.k8s.io"], "resourceclaims"),
        ("deletecollection", ["resource.k8s.io"], "resourceslices"),
        ("get", [""], "serviceaccounts"),
    )
)
"""Also the rules of ClusterRole system:node, which is there for reading and not bound to anybody."""

_SUBDIVIDED = frozenset({
    ("", "secrets"), ("", "configmaps"), ("", "pods"), ("", "nodes"), ("", "serviceaccounts"),
    ("", "persistentvolumeclaims"), ("", "persistentvolumes"), ("coordination.k8s.io", "leases"),
    ("storage.k8s.io", "volumeattachments"), ("storage.k8s.io", "csinodes"),
    ("resource.k8s.io", "resourceclaims"), ("resource.k8s.io", "resourceslices"),
    ("certificates.k8s.io", "podcertificaterequests"),
})  # fmt: skip


class NodeAuthorizer:
    def __init__(self, *, readers: Readers) -> None:
        # (resource, namespace, name) -> how many references each node has to it.
        self._related: dict[tuple[str, str, str], Counter[str]] = defaultdict(Counter)
        self._volumes = readers.reader(PERSISTENT_VOLUMES)
        self._attachments = readers.reader(VOLUME_ATTACHMENTS)
        # (namespace, name) of a secret -> claims whose volumes name it for their driver.
        self._volume_secrets: dict[tuple[str, str], Counter[ObjectKey]] = defaultdict(Counter)
        self._volumes.subscribe(self._volume_changed)
        readers.reader(PODS).subscribe(self._pod_changed)

    async def authorize(self, a: Attributes) -> Decision:
        return self.decide(a)

    def decide(self, a: Attributes) -> Decision:
        node = node_name_of(a.user)
        if node is None:
            return _NO_OPINION
        if not node:
            return Decision(False, f'unknown node for user "{a.user.name}"')
        if (a.group, a.resource) not in _SUBDIVIDED:
            return _ALLOWED if any(matches(rule, a) for rule in NODE_RULES) else _NO_OPINION
        return self._subdivided(node, a)

    def _subdivided(self, node: str, a: Attributes) -> Decision:
        match a.resource:
            case "secrets" if a.verb == "get" and not a.subresource and self._has_volume_with(node, a):
                return _ALLOWED
            case "secrets" | "configmaps":
                return self._read(node, a)
            case "pods":
                return self._pod(node, a)
            case "nodes":
                return _own_node(node, a)
            case "leases":
                return _own_lease(node, a)
            case "csinodes":
                return _own_csi_node(node, a)
            case "serviceaccounts":
                return self._account(node, a)
            case "persistentvolumeclaims" if a.subresource == "status":
                if a.verb not in ("update", "patch"):
                    return Decision(False, "can only get/update/patch this type")
                return self._if_related(node, a)
            case "persistentvolumes":
                return self._volume(node, a)
            case "volumeattachments" if a.verb == "get" and not a.subresource:
                attachment = self._attachments.get("", a.name)
                if attachment is not None and attachment["spec"].get("nodeName") == node:
                    return _ALLOWED
                return self._get(node, a)
            case _:
                # Devices' claims and slices have no edges, for our kubelets use none: refused.
                return self._get(node, a)

    def _read(self, node: str, a: Attributes) -> Decision:
        if a.verb not in _READ:
            return Decision(False, "can only read resources of this type")
        if a.subresource:
            return Decision(False, "cannot read subresource")
        if not a.namespace:
            return Decision(False, "can only read namespaced object of this type")
        return self._if_related(node, a)

    def _get(self, node: str, a: Attributes) -> Decision:
        if a.verb != "get":
            return Decision(False, "can only get individual resources of this type")
        if a.subresource:
            return Decision(False, "cannot get subresource")
        return self._if_related(node, a)

    def _volume(self, node: str, a: Attributes) -> Decision:
        """Those bound to claims of the node's pods, to read; its own local volumes also to list, and to let go."""
        if a.verb in ("list", "watch") and not a.subresource and selects_local_volumes(a.label_selector, node):
            return _ALLOWED
        volume = self._volumes.get("", a.name) if a.name and not a.subresource else None
        if volume is not None:
            if a.verb in ("get", "patch") and labels_of(volume).get(LOCAL_NODE_LABEL) == node:
                return _ALLOWED
            claim = claim_key_of(volume)
            if a.verb == "get" and claim is not None:
                nodes = self._related.get(("persistentvolumeclaims", *claim))
                if nodes and node in nodes:
                    return _ALLOWED
        return self._get(node, a)

    def _has_volume_with(self, node: str, a: Attributes) -> bool:
        """Whether a volume of the node's pods names the secret, for its driver."""
        claims = self._volume_secrets.get((a.namespace, a.name)) or ()
        return any(node in self._related.get(("persistentvolumeclaims", *claim), ()) for claim in claims)

    def _volume_changed(self, old: Object | None, new: Object | None) -> None:
        for volume, sign in ((old, -1), (new, 1)):
            claim = claim_key_of(volume) if volume is not None else None
            if volume is None or claim is None:
                continue
            for secret in node_secrets(volume):
                claims = self._volume_secrets[secret]
                claims[claim] += sign
                if claims[claim] <= 0:
                    del claims[claim]
                if not claims:
                    del self._volume_secrets[secret]

    def _account(self, node: str, a: Attributes) -> Decision:
        if a.verb == "get" and not a.subresource:
            return self._read(node, a)
        if a.verb != "create" or not a.name:
            return Decision(False, "can only create tokens for individual service accounts")
        if a.subresource != "token":
            return Decision(False, "can only create token subresource of serviceaccount")
        return self._if_related(node, a)

    def _pod(self, node: str, a: Attributes) -> Decision:
        match a.subresource, a.verb:
            case "", "get":
                return self._get(node, a)
            case "", "list" | "watch":
                if selects_node(a.field_selector, node):
                    return _ALLOWED
                if a.name:
                    return self._if_related(node, a)
                return Decision(False, "can only list/watch pods with spec.nodeName field selector")
            case ("", "create" | "delete") | ("status", "update" | "patch") | ("eviction", "create"):
                return _ALLOWED
        return _NO_OPINION

    def _if_related(self, node: str, a: Attributes) -> Decision:
        if not a.name:
            return Decision(False, "No Object name found")
        nodes = self._related.get((a.resource, a.namespace, a.name))
        if nodes and node in nodes:
            return _ALLOWED
        return Decision(False, f"no relationship found between node '{node}' and this object")

    def _pod_changed(self, old: Object | None, new: Object | None) -> None:
        if old is not None and new is not None and _same_references(old, new):
            return  # a status report: by far the most frequent change
        if old is not None and (node := old["spec"].get("nodeName")):
            for key in _keys(old):
                nodes = self._related[key]
                nodes[node] -= 1
                if nodes[node] <= 0:
                    del nodes[node]
                if not nodes:
                    del self._related[key]
        if new is not None and (node := new["spec"].get("nodeName")):
            for key in _keys(new):
                self._related[key][node] += 1


def _same_references(old: Object, new: Object) -> bool:
    """What a pod names is fixed once it is bound, but for ephemeral containers."""
    before, after = old["spec"], new["spec"]
    return (
        uid_of(old) == uid_of(new)
        and before.get("nodeName") == after.get("nodeName")
        and before.get("ephemeralContainers") == after.get("ephemeralContainers")
        and bool(before.get("nodeName"))
    )


def _keys(pod: Object) -> list[tuple[str, str, str]]:
    namespace = pod["metadata"].get("namespace") or ""
    keys = {(resource, namespace, name) for resource, name in references(pod)}
    return [*keys, ("pods", namespace, pod["metadata"]["name"])]


def selects_node(field_selector: str, node: str) -> bool:
    """Whether a field selector requires spec.nodeName to be this node."""
    try:
        return parse_field_selector(field_selector).exact_value("spec.nodeName") == node
    except InvalidFieldSelector:
        return False


def selects_local_volumes(label_selector: str, node: str) -> bool:
    """Whether a label selector requires volumes to be directories of this node."""
    try:
        return parse_label_selector(label_selector).exact_value(LOCAL_NODE_LABEL) == node
    except InvalidSelector:
        return False


def _own_node(node: str, a: Attributes) -> Decision:
    match a.subresource, a.verb:
        case ("", "create" | "update" | "patch") | ("status", "update" | "patch"):
            return _ALLOWED
        case "", "get" | "list" | "watch":
            if a.name == node:
                return _ALLOWED
            if not a.name:
                return Decision(False, f"node '{node}' cannot read all nodes, only its own Node object")
            return Decision(False, f"node '{node}' cannot read '{a.name}', only its own Node object")
    return _NO_OPINION


def _own_lease(node: str, a: Attributes) -> Decision:
    if a.verb not in ("get", "create", "update", "patch", "delete"):
        return Decision(False, "can only get, create, update, patch, or delete a node lease")
    if a.namespace != NODE_LEASE_NAMESPACE:
        return Decision(False, f'can only access leases in the "{NODE_LEASE_NAMESPACE}" system namespace')
    if a.verb != "create" and a.name != node:
        return Decision(False, "can only access node lease with the same name as the requesting node")
    return _ALLOWED


def _own_csi_node(node: str, a: Attributes) -> Decision:
    if a.verb not in ("get", "create", "update", "patch", "delete"):
        return Decision(False, "can only get, create, update, patch, or delete a CSINode")
    if a.subresource:
        return Decision(False, "cannot authorize CSINode subresources")
    if a.verb != "create" and a.name != node:
        return Decision(False, "can only access CSINode with the same name as the requesting node")
    return _ALLOWED

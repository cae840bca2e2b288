"""The default RBAC policy as objects, read from a compact notation.

    name [-> aggregated-into …] [<-]        a ClusterRole; "<-": it collects the roles aggregated into it
      verbs | groups | resources [| names]  a rule; "core" is the group "", verbs are separated by commas
      verbs | url | paths                   a rule for plain paths
      events                                short for writing Events

`read` is get, list, watch; `write` is create, update, patch, delete, deletecollection. A trailing backslash continues.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from timonel.api.bootstrap_tokens import NODE_GROUP
from timonel.api.objects import Object, name_of, namespace_of
from timonel.api.refs import CLUSTER_ROLE_BINDINGS, CLUSTER_ROLES, ROLE_BINDINGS, ROLES, ResourceRef
from timonel.apiserver.authz.node import NODE_RULES
from timonel.apiserver.bootstrap import cluster_roles, controller_roles

AUTOUPDATE = "rbac.authorization.kubernetes.io/autoupdate"
"""Annotation: "false" keeps the server from restoring a default role or binding."""
_GROUP = CLUSTER_ROLES.group
_AGGREGATE = f"{_GROUP}/aggregate-to-"
_CONTROLLER = "system:controller:"
_MANAGER, _SCHEDULER, _PROXY = "system:kube-controller-manager", "system:kube-scheduler", "system:kube-proxy"
_CLUSTER_INFO_READER = "kubeadm:bootstrap-signer-clusterinfo"
_REQUESTS = "system:certificates.k8s.io:certificatesigningrequests"
_SHORT = {"read": ("get", "list", "watch"), "write": ("create", "update", "patch", "delete", "deletecollection")}
_EVENTS: Object = {
    "verbs": ["create", "patch", "update"],
    "apiGroups": ["", "events.k8s.io"],
    "resources": ["events"],
}


def default_cluster_roles() -> list[Object]:
    texts = (
        cluster_roles.CLUSTER_ROLES,
        controller_roles.CONTROLLER_ROLES,
        cluster_roles.OWN_ROLES,
    )
    roles = [role for text in texts for role in parse_cluster_roles(text)]
    roles.append(_object(CLUSTER_ROLES, "system:node", rules=list(NODE_RULES)))
    return roles


def default_cluster_role_bindings() -> list[Object]:
    authenticated, unauthenticated = "Group system:authenticated", "Group system:unauthenticated"
    joining = f"Group {NODE_GROUP}"
    bindings = [
        _binding(CLUSTER_ROLE_BINDINGS, name, role or name, subjects)
        for name, role, subjects in (
            ("cluster-admin", "", ["Group system:masters"]),
            ("kubeadm:cluster-admins", "cluster-admin", ["Group kubeadm:cluster-admins"]),
            ("system:monitoring", "", ["Group system:monitoring"]),
            ("system:discovery", "", [authenticated]),
            ("system:basic-user", "", [authenticated]),
            ("system:public-info-viewer", "", [authenticated, unauthenticated]),
            ("system:service-account-issuer-discovery", "", ["Group system:serviceaccounts"]),
            ("system:node-proxier", "", [f"User {_PROXY}"]),
            ("system:kube-controller-manager", "", [f"User {_MANAGER}"]),
            ("system:kube-dns", "", ["ServiceAccount kube-system/kube-dns"]),
            ("system:kube-scheduler", "", [f"User {_SCHEDULER}"]),
            ("system:volume-scheduler", "", [f"User {_SCHEDULER}"]),
            ("system:kubelet-api-admin", "", ["User kube-apiserver-kubelet-client"]),
            ("system:timonel:network", "", [f"User {_PROXY}"]),
            ("system:timonel:ingress", "", ["User system:timonel:ingress"]),
            ("system:timonel:hollow-nodes", "", ["User system:timonel:hollow-nodes"]),
            ("kubeadm:kubelet-bootstrap", "system:node-bootstrapper", [joining]),
            ("kubeadm:get-nodes", "", [joining]),
            ("kubeadm:node-autoapprove-bootstrap", f"{_REQUESTS}:nodeclient", [joining]),
            ("kubeadm:node-autoapprove-certificate-rotation", f"{_REQUESTS}:selfnodeclient", ["Group system:nodes"]),
            ("system:node", "", []),
        )
    ]
    for role in parse_cluster_roles(controller_roles.CONTROLLER_ROLES):
        name = name_of(role)
        bindings.append(_binding(CLUSTER_ROLE_BINDINGS, name, name, [_account(name)]))
    return bindings


def default_roles() -> list[Object]:
    roles = []
    for parsed in parse_cluster_roles(controller_roles.NAMESPACED_ROLES):
        namespace, _, name = name_of(parsed).partition("/")
        roles.append(_object(ROLES, name, namespace, rules=parsed["rules"]))
    return roles


def default_role_bindings() -> list[Object]:
    def binding(name: str, role: str, subjects: Sequence[str], namespace: str = "kube-system") -> Object:
        return _binding(ROLE_BINDINGS, name, role, subjects, namespace=namespace)

    manager, scheduler = f"User {_MANAGER}", f"User {_SCHEDULER}"
    leader = "system::leader-locking-"
    return [
        binding(
            "system::extension-apiserver-authentication-reader",
            "extension-apiserver-authentication-reader",
            [manager, scheduler],
        ),
        *(
            binding(f"{leader}{who}", f"{leader}{who}", [user, f"ServiceAccount kube-system/{who}"])
            for who, user in (("kube-controller-manager", manager), ("kube-scheduler", scheduler))
        ),
        # A new node reads where the cluster is before it is anybody.
        binding(_CLUSTER_INFO_READER, _CLUSTER_INFO_READER, ["User system:anonymous"], "kube-public"),
        *(
            binding(name_of(role), name_of(role), [_account(name_of(role))], namespace_of(role))
            for role in default_roles()
            if name_of(role).startswith(_CONTROLLER)
        ),
    ]


def _account(role: str) -> str:
    """The subject of a controller's role: its service account."""
    return f"ServiceAccount kube-system/{role.removeprefix(_CONTROLLER)}"


def parse_cluster_roles(text: str) -> Iterator[Object]:
    """Raises ValueError, with the line, for what the notation does not allow."""
    role: Object | None = None
    for line in text.replace("\\\n", "").splitlines():
        if not line.strip():
            continue
        if not line.startswith(" "):
            if role is not None:
                yield role
            role = _parse_head(line)
        elif role is None:
            raise ValueError(f"a rule before any role: {line!r}")
        else:
            role["rules"].append(_parse_rule(line))
    if role is not None:
        yield role


def _parse_head(line: str) -> Object:
    collects = line.endswith("<-")
    name, _, into = line.removesuffix("<-").partition("->")
    role = _object(CLUSTER_ROLES, name.strip(), rules=[])
    for target in into.split():
        role["metadata"]["labels"][f"{_AGGREGATE}{target}"] = "true"
    if collects:
        labels = {f"{_AGGREGATE}{name.strip()}": "true"}
        role["aggregationRule"] = {"clusterRoleSelectors": [{"matchLabels": labels}]}
    return role


def _parse_rule(line: str) -> Object:
    if line.strip() == "events":
        return _EVENTS
    parts = [part.split() for part in line.split("|")]
    if len(parts) not in (3, 4) or len(parts[0]) != 1:
        raise ValueError(f"not a rule: {line!r}")
    verbs = sorted(verb for word in parts[0][0].split(",") for verb in _SHORT.get(word, (word,)))
    if parts[1] == ["url"]:
        return {"verbs": verbs, "nonResourceURLs": parts[2]}
    groups = ["" if group == "core" else group for group in parts[1]]
    rule: Object = {"verbs": verbs, "apiGroups": groups, "resources": parts[2]}
    if len(parts) == 4:
        rule["resourceNames"] = parts[3]
    return rule


def _binding(ref: ResourceRef, name: str, role: str, subjects: Sequence[str], namespace: str = "") -> Object:
    role_kind = "Role" if namespace else "ClusterRole"
    return _object(
        ref,
        name,
        namespace,
        roleRef={"apiGroup": _GROUP, "kind": role_kind, "name": role},
        **({"subjects": list(_subjects(subjects))} if subjects else {}),
    )


def _subjects(texts: Iterable[str]) -> Iterator[Object]:
    for text in texts:
        kind, _, name = text.partition(" ")
        if kind == "ServiceAccount":
            namespace, _, name = name.partition("/")
            yield {"kind": kind, "name": name, "namespace": namespace}
        else:
            yield {"kind": kind, "apiGroup": _GROUP, "name": name}


def _object(ref: ResourceRef, name: str, namespace: str = "", **fields: object) -> Object:
    metadata: Object = {
        "name": name,
        "labels": {"kubernetes.io/bootstrapping": "rbac-defaults"},
        "annotations": {AUTOUPDATE: "true"},
    }
    if namespace:
        metadata["namespace"] = namespace
    return {"kind": ref.kind, "apiVersion": ref.api_version, "metadata": metadata, **fields}

"""Flags of kube-controller-manager that are no setting here, and what does the same.

Source: kubernetes.io/docs/reference/command-line-tools-reference/kube-controller-manager
"""

from __future__ import annotations

from collections.abc import Mapping

_EVENTS = "controllers are woken by what changes, and look at nothing again by the clock"
_UP = "`timonel up` sees to it"
ELSEWHERE: Mapping[str, str] = {
    "node-monitor-grace-period": "set node.monitorGraceSeconds in the configuration file",
    "node-monitor-period": f"{_EVENTS}; what counts is node.monitorGraceSeconds in the configuration file",
    "namespace-sync-period": _EVENTS,
    "resource-quota-sync-period": _EVENTS,
    "pvclaimbinder-sync-period": _EVENTS,
    "min-resync-period": _EVENTS,
    "attach-detach-reconcile-sync-period": _EVENTS,
    "disable-attach-detach-reconcile-sync": _EVENTS,
    "route-reconciliation-period": _EVENTS,
    "controller-start-interval": "controllers start together",
    "cluster-cidr": "set network.pods in the configuration file",
    "service-cluster-ip-range": "set network.services in the configuration file",
    "node-cidr-mask-size": "set node-cidr-mask-size-ipv4 or node-cidr-mask-size-ipv6",
    "cluster-name": "name the cluster with `timonel up --name`",
    "allocate-node-cidrs": "nodes get pod networks unless controllers leaves out node-ipam-controller",
    "cidr-allocator-type": "there is one way: the lowest network that is free",
    "enable-garbage-collector": "leave out garbage-collector-controller by controllers",
    "enable-dynamic-provisioning": "leave out the StorageClasses",
    "enable-hostpath-provisioner": "the StorageClass timonel-local makes volumes in folders of the node",
    "flex-volume-plugin-dir": "FlexVolume is deprecated; use CSI drivers",
    "use-service-account-credentials": "controllers always act as service accounts of their own",
    "kube-api-qps": "the API server's priority levels see to it",
    "kube-api-burst": "the API server's priority levels see to it",
    "kube-api-content-type": "JSON is what is spoken",
    "concurrent-service-syncs": "there is no cloud provider",
    "concurrent-node-status-update-syncs": "there is no cloud provider",
    "cloud-provider": "there is none",
    "cloud-config": "there is no cloud provider",
    "configure-cloud-routes": "there is no cloud provider",
    "external-cloud-volume-plugin": "there is no cloud provider",
    "node-sync-period": _EVENTS,
    "deployment-controller-sync-period": _EVENTS,
    "pod-eviction-timeout": "set node.evictionSeconds in the configuration file",
    "enable-taint-manager": "leave out taint-eviction-controller by controllers",
    "concurrent-validating-admission-policy-status-syncs": "checking is work for one processor",
    "feature-gates": "a feature is built or it is not",
    "root-ca-file": _UP,
    "service-account-private-key-file": _UP,
    "cluster-signing-cert-file": _UP,
    "cluster-signing-key-file": _UP,
    "tls-cert-file": _UP,
    "tls-private-key-file": _UP,
    "client-ca-file": _UP,
    "kubeconfig": f"{_UP}: the settings file names it",
    "master": f"{_UP}: the settings file names it",
    "authentication-kubeconfig": f"{_UP}: the settings file names it",
    "authorization-kubeconfig": f"{_UP}: the settings file names it",
    "leader-elect": "managers always elect a leader",
    "leader-elect-lease-duration": "the Lease is for 15 seconds",
    "leader-elect-renew-deadline": "the leader gives up after 10 seconds",
    "leader-elect-retry-period": "the Lease is renewed every 5 seconds",
    "leader-elect-resource-lock": "it is a Lease",
    "leader-elect-resource-name": "it is timonel-manager",
    "leader-elect-resource-namespace": "it is kube-system",
    "profiling": "use a profiler of Python's, such as py-spy",
    "contention-profiling": "use a profiler of Python's, such as py-spy",
}
"""Flag -> the sentence that tells people what to do."""

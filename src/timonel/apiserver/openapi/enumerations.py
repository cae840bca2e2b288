"""The values that fields of an enumerated type take, which the package's schema leaves out: kubectl explain shows them.

By the fields' names, "Definition.field"; of a list or map, the values of its items. Only told, never enforced from
here: validation has the rules of each kind, and its own messages.
Source: the types and constants of the Go API reference, pkg.go.dev/k8s.io/api.
"""

from __future__ import annotations

_VALUES = {
    "AppArmorProfile.type SeccompProfile.type": "Localhost|RuntimeDefault|Unconfined",
    "AzureDiskVolumeSource.cachingMode": "None|ReadOnly|ReadWrite",
    "AzureDiskVolumeSource.kind": "Dedicated|Managed|Shared",
    "CertificateSigningRequestSpec.usages": (
        "any|cert sign|client auth|code signing|content commitment|crl sign|data encipherment|"
        "decipher only|digital signature|email protection|encipher only|ipsec end system|ipsec tunnel|"
        "ipsec user|key agreement|key encipherment|microsoft sgc|netscape sgc|ocsp signing|s/mime|"
        "server auth|signing|timestamping"
    ),
    "Container.imagePullPolicy EphemeralContainer.imagePullPolicy ImageVolumeSource.pullPolicy": (
        "Always|IfNotPresent|Never"
    ),
    "Container.terminationMessagePolicy EphemeralContainer.terminationMessagePolicy": (
        "FallbackToLogsOnError|File"
    ),
    (
        "ContainerPort.protocol EndpointPort.protocol IngressPortStatus.protocol NetworkPolicyPort.protocol "
        "PortStatus.protocol ServicePort.protocol "
    ): (
        "SCTP|TCP|UDP"
    ),
    "ContainerStatus.stopSignal Lifecycle.stopSignal": (
        "SIGABRT|SIGALRM|SIGBUS|SIGCHLD|SIGCLD|SIGCONT|SIGFPE|SIGHUP|SIGILL|SIGINT|SIGIO|SIGIOT|"
        "SIGKILL|SIGPIPE|SIGPOLL|SIGPROF|SIGPWR|SIGQUIT|SIGRTMAX|SIGRTMAX-1|SIGRTMAX-10|SIGRTMAX-11|"
        "SIGRTMAX-12|SIGRTMAX-13|SIGRTMAX-14|SIGRTMAX-2|SIGRTMAX-3|SIGRTMAX-4|SIGRTMAX-5|SIGRTMAX-6|"
        "SIGRTMAX-7|SIGRTMAX-8|SIGRTMAX-9|SIGRTMIN|SIGRTMIN+1|SIGRTMIN+10|SIGRTMIN+11|SIGRTMIN+12|"
        "SIGRTMIN+13|SIGRTMIN+14|SIGRTMIN+15|SIGRTMIN+2|SIGRTMIN+3|SIGRTMIN+4|SIGRTMIN+5|SIGRTMIN+6|"
        "SIGRTMIN+7|SIGRTMIN+8|SIGRTMIN+9|SIGSEGV|SIGSTKFLT|SIGSTOP|SIGSYS|SIGTERM|SIGTRAP|SIGTSTP|"
        "SIGTTIN|SIGTTOU|SIGURG|SIGUSR1|SIGUSR2|SIGVTALRM|SIGWINCH|SIGXCPU|SIGXFSZ"
    ),
    "CronJobSpec.concurrencyPolicy": "Allow|Forbid|Replace",
    "DaemonSetUpdateStrategy.type StatefulSetUpdateStrategy.type": "OnDelete|RollingUpdate",
    "DeploymentStrategy.type": "Recreate|RollingUpdate",
    "DeviceAllocationConfiguration.source": "FromClaim|FromClass",
    "DeviceSubRequest.allocationMode ExactDeviceRequest.allocationMode": "All|ExactCount",
    "DeviceTaint.effect DeviceToleration.effect": "NoExecute|NoSchedule|None",
    "DeviceToleration.operator": "Equal|Exists",
    "EndpointSlice.addressType": "FQDN|IPv4|IPv6",
    "HTTPGetAction.scheme": "HTTP|HTTPS",
    "HTTPIngressPath.pathType": "Exact|ImplementationSpecific|Prefix",
    "HostPathVolumeSource.type": (
        "|BlockDevice|CharDevice|Directory|DirectoryOrCreate|File|FileOrCreate|Socket"
    ),
    "JobSpec.completionMode": "Indexed|NonIndexed",
    "JobSpec.podReplacementPolicy": "Failed|TerminatingOrFailed",
    "MatchResources.matchPolicy MutatingWebhook.matchPolicy ValidatingWebhook.matchPolicy": "Equivalent|Exact",
    "ModifyVolumeStatus.status": "InProgress|Infeasible|Pending",
    (
        "MutatingAdmissionPolicySpec.failurePolicy MutatingWebhook.failurePolicy "
        "ValidatingAdmissionPolicySpec.failurePolicy ValidatingWebhook.failurePolicy "
    ): (
        "Fail|Ignore"
    ),
    "MutatingAdmissionPolicySpec.reinvocationPolicy MutatingWebhook.reinvocationPolicy": "IfNeeded|Never",
    "MutatingWebhook.sideEffects ValidatingWebhook.sideEffects": "None|NoneOnDryRun|Some|Unknown",
    "Mutation.patchType": "ApplyConfiguration|JSONPatch",
    "NamedRuleWithOperations.operations RuleWithOperations.operations": "*|CONNECT|CREATE|DELETE|UPDATE",
    "NamedRuleWithOperations.scope RuleWithOperations.scope": "*|Cluster|Namespaced",
    "NamespaceStatus.phase": "Active|Terminating",
    "NetworkPolicySpec.policyTypes": "Egress|Ingress",
    "NodeSelectorRequirement.operator": "DoesNotExist|Exists|Gt|In|Lt|NotIn",
    "NodeStatus.phase": "Pending|Running|Terminated",
    (
        "PersistentVolumeClaimSpec.accessModes PersistentVolumeClaimStatus.accessModes "
        "PersistentVolumeSpec.accessModes "
    ): (
        "ReadOnlyMany|ReadWriteMany|ReadWriteOnce|ReadWriteOncePod"
    ),
    "PersistentVolumeClaimSpec.volumeMode PersistentVolumeSpec.volumeMode": "Block|Filesystem",
    "PersistentVolumeClaimStatus.allocatedResourceStatuses": (
        "ControllerResizeInProgress|ControllerResizeInfeasible|NodeResizeInProgress|NodeResizeInfeasible|"
        "NodeResizePending"
    ),
    "PersistentVolumeClaimStatus.phase": "Bound|Lost|Pending",
    "PersistentVolumeSpec.persistentVolumeReclaimPolicy StorageClass.reclaimPolicy": "Delete|Recycle|Retain",
    "PersistentVolumeStatus.phase": "Available|Bound|Failed|Pending|Released",
    "PodDisruptionBudgetSpec.unhealthyPodEvictionPolicy": "AlwaysAllow|IfHealthyBudget",
    "PodFailurePolicyOnExitCodesRequirement.operator": "In|NotIn",
    "PodFailurePolicyRule.action": "Count|FailIndex|FailJob|Ignore",
    "PodSecurityContext.fsGroupChangePolicy": "Always|OnRootMismatch",
    "PodSecurityContext.supplementalGroupsPolicy": "Merge|Strict",
    "PodSpec.dnsPolicy": "ClusterFirst|ClusterFirstWithHostNet|Default|None",
    "PodSpec.preemptionPolicy PriorityClass.preemptionPolicy": "Never|PreemptLowerPriority",
    "PodSpec.restartPolicy": "Always|Never|OnFailure",
    "PodStatus.phase": "Failed|Pending|Running|Succeeded|Unknown",
    "PodStatus.qosClass": "BestEffort|Burstable|Guaranteed",
    "ResourceQuotaSpec.scopes ScopedResourceSelectorRequirement.scopeName": (
        "BestEffort|CrossNamespacePodAffinity|NotBestEffort|NotTerminating|PriorityClass|Terminating|"
        "VolumeAttributesClass"
    ),
    "ScopedResourceSelectorRequirement.operator": "DoesNotExist|Exists|In|NotIn",
    "SecurityContext.procMount": "Default|Unmasked",
    "ServiceSpec.externalTrafficPolicy ServiceSpec.internalTrafficPolicy": "Cluster|Local",
    "ServiceSpec.ipFamilies": "|IPv4|IPv6",
    "ServiceSpec.ipFamilyPolicy": "PreferDualStack|RequireDualStack|SingleStack",
    "ServiceSpec.sessionAffinity": "ClientIP|None",
    "ServiceSpec.type": "ClusterIP|ExternalName|LoadBalancer|NodePort",
    "StatefulSetSpec.podManagementPolicy": "OrderedReady|Parallel",
    "StorageClass.volumeBindingMode": "Immediate|WaitForFirstConsumer",
    "Taint.effect Toleration.effect": "NoExecute|NoSchedule|PreferNoSchedule",
    "Toleration.operator": "Equal|Exists|Gt|Lt",
    "TopologySpreadConstraint.nodeAffinityPolicy TopologySpreadConstraint.nodeTaintsPolicy": "Honor|Ignore",
    "TopologySpreadConstraint.whenUnsatisfiable": "DoNotSchedule|ScheduleAnyway",
    "ValidatingAdmissionPolicyBindingSpec.validationActions": "Audit|Deny|Warn",
    "ValidationRule.reason": (
        "FieldValueDuplicate|FieldValueForbidden|FieldValueInvalid|FieldValueRequired"
    ),
    "VolumeMount.mountPropagation": "Bidirectional|HostToContainer|None",
}  # fmt: skip
"""Fields to values, which "|" divides: the value may have spaces or be empty."""


def enumerations() -> dict[str, list[str]]:
    """Values by "Definition.field". Made anew: needed while a document is, and by nobody after that."""
    return {field: values.split("|") for fields, values in _VALUES.items() for field in fields.split()}

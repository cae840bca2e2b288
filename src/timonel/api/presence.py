"""Which absent and empty values of the built-in kinds mean the same: facts the published schema leaves out.

The documented wire format leaves out an optional field at its zero value ("", 0, false, [], {}), and readers take an
absent field for that zero. So "hostNetwork": false and no hostNetwork are one thing, and the schema module keeps the
second. Some optional fields tell absent from zero (replicas: 0 is not the default of 1): those are listed here, by
field name where every definition agrees, else as "Definition.field". Structures that readers always see, even empty
("resources": {}), are listed too.

Source: the field types in the Go API reference, pkg.go.dev/k8s.io/api: pointers tell absent from zero, values do not.
"""

from __future__ import annotations

_ZERO_COUNTS = frozenset(
    """
    $ref activeDeadlineSeconds adminAccess allocateLoadBalancerNodePorts allocatedDevices
    allowMultipleAllocations allowPrivilegeEscalation allowVolumeExpansion appProtocol attachRequired
    automountServiceAccountToken availableDevices averageUtilization backoffLimit backoffLimitPerIndex
    bindsToNode blockOwnerDeletion bool borrowingLimitPercent cachingMode capacity capacityKey collisionCount
    commonEncodingVersion completionMode completions currentCPUUtilizationPercentage currentHealthy
    currentVolumeAttributesClassName defaultMode deletionGracePeriodSeconds deprecationWarning desiredHealthy
    device deviceClassName disruptionMode disruptionsAllowed distinctAttribute driver enableServiceLinks endPort
    endpointsNamespace errorCode expectedPods expirationSeconds extendedResourceName failedIndexes
    failedJobsHistoryLimit failurePolicy fsGroup fsGroupChangePolicy fsGroupPolicy gmsaCredentialSpec
    gmsaCredentialSpecName gracePeriodSeconds handSize holderIdentity hostProcess hostUsers hostnameOverride
    ignoreStoreReadErrorWithClusterBreakingPotential immutable ingressClassName initiatorName int
    internalTrafficPolicy ipFamilyPolicy ipMode labelSelectorPath leaseDurationSeconds leaseTransitions
    lendablePercent limit loadBalancerClass localhostProfile lun managedBy manualSelector matchAttribute
    matchPolicy matchingPrecedence maxExpirationSeconds maxFailedIndexes maxItems maxLength maxProperties
    maximum minDomains minItems minLength minProperties minReplicas minimum mode mountPropagation multipleOf
    nodeAffinityPolicy nodeAllocatableUpdatePeriodSeconds nodeTaintsPolicy nominalConcurrencyShares optional
    optionalOldSelf orphanDependents parallelism parameterNotFoundAction perDeviceNodeSelection
    persistentVolumeName pkixPublicKey podGroupName podInfoOnMount podReplacementPolicy poolName port
    preemptionPolicy preferredHolder preventPodSchedulingIfMissing privileged procMount progressDeadlineSeconds
    proofOfPossession propagationPolicy queueLengthLimit queues readOnlyRootFilesystem ready reclaimPolicy
    recursiveReadOnly recursiveReadOnlyMounts remainingItemCount reportingComponent requiresRepublish
    resourceClaimName resourceClaimTemplateName resourceSliceCount revisionHistoryLimit runAsGroup runAsNonRoot
    runAsUser runAsUserName runtimeClassName scope seLinuxChangePolicy seLinuxMount secretNamespace selectPolicy
    service serviceAccountTokenInSecrets serviceName serving setHostnameAsFQDN shareID shareProcessNamespace
    stabilizationWindowSeconds start started startingDeadlineSeconds stopSignal storageCapacity strategy string
    succeededCount succeededIndexes successfulJobsHistoryLimit supplementalGroupsPolicy suspend
    targetCPUUtilizationPercentage terminating terminatingReplicas terminationGracePeriodSeconds timeZone token
    tolerationSeconds totalDevices trafficDistribution ttlSecondsAfterFinished unavailableDevices
    unhealthyPodEvictionPolicy userNamespaces validationError volumeAttributesClassName volumeBindingMode
    volumeMode x-kubernetes-list-type x-kubernetes-map-type x-kubernetes-preserve-unknown-fields zone
    """.split()  # noqa: SIM905 — a list of this length is read more easily as text
)
_ZERO_COUNTS_IN = frozenset(
    """
    AzureDiskVolumeSource.fsType AzureDiskVolumeSource.readOnly BasicDevice.allNodes BasicDevice.nodeName
    CSIVolumeSource.fsType CSIVolumeSource.readOnly ClientIPConfig.timeoutSeconds
    ClusterTrustBundleProjection.name ClusterTrustBundleProjection.signerName Container.restartPolicy
    DeploymentSpec.replicas Device.allNodes Device.nodeName DeviceAttribute.version DeviceTaintSelector.pool
    Endpoint.hostname Endpoint.nodeName EndpointAddress.nodeName EndpointPort.name EndpointPort.protocol
    EphemeralContainer.restartPolicy Event.reportingInstance HorizontalPodAutoscalerStatus.observedGeneration
    HostPathVolumeSource.type IngressClassParametersReference.apiGroup IngressClassParametersReference.namespace
    IngressPortStatus.error LocalVolumeSource.fsType MutatingWebhook.reinvocationPolicy
    MutatingWebhook.timeoutSeconds NetworkPolicyPort.protocol NodeRuntimeHandler.name OwnerReference.controller
    PersistentVolumeClaimSpec.storageClassName PodDNSConfigOption.value
    PodFailurePolicyOnExitCodesRequirement.containerName PodFailurePolicyOnPodConditionsPattern.status
    PodGroupSpec.priority PodGroupTemplate.priority PodSpec.priority PoolStatus.nodeName PortStatus.error
    Preconditions.resourceVersion Preconditions.uid PriorityClass.value ReplicaSetSpec.replicas
    ReplicationControllerSpec.replicas ResourceHealth.message RoleRef.apiGroup
    RollingUpdateStatefulSetStrategy.partition ServiceReference.path StatefulSetSpec.replicas
    StatefulSetStatus.availableReplicas TypedLocalObjectReference.apiGroup TypedObjectReference.apiGroup
    TypedObjectReference.namespace ValidatingWebhook.timeoutSeconds Validation.reason ValidationRule.reason
    VolumeNodeResources.count WebhookClientConfig.url
    """.split()  # noqa: SIM905
)
# An empty list there says something: to stop tracking fields; to have no policies, which is refused, not defaulted.
_EMPTY_COUNTS_IN = frozenset({"ObjectMeta.managedFields", "HPAScalingRules.policies"})
_ALWAYS_PRESENT = frozenset({"metadata", "spec", "status", "template"})
_ALWAYS_PRESENT_IN = frozenset(
    """
    APIGroup.preferredVersion AllocationResult.devices Container.resources ContainerStatus.lastState
    ContainerStatus.state CustomResourceDefinitionStatus.acceptedNames DaemonSetSpec.updateStrategy
    DeploymentSpec.strategy Endpoint.conditions EphemeralContainer.resources Event.deprecatedSource
    Event.regarding Event.source IngressServiceBackend.port IngressStatus.loadBalancer
    LimitedPriorityLevelConfiguration.limitResponse NetworkPolicySpec.podSelector
    NodeDaemonEndpoints.kubeletEndpoint NodeStatus.daemonEndpoints NodeStatus.nodeInfo
    PersistentVolumeClaimSpec.resources ResourceClaimSpec.devices SelfSubjectReviewStatus.userInfo
    ServiceStatus.loadBalancer StatefulSetSpec.updateStrategy TokenReviewStatus.user
    """.split()  # noqa: SIM905
)
_MAY_BE_ABSENT = frozenset(
    """
    CustomResourceSubresources.status DaemonSetSpec.selector DeploymentSpec.selector IPAddressSpec.parentRef
    ReplicaSetSpec.selector ReplicationControllerSpec.template ResourcePoolStatusRequest.status
    ScaleIOPersistentVolumeSource.secretRef ScaleIOVolumeSource.secretRef StatefulSetSpec.selector Status.metadata
    """.split()  # noqa: SIM905
)
_SHOWN_IN = frozenset(
    """
    AllocatedDeviceStatus.conditions CSINodeDriver.topologyKeys ClusterRole.rules ContainerImage.names
    ContainerStateRunning.startedAt ContainerStateTerminated.finishedAt ContainerStateTerminated.startedAt
    CustomResourceDefinitionStatus.conditions CustomResourceDefinitionStatus.storedVersions DeviceClaim.requests
    EndpointSlice.endpoints EndpointSlice.ports Event.deprecatedFirstTimestamp Event.deprecatedLastTimestamp
    Event.eventTime Event.firstTimestamp Event.lastTimestamp Event.reportingComponent Event.reportingInstance
    EventSeries.lastObservedTime FlowSchemaSpec.matchingPrecedence HorizontalPodAutoscalerStatus.currentMetrics
    NodeCondition.lastHeartbeatTime NodeRuntimeHandler.name PersistentVolumeClaimCondition.lastProbeTime
    PersistentVolumeClaimCondition.lastTransitionTime PodCondition.lastProbeTime
    PodDisruptionBudgetStatus.currentHealthy PodDisruptionBudgetStatus.desiredHealthy
    PodDisruptionBudgetStatus.disruptionsAllowed PodDisruptionBudgetStatus.expectedPods
    ResourcePolicyRule.namespaces
    PodFailurePolicyOnPodConditionsPattern.status PreferAvoidPodsEntry.evictionTime ProjectedVolumeSource.sources
    Role.rules RoleRef.apiGroup StatefulSetOrdinals.start StatefulSetSpec.serviceName
    StatefulSetStatus.availableReplicas VolumeError.time
    """.split()  # noqa: SIM905
)
"""Optional, and shown all the same: 0, "", and null for lists and times."""
_TRANSITIONS_OF = frozenset(
    """
    APIServiceCondition CertificateSigningRequestCondition CustomResourceDefinitionCondition DaemonSetCondition
    DeploymentCondition FlowSchemaCondition HorizontalPodAutoscalerCondition JobCondition NamespaceCondition
    NodeCondition PodCondition PriorityLevelConfigurationCondition ReplicaSetCondition
    ReplicationControllerCondition StatefulSetCondition
    """.split()  # noqa: SIM905
)
"""Whose times of transition, update and probe are shown as null when they have none."""
_NULL_WHEN_ABSENT = frozenset(
    """
    AzureFilePersistentVolumeSource.secretNamespace LimitedPriorityLevelConfiguration.nominalConcurrencyShares
    TypedLocalObjectReference.apiGroup TypedObjectReference.apiGroup
    """.split()  # noqa: SIM905
)
_LEFT_OUT_THOUGH_REQUIRED = frozenset(
    """
    CapacityRequestPolicyRange.min ContainerRestartRule.action ContainerRestartRuleOnExitCodes.operator
    CounterSet.counters DeviceCounterConsumption.counters HTTPIngressPath.pathType ImageVolumeStatus.imageRef
    MutatingWebhook.sideEffects ParentReference.name ParentReference.resource PodCertificateProjection.keyType
    PodCertificateProjection.signerName ServiceReference.name ServiceReference.namespace TokenReviewSpec.token
    ValidatingAdmissionPolicyBindingSpec.policyName ValidatingAdmissionPolicyBindingSpec.validationActions
    ValidatingWebhook.sideEffects
    """.split()  # noqa: SIM905
)


def zero_counts(definition: str, field: str) -> bool:
    """Whether the optional `field` of a definition (short name, "PodSpec") tells zero or empty from absent."""
    name = f"{definition}.{field}"
    return field in _ZERO_COUNTS or name in _ZERO_COUNTS_IN or name in _EMPTY_COUNTS_IN


def always_present(definition: str, field: str, required: bool) -> bool:
    """Whether the structure `field` shows as {} when nobody set it."""
    name = f"{definition}.{field}"
    if name in _MAY_BE_ABSENT:
        return False
    return required or field in _ALWAYS_PRESENT or name in _ALWAYS_PRESENT_IN


def shown_when_absent(definition: str, field: str, required: bool) -> bool:
    """Whether `field`, no structure, shows its zero (null for lists, maps and times) when nobody set it."""
    name = f"{definition}.{field}"
    if required:
        return name not in _LEFT_OUT_THOUGH_REQUIRED
    if field in ("lastTransitionTime", "lastUpdateTime", "lastProbeTime") and definition in _TRANSITIONS_OF:
        return True
    return name in _SHOWN_IN or name in _NULL_WHEN_ABSENT


def null_when_absent(definition: str, field: str) -> bool:
    """Whether a text or number is null when absent, not "" or 0."""
    return f"{definition}.{field}" in _NULL_WHEN_ABSENT


_PERSISTENT_VOLUME_OWN = frozenset(
    {
        "accessModes", "capacity", "claimRef", "mountOptions", "nodeAffinity", "persistentVolumeReclaimPolicy",
        "storageClassName", "volumeAttributesClassName", "volumeMode",
    }
)  # fmt: skip


def embedded_in(definition: str, field: str) -> str:
    """The structure that upstream embeds to hold `field`, which type errors then name before it; mostly ""."""
    match definition:
        case "Volume" if field != "name":
            return "VolumeSource"
        case "Probe" if field in ("exec", "httpGet", "tcpSocket", "grpc"):
            return "ProbeHandler"
        case "EphemeralContainer" if field != "targetContainerName":
            return "EphemeralContainerCommon"
        case "PersistentVolumeSpec" if field not in _PERSISTENT_VOLUME_OWN:
            return "PersistentVolumeSource"
        case (
            "ConfigMapEnvSource" | "ConfigMapKeySelector" | "ConfigMapProjection" | "ConfigMapVolumeSource"
            | "SecretEnvSource" | "SecretKeySelector" | "SecretProjection"
        ) if field == "name":  # fmt: skip
            return "LocalObjectReference"
    return ""

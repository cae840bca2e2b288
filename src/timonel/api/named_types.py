"""Names that type errors give to fields which are strings, or lists of strings, on the wire: "v1.RestartPolicy".

The published schema only says "string". Each line is a name and the fields of that type, by field name where every
definition agrees, else as "Definition.field". Read only when a type error is to be worded.

Source: the field types in the Go API reference, pkg.go.dev/k8s.io/api.
"""

from __future__ import annotations

from functools import lru_cache

_TABLE = """
APIServiceConditionType: APIServiceCondition.type
AddressType: addressType
AllocationConfigSource: source
AppArmorProfileType: AppArmorProfile.type
AzureDataDiskCachingMode: cachingMode
Capability: add drop
CauseType: StatusCause.reason
CompletionMode: completionMode
ComponentConditionType: ComponentCondition.type
ConcurrencyPolicy: concurrencyPolicy
ConditionStatus: APIServiceCondition.status CertificateSigningRequestCondition.status ComponentCondition.status
    Condition.status CustomResourceDefinitionCondition.status DaemonSetCondition.status
    DeploymentCondition.status FlowSchemaCondition.status HorizontalPodAutoscalerCondition.status
    JobCondition.status NamespaceCondition.status NodeCondition.status PersistentVolumeClaimCondition.status
    PodCondition.status PodFailurePolicyOnPodConditionsPattern.status PriorityLevelConfigurationCondition.status
    ReplicaSetCondition.status ReplicationControllerCondition.status StatefulSetCondition.status
    StorageVersionCondition.status
ContainerRestartPolicy: Container.restartPolicy EphemeralContainer.restartPolicy
ContainerRestartRuleAction: ContainerRestartRule.action
ContainerRestartRuleOnExitCodesOperator: ContainerRestartRuleOnExitCodes.operator
ConversionStrategyType: CustomResourceConversion.strategy
CoordinatedLeaseStrategy: LeaseCandidateSpec.strategy LeaseSpec.strategy
CustomResourceDefinitionConditionType: CustomResourceDefinitionCondition.type
DNSPolicy: dnsPolicy
DaemonSetConditionType: DaemonSetCondition.type
DaemonSetUpdateStrategyType: DaemonSetUpdateStrategy.type
DeletionPropagation: propagationPolicy
DeploymentConditionType: DeploymentCondition.type
DeploymentStrategyType: DeploymentStrategy.type
DeviceAllocationMode: allocationMode
DeviceTaintEffect: DeviceTaint.effect DeviceToleration.effect
DeviceTolerationOperator: DeviceToleration.operator
DisruptionMode: disruptionMode
FSGroupPolicy: fsGroupPolicy
FailurePolicyType: failurePolicy
FieldSelectorOperator: FieldSelectorRequirement.operator
FieldValueErrorReason: ValidationRule.reason
FinalizerName: NamespaceSpec.finalizers
FlowDistinguisherMethodType: FlowDistinguisherMethod.type
FlowSchemaConditionType: FlowSchemaCondition.type
FullyQualifiedName: distinctAttribute matchAttribute
HPAScalingPolicyType: HPAScalingPolicy.type
HorizontalPodAutoscalerConditionType: HorizontalPodAutoscalerCondition.type
HostPathType: HostPathVolumeSource.type
IPFamily: ipFamilies
IPFamilyPolicy: ipFamilyPolicy
JSONSchemaURL: $schema
JobConditionType: JobCondition.type
KeyUsage: usages
LabelSelectorOperator: LabelSelectorRequirement.operator
LimitResponseType: LimitResponse.type
LimitType: LimitRangeItem.type
LoadBalancerIPMode: ipMode
ManagedFieldsOperationType: operation
MatchPolicyType: matchPolicy
MetricSourceType: MetricSpec.type MetricStatus.type
MetricTargetType: MetricTarget.type
MountPropagationMode: mountPropagation
NamespaceConditionType: NamespaceCondition.type
NamespacePhase: NamespaceStatus.phase
NodeAddressType: NodeAddress.type
NodeConditionType: NodeCondition.type
NodeInclusionPolicy: nodeAffinityPolicy nodeTaintsPolicy
NodePhase: NodeStatus.phase
NodeSelectorOperator: NodeSelectorRequirement.operator
OSName: PodOS.name
OperationType: operations
ParameterNotFoundActionType: parameterNotFoundAction
PatchType: patchType
PathType: pathType
PersistentVolumeAccessMode: accessModes
PersistentVolumeClaimConditionType: PersistentVolumeClaimCondition.type
PersistentVolumeClaimModifyVolumeStatus: ModifyVolumeStatus.status
PersistentVolumeClaimPhase: PersistentVolumeClaimStatus.phase
PersistentVolumeClaimRetentionPolicyType: whenDeleted whenScaled
PersistentVolumeMode: volumeMode
PersistentVolumePhase: PersistentVolumeStatus.phase
PersistentVolumeReclaimPolicy: persistentVolumeReclaimPolicy reclaimPolicy
PodConditionType: PodCondition.type PodFailurePolicyOnPodConditionsPattern.type conditionType
PodFSGroupChangePolicy: fsGroupChangePolicy
PodFailurePolicyAction: PodFailurePolicyRule.action
PodFailurePolicyOnExitCodesOperator: PodFailurePolicyOnExitCodesRequirement.operator
PodManagementPolicyType: podManagementPolicy
PodPhase: PodStatus.phase
PodQOSClass: qosClass
PodReplacementPolicy: podReplacementPolicy
PodResizeStatus: resize
PodSELinuxChangePolicy: seLinuxChangePolicy
PolicyType: policyTypes
PreemptionPolicy: PodSpec.preemptionPolicy PriorityClass.preemptionPolicy
PriorityLevelConfigurationConditionType: PriorityLevelConfigurationCondition.type
PriorityLevelEnablement: PriorityLevelConfigurationSpec.type
ProcMountType: procMount
Protocol: ContainerPort.protocol EndpointPort.protocol IngressPortStatus.protocol NetworkPolicyPort.protocol
    PortStatus.protocol ServicePort.protocol
PullPolicy: imagePullPolicy pullPolicy
QualifiedName: capacityKey
RecursiveReadOnlyMode: recursiveReadOnly
ReinvocationPolicyType: reinvocationPolicy
ReplicaSetConditionType: ReplicaSetCondition.type
ReplicationControllerConditionType: ReplicationControllerCondition.type
RequestConditionType: CertificateSigningRequestCondition.type
ResourceHealthStatus: health
ResourceID: resourceID
ResourceName: ContainerResizePolicy.resourceName ContainerResourceMetricSource.name
    ContainerResourceMetricStatus.name ResourceMetricSource.name ResourceMetricStatus.name ResourceStatus.name
ResourceQuotaScope: scopeName scopes
ResourceResizeRestartPolicy: ContainerResizePolicy.restartPolicy
ResourceScope: CustomResourceDefinitionSpec.scope
RestartPolicy: PodSpec.restartPolicy
ScalingPolicySelect: selectPolicy
ScopeSelectorOperator: ScopedResourceSelectorRequirement.operator
ScopeType: NamedRuleWithOperations.scope RuleWithOperations.scope
SeccompProfileType: SeccompProfile.type
SecretType: Secret.type
ServiceAffinity: sessionAffinity
ServiceExternalTrafficPolicy: externalTrafficPolicy
ServiceInternalTrafficPolicy: internalTrafficPolicy
ServiceType: ServiceSpec.type
SideEffectClass: sideEffects
Signal: stopSignal
StatefulSetConditionType: StatefulSetCondition.type
StatefulSetUpdateStrategyType: StatefulSetUpdateStrategy.type
StatusReason: Status.reason Validation.reason
StorageMedium: medium
StorageVersionConditionType: StorageVersionCondition.type
SupplementalGroupsPolicy: supplementalGroupsPolicy
TaintEffect: Taint.effect Toleration.effect
TerminationMessagePolicy: terminationMessagePolicy
TolerationOperator: Toleration.operator
URIScheme: scheme
UnhealthyPodEvictionPolicyType: unhealthyPodEvictionPolicy
UniqueVolumeName: AttachedVolume.name volumesInUse
UnsatisfiableConstraintAction: whenUnsatisfiable
ValidationAction: validationActions
VolumeBindingMode: volumeBindingMode
VolumeLifecycleMode: volumeLifecycleModes
types.NodeName: PodCertificateRequestSpec.nodeName
types.UID: BoundObjectReference.uid ConfigMapNodeConfigSource.uid DeviceRequestAllocationResult.shareID
    ObjectMeta.uid ObjectReference.uid OwnerReference.uid Preconditions.uid ResourceClaimConsumerReference.uid
    StatusDetails.uid failed nodeUID podUID serviceAccountUID succeeded
"""


def named_type(definition: str, field: str, package: str) -> str:
    """The name of a field's type, "v1.RestartPolicy", of a definition's short name and its package; "" for string."""
    names = _names()
    name = names.get(f"{definition}.{field}") or names.get(field) or ""
    return name if not name or "." in name else f"{package}.{name}"


@lru_cache(maxsize=1)
def _names() -> dict[str, str]:
    found: dict[str, str] = {}
    name = ""
    for word in _TABLE.split():
        if word.endswith(":"):
            name = word[:-1]
        else:
            found[word] = name
    return found

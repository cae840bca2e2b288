"""Names of the built-in resources, for everyone who speaks to the API.

A `ResourceRef` says where a resource is served. The full row with defaults, validation and columns is in
`timonel.api.kinds`, which only the server loads: it is large, and clients do not need it.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ResourceRef:
    group: str
    version: str
    plural: str
    kind: str
    namespaced: bool = True

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def group_resource(self) -> str:
        """Gives "pods", or "deployments.apps": how messages and RBAC name it."""
        return f"{self.plural}.{self.group}" if self.group else self.plural

    def path(self, namespace: str = "", name: str = "", subresource: str = "") -> str:
        """URL path of the collection, of one object, or of its subresource."""
        parts = ["/api", self.version] if not self.group else ["/apis", self.group, self.version]
        if namespace and self.namespaced:
            parts += ["namespaces", namespace]
        parts.append(self.plural)
        if name:
            parts.append(name)
        if subresource:
            parts.append(subresource)
        return "/".join(parts)


def _core(plural: str, kind: str, namespaced: bool = True) -> ResourceRef:
    return ResourceRef("", "v1", plural, kind, namespaced)


BINDINGS = _core("bindings", "Binding")
COMPONENT_STATUSES = _core("componentstatuses", "ComponentStatus", namespaced=False)
CONFIGMAPS = _core("configmaps", "ConfigMap")
ENDPOINTS = _core("endpoints", "Endpoints")
EVENTS = _core("events", "Event")
LIMIT_RANGES = _core("limitranges", "LimitRange")
NAMESPACES = _core("namespaces", "Namespace", namespaced=False)
NODES = _core("nodes", "Node", namespaced=False)
POD_TEMPLATES = _core("podtemplates", "PodTemplate")
PODS = _core("pods", "Pod")
REPLICATION_CONTROLLERS = _core("replicationcontrollers", "ReplicationController")
RESOURCE_QUOTAS = _core("resourcequotas", "ResourceQuota")
SECRETS = _core("secrets", "Secret")
SERVICE_ACCOUNTS = _core("serviceaccounts", "ServiceAccount")
SERVICES = _core("services", "Service")

CONTROLLER_REVISIONS = ResourceRef("apps", "v1", "controllerrevisions", "ControllerRevision")
DAEMON_SETS = ResourceRef("apps", "v1", "daemonsets", "DaemonSet")
DEPLOYMENTS = ResourceRef("apps", "v1", "deployments", "Deployment")
REPLICA_SETS = ResourceRef("apps", "v1", "replicasets", "ReplicaSet")
STATEFUL_SETS = ResourceRef("apps", "v1", "statefulsets", "StatefulSet")

CRON_JOBS = ResourceRef("batch", "v1", "cronjobs", "CronJob")
JOBS = ResourceRef("batch", "v1", "jobs", "Job")

HORIZONTAL_POD_AUTOSCALERS = ResourceRef("autoscaling", "v2", "horizontalpodautoscalers", "HorizontalPodAutoscaler")
HORIZONTAL_POD_AUTOSCALERS_V1 = ResourceRef("autoscaling", "v1", "horizontalpodautoscalers", "HorizontalPodAutoscaler")
POD_DISRUPTION_BUDGETS = ResourceRef("policy", "v1", "poddisruptionbudgets", "PodDisruptionBudget")

ENDPOINT_SLICES = ResourceRef("discovery.k8s.io", "v1", "endpointslices", "EndpointSlice")
EVENTS_V1 = ResourceRef("events.k8s.io", "v1", "events", "Event")
LEASES = ResourceRef("coordination.k8s.io", "v1", "leases", "Lease")
PRIORITY_CLASSES = ResourceRef("scheduling.k8s.io", "v1", "priorityclasses", "PriorityClass", namespaced=False)

CLUSTER_ROLES = ResourceRef("rbac.authorization.k8s.io", "v1", "clusterroles", "ClusterRole", namespaced=False)
CLUSTER_ROLE_BINDINGS = ResourceRef(
    "rbac.authorization.k8s.io", "v1", "clusterrolebindings", "ClusterRoleBinding", namespaced=False
)
ROLES = ResourceRef("rbac.authorization.k8s.io", "v1", "roles", "Role")
ROLE_BINDINGS = ResourceRef("rbac.authorization.k8s.io", "v1", "rolebindings", "RoleBinding")

TOKEN_REVIEWS = ResourceRef("authentication.k8s.io", "v1", "tokenreviews", "TokenReview", namespaced=False)
SELF_SUBJECT_REVIEWS = ResourceRef(
    "authentication.k8s.io", "v1", "selfsubjectreviews", "SelfSubjectReview", namespaced=False
)
SUBJECT_ACCESS_REVIEWS = ResourceRef(
    "authorization.k8s.io", "v1", "subjectaccessreviews", "SubjectAccessReview", namespaced=False
)
SELF_SUBJECT_ACCESS_REVIEWS = ResourceRef(
    "authorization.k8s.io", "v1", "selfsubjectaccessreviews", "SelfSubjectAccessReview", namespaced=False
)
LOCAL_SUBJECT_ACCESS_REVIEWS = ResourceRef(
    "authorization.k8s.io", "v1", "localsubjectaccessreviews", "LocalSubjectAccessReview"
)
SELF_SUBJECT_RULES_REVIEWS = ResourceRef(
    "authorization.k8s.io", "v1", "selfsubjectrulesreviews", "SelfSubjectRulesReview", namespaced=False
)

PERSISTENT_VOLUMES = _core("persistentvolumes", "PersistentVolume", namespaced=False)
PERSISTENT_VOLUME_CLAIMS = _core("persistentvolumeclaims", "PersistentVolumeClaim")


def _cluster(group: str, plural: str, kind: str) -> ResourceRef:
    return ResourceRef(group, "v1", plural, kind, namespaced=False)


_STORAGE = "storage.k8s.io"
STORAGE_CLASSES = _cluster(_STORAGE, "storageclasses", "StorageClass")
VOLUME_ATTACHMENTS = _cluster(_STORAGE, "volumeattachments", "VolumeAttachment")
VOLUME_ATTRIBUTES_CLASSES = _cluster(_STORAGE, "volumeattributesclasses", "VolumeAttributesClass")
CSI_DRIVERS = _cluster(_STORAGE, "csidrivers", "CSIDriver")
CSI_NODES = _cluster(_STORAGE, "csinodes", "CSINode")
CSI_STORAGE_CAPACITIES = ResourceRef(_STORAGE, "v1", "csistoragecapacities", "CSIStorageCapacity")

_NETWORKING = "networking.k8s.io"
NETWORK_POLICIES = ResourceRef(_NETWORKING, "v1", "networkpolicies", "NetworkPolicy")
INGRESSES = ResourceRef(_NETWORKING, "v1", "ingresses", "Ingress")
INGRESS_CLASSES = _cluster(_NETWORKING, "ingressclasses", "IngressClass")
IP_ADDRESSES = _cluster(_NETWORKING, "ipaddresses", "IPAddress")
SERVICE_CIDRS = _cluster(_NETWORKING, "servicecidrs", "ServiceCIDR")

RUNTIME_CLASSES = _cluster("node.k8s.io", "runtimeclasses", "RuntimeClass")
CERTIFICATE_SIGNING_REQUESTS = _cluster(
    "certificates.k8s.io", "certificatesigningrequests", "CertificateSigningRequest"
)

_FLOW_CONTROL = "flowcontrol.apiserver.k8s.io"
FLOW_SCHEMAS = _cluster(_FLOW_CONTROL, "flowschemas", "FlowSchema")
PRIORITY_LEVEL_CONFIGURATIONS = _cluster(_FLOW_CONTROL, "prioritylevelconfigurations", "PriorityLevelConfiguration")

_ADMISSION = "admissionregistration.k8s.io"
VALIDATING_WEBHOOK_CONFIGURATIONS = _cluster(
    _ADMISSION, "validatingwebhookconfigurations", "ValidatingWebhookConfiguration"
)
MUTATING_WEBHOOK_CONFIGURATIONS = _cluster(_ADMISSION, "mutatingwebhookconfigurations", "MutatingWebhookConfiguration")
VALIDATING_ADMISSION_POLICIES = _cluster(_ADMISSION, "validatingadmissionpolicies", "ValidatingAdmissionPolicy")
VALIDATING_ADMISSION_POLICY_BINDINGS = _cluster(
    _ADMISSION, "validatingadmissionpolicybindings", "ValidatingAdmissionPolicyBinding"
)
MUTATING_ADMISSION_POLICIES = _cluster(_ADMISSION, "mutatingadmissionpolicies", "MutatingAdmissionPolicy")
MUTATING_ADMISSION_POLICY_BINDINGS = _cluster(
    _ADMISSION, "mutatingadmissionpolicybindings", "MutatingAdmissionPolicyBinding"
)

API_SERVICES = _cluster("apiregistration.k8s.io", "apiservices", "APIService")
CUSTOM_RESOURCE_DEFINITIONS = _cluster("apiextensions.k8s.io", "customresourcedefinitions", "CustomResourceDefinition")

_DEVICES = "resource.k8s.io"
RESOURCE_CLAIMS = ResourceRef(_DEVICES, "v1", "resourceclaims", "ResourceClaim")
RESOURCE_CLAIM_TEMPLATES = ResourceRef(_DEVICES, "v1", "resourceclaimtemplates", "ResourceClaimTemplate")
DEVICE_CLASSES = _cluster(_DEVICES, "deviceclasses", "DeviceClass")
RESOURCE_SLICES = _cluster(_DEVICES, "resourceslices", "ResourceSlice")

_METRICS = "metrics.k8s.io"
NODE_METRICS = ResourceRef(_METRICS, "v1beta1", "nodes", "NodeMetrics", namespaced=False)
POD_METRICS = ResourceRef(_METRICS, "v1beta1", "pods", "PodMetrics")

"""Objects of many kinds as programs of the official client make them, each with a change that somebody then makes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from kubernetes import client

LABELS = {"app": "web"}


@dataclass(frozen=True)
class Sample:
    api: type
    noun: str
    body: Any
    change: Callable[[Any], None]
    namespaced: bool = True

    def __str__(self) -> str:
        return self.noun


def meta(name: str, **more: Any) -> client.V1ObjectMeta:
    return client.V1ObjectMeta(name=name, labels=LABELS, **more)


def _set(*path: str | int, to: Any) -> Callable[[Any], None]:
    """Assigns an attribute, or an item of a dict or list, deep in a model."""

    def change(obj: Any) -> None:
        for step in path[:-1]:
            obj = getattr(obj, step) if isinstance(step, str) and hasattr(obj, step) else obj[step]
        if isinstance(obj, dict | list):
            obj[path[-1]] = to
        else:
            setattr(obj, path[-1], to)

    return change


_container = client.V1Container(
    name="web",
    image="nginx:1.27",
    ports=[client.V1ContainerPort(container_port=80)],
    resources=client.V1ResourceRequirements(requests={"cpu": "100m", "memory": "64Mi"}),
)
_template = client.V1PodTemplateSpec(
    metadata=client.V1ObjectMeta(labels=LABELS), spec=client.V1PodSpec(containers=[_container])
)
_job_template = client.V1PodTemplateSpec(spec=client.V1PodSpec(containers=[_container], restart_policy="Never"))
_selector = client.V1LabelSelector(match_labels=LABELS)
_claim = client.V1PersistentVolumeClaim(
    metadata=meta("data"),
    spec=client.V1PersistentVolumeClaimSpec(
        access_modes=["ReadWriteOnce"], resources=client.V1VolumeResourceRequirements(requests={"storage": "1Gi"})
    ),
)
_rule = client.V1PolicyRule(api_groups=[""], resources=["pods"], verbs=["get", "list"])

SAMPLES = [
    Sample(client.CoreV1Api, "config_map", client.V1ConfigMap(metadata=meta("a"), data={"k": "v"}),
           _set("data", "k", to="w")),
    Sample(client.CoreV1Api, "secret", client.V1Secret(metadata=meta("a"), string_data={"password": "hush"}),
           _set("data", "password", to="aHVzaC4=")),
    Sample(client.CoreV1Api, "service",
           client.V1Service(metadata=meta("a"), spec=client.V1ServiceSpec(
               selector=LABELS, ports=[client.V1ServicePort(port=80, target_port="http")])),
           _set("spec", "session_affinity", to="ClientIP")),
    Sample(client.CoreV1Api, "service_account", client.V1ServiceAccount(metadata=meta("a")),
           _set("automount_service_account_token", to=False)),
    Sample(client.CoreV1Api, "pod",
           client.V1Pod(metadata=meta("a"), spec=client.V1PodSpec(containers=[_container])),
           _set("spec", "containers", 0, "image", to="nginx:1.28")),
    Sample(client.CoreV1Api, "persistent_volume_claim", _claim, _set("metadata", "labels", "app", to="db")),
    Sample(client.CoreV1Api, "limit_range",
           client.V1LimitRange(metadata=meta("a"), spec=client.V1LimitRangeSpec(
               limits=[client.V1LimitRangeItem(type="Container", default={"cpu": "500m"})])),
           _set("spec", "limits", 0, "default", "cpu", to="1")),
    Sample(client.AppsV1Api, "deployment",
           client.V1Deployment(metadata=meta("a"), spec=client.V1DeploymentSpec(
               replicas=3, selector=_selector, template=_template)),
           _set("spec", "replicas", to=5)),
    Sample(client.AppsV1Api, "stateful_set",
           client.V1StatefulSet(metadata=meta("a"), spec=client.V1StatefulSetSpec(
               service_name="a", selector=_selector, template=_template, volume_claim_templates=[_claim])),
           _set("spec", "replicas", to=2)),
    Sample(client.AppsV1Api, "daemon_set",
           client.V1DaemonSet(metadata=meta("a"), spec=client.V1DaemonSetSpec(selector=_selector, template=_template)),
           _set("spec", "min_ready_seconds", to=5)),
    Sample(client.BatchV1Api, "job",
           client.V1Job(metadata=meta("a"), spec=client.V1JobSpec(template=_job_template, backoff_limit=2)),
           _set("spec", "parallelism", to=2)),
    Sample(client.BatchV1Api, "cron_job",
           client.V1CronJob(metadata=meta("a"), spec=client.V1CronJobSpec(
               schedule="*/5 * * * *",
               job_template=client.V1JobTemplateSpec(spec=client.V1JobSpec(template=_job_template)))),
           _set("spec", "suspend", to=True)),
    Sample(client.AutoscalingV2Api, "horizontal_pod_autoscaler",
           client.V2HorizontalPodAutoscaler(metadata=meta("a"), spec=client.V2HorizontalPodAutoscalerSpec(
               max_replicas=4,
               scale_target_ref=client.V2CrossVersionObjectReference(
                   api_version="apps/v1", kind="Deployment", name="a"))),
           _set("spec", "max_replicas", to=6)),
    Sample(client.NetworkingV1Api, "ingress",
           client.V1Ingress(metadata=meta("a"), spec=client.V1IngressSpec(default_backend=client.V1IngressBackend(
               service=client.V1IngressServiceBackend(name="a", port=client.V1ServiceBackendPort(number=80))))),
           _set("spec", "default_backend", "service", "name", to="b")),
    Sample(client.NetworkingV1Api, "network_policy",
           client.V1NetworkPolicy(metadata=meta("a"), spec=client.V1NetworkPolicySpec(
               pod_selector=_selector, policy_types=["Ingress"])),
           _set("spec", "policy_types", to=["Ingress", "Egress"])),
    Sample(client.PolicyV1Api, "pod_disruption_budget",
           client.V1PodDisruptionBudget(metadata=meta("a"), spec=client.V1PodDisruptionBudgetSpec(
               min_available="50%", selector=_selector)),
           _set("spec", "min_available", to=1)),
    Sample(client.RbacAuthorizationV1Api, "role", client.V1Role(metadata=meta("a"), rules=[_rule]),
           _set("rules", 0, "verbs", to=["get"])),
    Sample(client.RbacAuthorizationV1Api, "role_binding",
           client.V1RoleBinding(
               metadata=meta("a"),
               role_ref=client.V1RoleRef(api_group="rbac.authorization.k8s.io", kind="Role", name="a"),
               subjects=[client.RbacV1Subject(kind="User", name="alice", api_group="rbac.authorization.k8s.io")]),
           _set("subjects", 0, "name", to="bob")),
    Sample(client.CoordinationV1Api, "lease",
           client.V1Lease(metadata=meta("a"), spec=client.V1LeaseSpec(
               holder_identity="me", lease_duration_seconds=15)),
           _set("spec", "holder_identity", to="you")),
    Sample(client.CoreV1Api, "persistent_volume",
           client.V1PersistentVolume(metadata=meta("official-a"), spec=client.V1PersistentVolumeSpec(
               capacity={"storage": "1Gi"}, access_modes=["ReadWriteOnce"],
               host_path=client.V1HostPathVolumeSource(path="/data"))),
           _set("spec", "capacity", "storage", to="2Gi"), namespaced=False),
    Sample(client.StorageV1Api, "storage_class",
           client.V1StorageClass(metadata=meta("official-a"), provisioner="example.com/disk"),
           _set("allow_volume_expansion", to=True), namespaced=False),
    Sample(client.SchedulingV1Api, "priority_class",
           client.V1PriorityClass(metadata=meta("official-a"), value=1000),
           _set("description", to="important"), namespaced=False),
    Sample(client.RbacAuthorizationV1Api, "cluster_role",
           client.V1ClusterRole(metadata=meta("official-a"), rules=[_rule]),
           _set("rules", 0, "resources", to=["nodes"]), namespaced=False),
    Sample(client.CoreV1Api, "node", client.V1Node(metadata=meta("official-a")),
           _set("spec", "unschedulable", to=True), namespaced=False),
]  # fmt: skip

"""Documented defaults of pods and pod templates. All idempotent; about 13 µs for a usual 2 KB pod.

Some defaults are for Pods alone and not for templates, so that a template does not change when the API learns a new
default: requests from limits, host ports, service links.
Source: kubernetes.io/docs/reference/kubernetes-api/workload-resources/pod-v1
"""

from __future__ import annotations

from timonel.api.kinds.images import default_pull_policy
from timonel.api.kinds.pod.disabled_fields import drop_disabled_fields
from timonel.api.kinds.pod.pod_level import default_pod_level_resources
from timonel.api.kinds.pod.volume_defaults import default_field_ref, default_volume
from timonel.api.kinds.resource_lists import canonical_quantity_field, canonical_resource_list
from timonel.api.objects import Object

_PROBES = ("livenessProbe", "readinessProbe", "startupProbe")
_CONTAINER_LISTS = ("initContainers", "containers", "ephemeralContainers")


def default_pod(pod: Object) -> None:
    spec = pod.setdefault("spec", {})
    default_pod_spec(spec)
    if spec["terminationGracePeriodSeconds"] < 0:
        spec["terminationGracePeriodSeconds"] = 1
    host_network = spec.get("hostNetwork")
    for kind in ("initContainers", "containers"):
        for container in spec.get(kind) or ():
            _default_requests(container["resources"])
            if host_network:
                for port in container.get("ports") or ():
                    if not port.get("hostPort") and port.get("containerPort"):
                        port["hostPort"] = port["containerPort"]
    default_pod_level_resources(spec)
    spec.setdefault("enableServiceLinks", True)
    default_pod_status(pod)


def default_pod_status(pod: Object) -> None:
    """`podIP` and `podIPs` say the same: the old field wins where they differ."""
    status = pod.setdefault("status", {})
    first, addresses = status.get("podIP"), status.get("podIPs")
    if first and (not addresses or addresses[0].get("ip") != first):
        status["podIPs"] = [{"ip": first}]
    elif addresses and not first:
        status["podIP"] = addresses[0].get("ip", "")


def default_pod_template(template: Object) -> None:
    default_pod_spec(template.setdefault("spec", {}))


def default_pod_spec(spec: Object) -> None:
    drop_disabled_fields(spec)
    for kind in _CONTAINER_LISTS:
        for container in spec.get(kind) or ():
            default_container(container)
    for volume in spec.get("volumes") or ():
        default_volume(volume)
    for field, value in (("dnsPolicy", "ClusterFirst"), ("restartPolicy", "Always"),
                         ("schedulerName", "default-scheduler")):  # fmt: skip
        if not spec.get(field):
            spec[field] = value
    if spec.get("securityContext") is None:
        spec["securityContext"] = {}
    if spec.get("terminationGracePeriodSeconds") is None:
        spec["terminationGracePeriodSeconds"] = 30
    account = spec.get("serviceAccountName") or spec.get("serviceAccount")
    if account:
        # The old name of the field stays an alias.
        spec["serviceAccountName"] = spec["serviceAccount"] = account
    else:
        spec.pop("serviceAccountName", None)
        spec.pop("serviceAccount", None)
    for field in ("hostNetwork", "hostPID", "hostIPC"):
        if field in spec and not spec[field]:
            del spec[field]
    if spec.get("overhead"):
        canonical_resource_list(spec["overhead"])
    resources = spec.get("resources")
    if resources:
        _default_resource_lists(resources)


def default_container(container: Object) -> None:
    if not container.get("imagePullPolicy"):
        container["imagePullPolicy"] = default_pull_policy(container.get("image") or "")
    if not container.get("terminationMessagePath"):
        container["terminationMessagePath"] = "/dev/termination-log"
    if not container.get("terminationMessagePolicy"):
        container["terminationMessagePolicy"] = "File"
    for port in container.get("ports") or ():
        if not port.get("protocol"):
            port["protocol"] = "TCP"
    for variable in container.get("env") or ():
        source = variable.get("valueFrom")
        if source:
            _default_env_source(source)
    resources = container.setdefault("resources", {})
    if resources:
        _default_resource_lists(resources)
    for kind in _PROBES:
        probe = container.get(kind)
        if probe is not None:
            default_probe(probe)
    for handler in (container.get("lifecycle") or {}).values():
        if isinstance(handler, dict):
            _default_http_get(handler.get("httpGet"))


def default_probe(probe: Object) -> None:
    for field, value in (("timeoutSeconds", 1), ("periodSeconds", 10), ("successThreshold", 1),
                         ("failureThreshold", 3)):  # fmt: skip
        if not probe.get(field):
            probe[field] = value
    _default_http_get(probe.get("httpGet"))
    grpc = probe.get("grpc")
    if grpc is not None:
        grpc.setdefault("service", "")


def _default_http_get(action: Object | None) -> None:
    if action is not None:
        if not action.get("path"):
            action["path"] = "/"
        if not action.get("scheme"):
            action["scheme"] = "HTTP"


def _default_env_source(source: Object) -> None:
    default_field_ref(source.get("fieldRef"))
    if source.get("resourceFieldRef") is not None:
        canonical_quantity_field(source["resourceFieldRef"], "divisor", missing="0")
    if source.get("fileKeyRef") is not None:
        source["fileKeyRef"].setdefault("optional", False)


def _default_resource_lists(resources: Object) -> None:
    for kind in ("limits", "requests"):
        if resources.get(kind):
            canonical_resource_list(resources[kind])


def _default_requests(resources: Object) -> None:
    """What is limited but not requested is requested up to its limit."""
    limits = resources.get("limits")
    if limits:
        requests = resources.get("requests")
        resources["requests"] = {**limits, **requests} if requests else dict(limits)

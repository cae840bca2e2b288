"""/metrics/resource: CPU and memory of the node, its pods and their containers, and nothing else. Pure.

What autoscaling and `kubectl top` live on. Source: kubernetes.io/docs/reference/instrumentation/metrics
"""

from __future__ import annotations

from timonel.kubelet.stats.exposition import Page, labels_text
from timonel.kubelet.stats.sampler import pod_usage
from timonel.kubelet.stats.samples import NodeSample

_OF = "Reported only on non-windows systems"
_FAMILIES = {
    "container_cpu_usage_seconds_total": (
        "counter", "[STABLE] Cumulative cpu time consumed by the container in core-seconds",
    ),
    "container_memory_working_set_bytes": ("gauge", "[STABLE] Current working set of the container in bytes"),
    "container_start_time_seconds": ("gauge", "[STABLE] Start time of the container since unix epoch in seconds"),
    "container_swap_limit_bytes": ("gauge", f"[ALPHA] Current amount of the container swap limit in bytes. {_OF}"),
    "container_swap_usage_bytes": ("gauge", f"[ALPHA] Current amount of the container swap usage in bytes. {_OF}"),
    "node_cpu_usage_seconds_total": ("counter", "[STABLE] Cumulative cpu time consumed by the node in core-seconds"),
    "node_memory_working_set_bytes": ("gauge", "[STABLE] Current working set of the node in bytes"),
    "node_swap_usage_bytes": ("gauge", f"[ALPHA] Current swap usage of the node in bytes. {_OF}"),
    "pod_cpu_usage_seconds_total": ("counter", "[STABLE] Cumulative cpu time consumed by the pod in core-seconds"),
    "pod_memory_working_set_bytes": ("gauge", "[STABLE] Current working set of the pod in bytes"),
    "pod_swap_usage_bytes": ("gauge", f"[ALPHA] Current amount of the pod swap usage in bytes. {_OF}"),
    "resource_scrape_error": (
        "gauge", "[STABLE] 1 if there was an error while getting container metrics, 0 otherwise",
    ),
    "scrape_error": (
        "gauge", "[ALPHA] (Deprecated since 1.29.0) 1 if there was an error while getting container metrics, "
        "0 otherwise",
    ),
}  # fmt: skip


def render_resource_metrics(node: NodeSample) -> str:
    page = Page(_FAMILIES)
    time, usage = node.time, node.usage
    if usage.cpu is not None:
        page.add("node_cpu_usage_seconds_total", "", usage.cpu.total_nanos / 1e9, time)
    if usage.memory is not None:
        page.add("node_memory_working_set_bytes", "", usage.memory.working_set, time)
        page.add("node_swap_usage_bytes", "", node.swap_total - node.swap_free, time)
    for pod in node.pods:
        of_pod = {"namespace": pod.source.namespace, "pod": pod.source.name}
        for container in pod.containers:
            text = labels_text({"container": container.source.name, **of_pod})
            used = container.usage
            if container.source.started_at > 0:
                page.add("container_start_time_seconds", text, container.source.started_at)
            if used.cpu is not None:
                page.add("container_cpu_usage_seconds_total", text, used.cpu.total_nanos / 1e9, container.time)
            if used.memory is not None:
                page.add("container_memory_working_set_bytes", text, used.memory.working_set, container.time)
                page.add("container_swap_usage_bytes", text, used.memory.swap, container.time)
                if used.memory.swap_limit is not None:
                    page.add("container_swap_limit_bytes", text, used.memory.swap_limit, container.time)
        text, whole = labels_text(of_pod), pod_usage(pod)
        if whole.cpu is not None:
            page.add("pod_cpu_usage_seconds_total", text, whole.cpu.total_nanos / 1e9, pod.time)
        if whole.memory is not None:
            page.add("pod_memory_working_set_bytes", text, whole.memory.working_set, pod.time)
            page.add("pod_swap_usage_bytes", text, whole.memory.swap, pod.time)
    for name in ("resource_scrape_error", "scrape_error"):
        page.add(name, "", int(node.failed))
    return page.render()

"""Values of a pod's own fields and resources, for environment variables and downwardAPI volumes. Pure.

Source: kubernetes.io/docs/concepts/workloads/pods/downward-api
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import ROUND_CEILING, Decimal

import orjson

from timonel.api.objects import Object, find_by, get_path
from timonel.api.quantity import parse_quantity

_SUBSCRIPT = re.compile(r"(metadata\.(?:labels|annotations))\['(.*)'\]")


def _go_quoted(text: str) -> str:
    """Go's %q for the common case: JSON's string escapes are the same for all but odd control characters."""
    return orjson.dumps(text).decode()


def format_map(values: Mapping[str, str]) -> str:
    """One `key="value"` per line, sorted: how downwardAPI files show labels and annotations."""
    return "\n".join(f"{key}={_go_quoted(values[key])}" for key in sorted(values))


def metadata_field(pod: Object, path: str) -> str:
    """A `metadata.*` field. Raises ValueError for a path the API does not allow here."""
    metadata = pod["metadata"]
    match = _SUBSCRIPT.fullmatch(path)
    if match:
        return str((metadata.get(match.group(1).removeprefix("metadata.")) or {}).get(match.group(2), ""))
    if path in ("metadata.name", "metadata.namespace", "metadata.uid"):
        return str(metadata.get(path.removeprefix("metadata."), ""))
    if path in ("metadata.labels", "metadata.annotations"):
        return format_map(metadata.get(path.removeprefix("metadata.")) or {})
    raise ValueError(f"unsupported fieldPath: {path}")


def pod_field(pod: Object, path: str, pod_ips: tuple[str, ...], host_ips: tuple[str, ...]) -> str:
    """Any field an environment variable may name."""
    spec = pod["spec"]
    values: dict[str, str] = {
        "spec.nodeName": spec.get("nodeName", ""),
        "spec.serviceAccountName": spec.get("serviceAccountName", ""),
        "status.hostIP": host_ips[0] if host_ips else "",
        "status.hostIPs": ",".join(host_ips),
        "status.podIP": pod_ips[0] if pod_ips else "",
        "status.podIPs": ",".join(pod_ips),
    }
    return values[path] if path in values else metadata_field(pod, path)


def resource_field(pod: Object, selector: Object, default_container: Object | None, allocatable: Object) -> str:
    """`limits.cpu` and the like of a container, in units of the divisor, rounded up.

    A limit that is not set is what the node has to give. Raises ValueError for an unknown container or resource.
    """
    container = default_container
    name = selector.get("containerName")
    if name:
        everything = (pod["spec"].get("containers") or []) + (pod["spec"].get("initContainers") or [])
        container = find_by(everything, "name", name)
    if container is None:
        raise ValueError(f"container {name} not found")
    kind, _, resource = selector["resource"].partition(".")
    if kind not in ("limits", "requests") or not resource:
        raise ValueError(f"unsupported container resource : {selector['resource']}")
    value = get_path(container, "resources", kind, resource)
    if value is None:
        value = allocatable.get(resource, "0") if kind == "limits" else "0"
    divisor = parse_quantity(str(selector.get("divisor") or "1")) or Decimal(1)
    return str(int((parse_quantity(str(value)) / divisor).to_integral_value(ROUND_CEILING)))

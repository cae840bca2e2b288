"""The schema of metrics.k8s.io/v1beta1, which the package of definitions does not have.

Everywhere else that group is served by an extension server; here the API server does, since the figures come from its
own nodes. Source: github.com/kubernetes/metrics, pkg/apis/metrics/v1beta1
"""

from __future__ import annotations

from timonel.api.objects import Object

PACKAGE = "io.k8s.metrics.pkg.apis.metrics.v1beta1"
_META = "#/$defs/io.k8s.apimachinery.pkg.apis.meta.v1"
_QUANTITY = {"$ref": "#/$defs/io.k8s.apimachinery.pkg.api.resource.Quantity"}


def resource_metrics_definitions() -> dict[str, Object]:
    """By full name, in the form of the package: every optional value may be null."""
    found: dict[str, Object] = {
        f"{PACKAGE}.ContainerMetrics": {
            "description": "What one container of a pod uses.",
            "type": ["object", "null"],
            "required": ["name", "usage"],
            "properties": {"name": _text("Name of the container in its pod's spec."), "usage": _usage()},
        }
    }
    containers: Object = {
        "description": "What each container uses, in the same window.",
        "type": ["array", "null"],
        "items": {"$ref": f"#/$defs/{PACKAGE}.ContainerMetrics"},
    }
    for kind, whose, what in (("NodeMetrics", "a node", _usage()), ("PodMetrics", "a pod", containers)):
        field = "usage" if kind == "NodeMetrics" else "containers"
        found[f"{PACKAGE}.{kind}"] = {
            "description": f"What {whose} uses of CPU and memory.",
            "type": ["object", "null"],
            "required": ["timestamp", "window", field],
            "properties": {
                **_type(kind),
                "metadata": {"$ref": f"{_META}.ObjectMeta", "description": "Name and labels, as of the object itself."},
                "timestamp": {"$ref": f"{_META}.Time", "description": "End of the window."},
                "window": _text("How long CPU use was averaged over, up to timestamp. Memory is as at its end."),
                field: what,
            },
            "x-kubernetes-group-version-kind": [_kind(kind)],
        }
        found[f"{PACKAGE}.{kind}List"] = {
            "description": f"A list of {kind}.",
            "type": ["object", "null"],
            "required": ["items"],
            "properties": {
                **_type(f"{kind}List"),
                "metadata": {"$ref": f"{_META}.ListMeta", "description": "Of the list."},
                "items": {
                    "description": "Those there are figures of.",
                    "type": ["array", "null"],
                    "items": {"$ref": f"#/$defs/{PACKAGE}.{kind}"},
                },
            },
            "x-kubernetes-group-version-kind": [_kind(f"{kind}List")],
        }
    return found


def _kind(kind: str) -> Object:
    return {"group": "metrics.k8s.io", "kind": kind, "version": "v1beta1"}


def _type(kind: str) -> Object:
    version = _text("The version of this representation of the object.", "metrics.k8s.io/v1beta1")
    return {"apiVersion": version, "kind": _text("What the object is.", kind)}


def _text(description: str, *only: str) -> Object:
    made: Object = {"description": description, "type": ["string", "null"]}
    return {**made, "enum": list(only)} if only else made


def _usage() -> Object:
    return {
        "description": "By resource: cpu, in cores, and memory, the working set in bytes.",
        "type": ["object", "null"],
        "additionalProperties": _QUANTITY,
    }

"""Fields of pods that belong to features which v1.36 has off by default: what is sent of them is left out, unread.

A served field of a feature that is off behaves like one the server does not know yet, but for validation of its type.
Source: kubernetes.io/docs/reference/command-line-tools-reference/feature-gates; API conventions "Adding unstable
features to stable versions".
"""

from __future__ import annotations

from timonel.api.objects import Object

_PROJECTIONS = ("clusterTrustBundle", "podCertificate")  # ClusterTrustBundleProjection, PodCertificateRequest


def drop_disabled_fields(spec: Object) -> None:
    """Changes a pod's spec, or a template's, in place."""
    spec.pop("schedulingGroup", None)  # GenericWorkload
    for kind in ("containers", "initContainers"):
        for container in spec.get(kind) or ():
            lifecycle = container.get("lifecycle")
            if lifecycle:
                lifecycle.pop("stopSignal", None)  # ContainerStopSignals
    for volume in spec.get("volumes") or ():
        projected = volume.get("projected")
        if projected:
            for source in projected.get("sources") or ():
                for kind in _PROJECTIONS:
                    source.pop(kind, None)

"""PodTopologyLabels: a pod bound to a node gets the labels that say in which zone and region the node is.

Source: kubernetes.io/docs/reference/access-authn-authz/admission-controllers/#podtopologylabels
"""

from __future__ import annotations

from timonel.api.objects import labels_of
from timonel.api.refs import NODES
from timonel.apiserver.admission.chain import AdmissionRequest, Meeting, Plugin
from timonel.apiserver.readers import Readers

COPIED = ("topology.kubernetes.io/zone", "topology.kubernetes.io/region")


class PodTopologyLabels(Plugin):
    name = "PodTopologyLabels"
    operations = frozenset({"CREATE"})
    resources = frozenset({("", "pods")})

    def __init__(self, *, readers: Readers) -> None:
        self._nodes = readers.reader(NODES)

    def cares(self, meeting: Meeting) -> bool:
        return meeting.subresource in ("", "binding")

    async def mutate(self, request: AdmissionRequest) -> None:
        obj = request.obj
        if obj is None:
            return
        if request.subresource == "binding":
            # The labels of the Binding become those of the pod.
            target = obj.get("target") or {}
            node_name = target.get("name") if target.get("kind") == "Node" else ""
        elif not request.subresource:
            node_name = obj["spec"].get("nodeName")
        else:
            return
        node = self._nodes.get("", node_name) if node_name else None
        if node is None:
            return
        found = {key: value for key, value in labels_of(node).items() if key in COPIED}
        if found:
            obj["metadata"]["labels"] = {**labels_of(obj), **found}

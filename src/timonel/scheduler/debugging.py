"""What /debug/scheduling/<namespace>/<pod> of the scheduler's port answers: why a pod is where it is, or nowhere."""

from __future__ import annotations

from collections import Counter

from timonel.api.objects import Object, get_path, key_of, uid_of
from timonel.scheduler.core.diagnosis import Diagnosis, NodeCheck
from timonel.scheduler.core.queue import Waiting

NEAREST = 5
"""Of nodes that do not fit, so many of those that need the least."""


def describe_pod(obj: Object, profile: str, waiting: Waiting | None) -> Object:
    """What is known without asking the filters:

    {"pod": {"namespace": "default", "name": "web-1", "uid": "…"},
     "schedulerName": "default-scheduler",     the profile; "" for a pod that none of them places
     "state": "unschedulable",                 placed, active, backoff, unschedulable, gated, binding, or "unknown"
     "nodeName": "",                           where it is
     "nominatedNodeName": "",                  where others were evicted for it
     "attempts": 3,                            so far, by this process
     "refusedBy": ["NodeResourcesFit"]}        plugins whose refusal it waits on
    """
    namespace, name = key_of(obj)
    node = get_path(obj, "spec", "nodeName", default="")
    return {
        "pod": {"namespace": namespace, "name": name, "uid": uid_of(obj)},
        "schedulerName": profile,
        "state": "placed" if node else waiting.state if waiting else "unknown",
        "nodeName": node,
        "nominatedNodeName": get_path(obj, "status", "nominatedNodeName", default=""),
        "attempts": waiting.attempts if waiting else 0,
        "refusedBy": sorted(waiting.refused_by) if waiting else [],
    }


def describe_diagnosis(diagnosis: Diagnosis) -> Object:
    """What the filters say of it now, beside that:

        {"message": "0/3 nodes are available: …",  as in its events; "" when it fits somewhere
         "feasible": 0, "nodeCount": 3,
         "reasons": {"Insufficient cpu": 2, …},    nodes by their first failing check
         "failures": ["running …"],                plugins that could not answer
         "nodes": [{"name": "n1", "fits": false,
                    "plugin": "NodeResourcesFit",  the first that refuses the node
                    "reasons": ["Insufficient cpu"],
                    "mayPreempt": true,            evicting less important pods could help
                    "changes": [CHANGE, …]}, …],   all that would have to be otherwise there
         "nearest": [{"node": "n3", "text": "node n3 would fit with 300m cpu less requested",
                      "changes": [CHANGE, …]}, …]} the nodes that need the least, at most five

        CHANGE is {"kind": "requestLess", "text": "300m cpu less requested", …} with more fields by its kind:
          requestLess   resource, missing, requested, allocatable, used: cpu in thousandths, else base units
          removeTaint   key, value, effect; to be removed or tolerated
          addLabel      key, operator, values as in a node selector; label, what the node has now, or null
          freePort      protocol, port, address
          maxSkew       topologyKey, maxSkew, needed
          uncordon, podAffinity, podAntiAffinity, otherNode, other

    A pod that is placed has none of this.
    """
    counts = Counter(reason for check in diagnosis.checks for reason in check.reasons)
    return {
        "message": diagnosis.decision.message if diagnosis.decision else "",
        "feasible": diagnosis.feasible,
        "nodeCount": len(diagnosis.checks),
        "reasons": dict(sorted(counts.items())),
        "failures": list(diagnosis.failures),
        "nodes": [_node(check) for check in diagnosis.checks],
        "nearest": [
            {"node": check.node, "text": check.text, "changes": _changes(check)} for check in diagnosis.nearest(NEAREST)
        ],
    }


def _node(check: NodeCheck) -> Object:
    return {
        "name": check.node,
        "fits": check.fits,
        "plugin": check.plugin,
        "reasons": list(check.reasons),
        "mayPreempt": check.may_preempt,
        "changes": _changes(check),
    }


def _changes(check: NodeCheck) -> list[Object]:
    return [{"kind": step.kind, "text": step.text, **step.detail} for step in check.steps]

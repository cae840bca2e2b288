"""What a pod is once it is bound to its node."""

from __future__ import annotations

from timonel.api.objects import Object
from timonel.apiserver.pod_actions import bound

NOW = "2026-01-01T00:00:00Z"


def test_a_binding_takes_the_nomination_away() -> None:
    """It was the scheduler's word to others that room is kept: either it came true, or the pod went elsewhere.

    Source: kubernetes.io/docs/reference/command-line-tools-reference/feature-gates,
    ClearingNominatedNodeNameAfterBinding (on by default since v1.35)
    """
    pod: Object = {
        "metadata": {"name": "p", "namespace": "default", "uid": "1"},
        "spec": {},
        "status": {"phase": "Pending", "nominatedNodeName": "n"},
    }
    made = bound(pod, {"metadata": {"name": "p"}, "target": {"name": "n"}}, "n", NOW)
    assert made["spec"]["nodeName"] == "n"
    assert "nominatedNodeName" not in made["status"]
    assert pod["status"]["nominatedNodeName"] == "n", "what is in the cache is not touched"

"""A spec that was found good before is found good without being checked, and no other is."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from tests.unit.api.samples import web_pod
from timonel.api.field_errors import Path
from timonel.api.kinds.pod import validation, warnings
from timonel.api.kinds.pod.defaults import default_pod
from timonel.api.kinds.pod.known_specs import KnownSpecs, known_specs
from timonel.api.objects import Object

_names = st.sampled_from(["kube-api-access-abcde", "kube-api-access-fghij", "kube-api-access-ABCDE", "<token>", "data"])
_edits = st.lists(
    st.tuples(
        st.sampled_from(["volume", "mount", "env", "container", "claim", "ephemeral", "policy", "seconds", "label"]),
        _names,
    ),
    max_size=4,
)


def _pod(edits: Any) -> Object:
    pod = web_pod()
    spec = pod["spec"]
    for what, name in edits:
        match what:
            case "volume":
                spec["volumes"].append({"name": name, "emptyDir": {}})
            case "mount":
                spec["containers"][0]["volumeMounts"].append({"name": name, "mountPath": "/data"})
            case "env":
                spec["containers"][0].setdefault("env", []).append({"name": "A", "value": name})
            case "container":
                spec["containers"].append({**spec["containers"][0], "name": name})
            case "claim":
                spec.setdefault("resourceClaims", []).append({"name": name, "resourceClaimName": name})
            case "ephemeral":
                claim = {"spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}}
                spec["volumes"].append({"name": name, "ephemeral": {"volumeClaimTemplate": claim}})
            case "policy":
                spec["restartPolicy"] = name
            case "seconds":
                spec["terminationGracePeriodSeconds"] = -1
            case "label":
                spec["nodeSelector"] = {"beta.kubernetes.io/os": name}
    default_pod(pod)
    return pod


@given(st.lists(_edits, min_size=1, max_size=6))
def test_findings_are_those_of_a_check(pods: Any) -> None:
    known_specs.cache_clear()
    for edits in [*pods, *pods]:
        pod = _pod(edits)
        for metadata in (pod["metadata"], None):
            found: list[Any] = []
            expected: list[Any] = []
            validation.check_pod_spec(found, Path("spec"), pod["spec"], metadata)
            validation._check_spec(expected, Path("spec"), pod["spec"], metadata)
            assert found == expected
        annotations = pod["metadata"]["annotations"]
        assert warnings.pod_warnings(Path(), pod["metadata"], pod["spec"]) == warnings._find_warnings(
            Path(), annotations, pod["spec"]
        )


def test_replicas_differ_in_the_volume_of_their_token() -> None:
    known = KnownSpecs()
    keys = [
        known.key(_pod([("volume", name), ("mount", name)])["spec"])
        for name in ("kube-api-access-abcde", "kube-api-access-fghij", "kube-api-access-ABCDE", "data")
    ]
    assert keys[0] == keys[1]
    assert len(set(keys)) == 3


def test_what_depends_on_the_pods_name_is_always_checked() -> None:
    assert KnownSpecs().key(_pod([("ephemeral", "data")])["spec"]) is None
    assert KnownSpecs().key(_pod([("claim", "data")])["spec"]) is None

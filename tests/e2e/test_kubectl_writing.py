"""`kubectl apply`, `create`, `edit`, `patch`, `set`, `label`, `annotate`, `diff`, `expose`, `run`, `delete`."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.cluster import sleeper, wait_until
from tests.e2e.kubectl import Kubectl, row_of

LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"


def config_map(name: str, **data: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data}


def data_of(kubectl: Kubectl, name: str) -> dict[str, str]:
    found: dict[str, str] = kubectl.get("configmap", name).get("data", {})
    return found


def managers_of(found: dict[str, Any]) -> set[tuple[str, str]]:
    return {(entry["manager"], entry["operation"]) for entry in found["metadata"]["managedFields"]}


def with_managed_fields(kubectl: Kubectl, *arguments: str) -> Any:
    # 1.20 always shows them and has no such flag.
    return kubectl.get(*arguments, *(["--show-managed-fields"] if kubectl.minor >= 21 else []))


def test_apply_creates_changes_and_removes(kubectl: Kubectl) -> None:
    assert kubectl.apply(config_map("applied", a="1", b="2")) == "configmap/applied created\n"
    assert kubectl.apply(config_map("applied", a="1", b="2")) == "configmap/applied unchanged\n"
    # What somebody else added stays, what was applied before and is left out now goes.
    kubectl("patch", "configmap", "applied", "-p", '{"data":{"other":"x"}}')
    assert kubectl.apply(config_map("applied", a="3")) == "configmap/applied configured\n"
    assert data_of(kubectl, "applied") == {"a": "3", "other": "x"}
    found = with_managed_fields(kubectl, "configmap", "applied")
    assert json.loads(found["metadata"]["annotations"][LAST_APPLIED])["data"] == {"a": "3"}
    assert managers_of(found) == {("kubectl-client-side-apply", "Update"), ("kubectl-patch", "Update")}
    viewed = kubectl("apply", "view-last-applied", "configmap", "applied", "-o", "json")
    assert json.loads(viewed)["data"] == {"a": "3"}


def test_apply_dry_runs_change_nothing(kubectl: Kubectl) -> None:
    path = kubectl.path("dry.yaml", config_map("dry", a="1"))
    assert kubectl("apply", "-f", path, "--dry-run=client") == "configmap/dry created (dry run)\n"
    assert kubectl("apply", "-f", path, "--dry-run=server") == "configmap/dry created (server dry run)\n"
    assert kubectl("create", "-f", path, "--dry-run=server", "-o", "name") == "configmap/dry\n"
    assert kubectl("get", "configmap", "dry", "--ignore-not-found") == ""


def test_server_side_apply_owns_conflicts_and_gives_up(kubectl: Kubectl) -> None:
    def apply(document: dict[str, Any], manager: str, *more: str) -> str:
        path = kubectl.path("ssa.yaml", document)
        return kubectl("apply", "--server-side", f"--field-manager={manager}", "-f", path, *more)

    assert apply(config_map("owned", a="1", b="1"), "first") == "configmap/owned serverside-applied\n"
    apply(config_map("owned", c="1"), "second")
    assert data_of(kubectl, "owned") == {"a": "1", "b": "1", "c": "1"}
    path = kubectl.path("ssa.yaml", config_map("owned", a="2"))
    refused = kubectl.fails("apply", "--server-side", "--field-manager=second", "-f", path)
    assert 'Apply failed with 1 conflict: conflict with "first": .data.a' in refused
    assert "--force-conflicts" in refused
    apply(config_map("owned", a="2"), "second", "--force-conflicts")
    # `second` no longer says c, so it goes; `first` lost a.
    assert data_of(kubectl, "owned") == {"a": "2", "b": "1"}
    apply(config_map("owned", a="2"), "first")
    assert data_of(kubectl, "owned") == {"a": "2"}
    found = with_managed_fields(kubectl, "configmap", "owned")
    assert managers_of(found) == {("first", "Apply"), ("second", "Apply")}


def test_create_replace_and_delete_from_a_file(kubectl: Kubectl) -> None:
    path = kubectl.path("two.yaml", config_map("one", a="1"), config_map("two", a="1"))
    assert kubectl("create", "-f", path) == "configmap/one created\nconfigmap/two created\n"
    refused = kubectl.fails("create", "-f", path)
    for name in ("one", "two"):
        expected = (
            f'Error from server (AlreadyExists): error when creating "{path}": configmaps "{name}" already exists'
        )
        assert expected in refused
    path = kubectl.path("two.yaml", config_map("one", b="2"), config_map("two", b="2"))
    assert kubectl("replace", "-f", path) == "configmap/one replaced\nconfigmap/two replaced\n"
    assert data_of(kubectl, "two") == {"b": "2"}
    deleted = kubectl("delete", "-f", path)
    assert deleted.startswith('configmap "one" deleted')
    assert f'Error from server (NotFound): error when deleting "{path}": configmaps "one" not found' in kubectl.fails(
        "delete", "-f", path
    )
    assert kubectl("delete", "-f", path, "--ignore-not-found") == ""


def test_create_subcommands(kubectl: Kubectl) -> None:
    """Newer kubectl sends protobuf for these."""
    space = kubectl.namespace
    kubectl("create", "configmap", "made", "--from-literal=a=1", f"--from-file=f={kubectl.path('f.txt', 'text')}")
    assert data_of(kubectl, "made") == {"a": "1", "f": "---\ntext\n"}
    kubectl("create", "secret", "generic", "made", "--from-literal=word=sesame")
    assert kubectl.get("secret", "made")["data"] == {"word": base64.b64encode(b"sesame").decode()}
    kubectl("create", "serviceaccount", "made")
    kubectl("create", "deployment", "made", "--image=busybox:1.36", "--replicas=0", "--", "sleep", "3600")
    container = kubectl.get("deployment", "made")["spec"]["template"]["spec"]["containers"][0]
    assert (container["image"], container["command"]) == ("busybox:1.36", ["sleep", "3600"])
    kubectl("create", "service", "clusterip", "made", "--tcp=80:8080")
    port = kubectl.get("service", "made")["spec"]["ports"][0]
    assert (port["port"], port["targetPort"], port["protocol"]) == (80, 8080, "TCP")
    kubectl("create", "service", "nodeport", "outside", "--tcp=80")
    assert 30000 <= kubectl.get("service", "outside")["spec"]["ports"][0]["nodePort"] <= 32767
    kubectl("create", "role", "made", "--verb=get,list", "--resource=pods,pods/log")
    assert kubectl.get("role", "made")["rules"] == [
        {"apiGroups": [""], "resources": ["pods", "pods/log"], "verbs": ["get", "list"]}
    ]
    kubectl("create", "rolebinding", "made", "--role=made", f"--serviceaccount={space}:made")
    account = f"--as=system:serviceaccount:{space}:made"
    wait_until(
        "the role counts", lambda: kubectl.run("auth", "can-i", "list", "pods", account, check=False).returncode == 0
    )
    kubectl("create", "clusterrole", space, "--verb=get", "--resource=nodes")
    kubectl("create", "clusterrolebinding", space, f"--clusterrole={space}", "--user=somebody")
    kubectl("create", "priorityclass", space, "--value=1000")
    assert kubectl.get("priorityclass", space)["value"] == 1000
    kubectl("create", "namespace", f"{space}-made")
    assert kubectl("delete", "namespace", f"{space}-made") == f'namespace "{space}-made" deleted\n'
    assert kubectl("get", "namespace", f"{space}-made", "--ignore-not-found") == ""
    kubectl("delete", "clusterrole,clusterrolebinding,priorityclass", space)
    kubectl("delete", "deployment,service,role,rolebinding,serviceaccount,secret,configmap", "made")
    kubectl("delete", "service", "outside")


def test_who_makes_what_nothing_acts_on_is_told(kubectl: Kubectl) -> None:
    kind = "ValidatingWebhookConfiguration"
    webhooks = {"apiVersion": "admissionregistration.k8s.io/v1", "kind": kind, "metadata": {"name": "idle"}}
    made = kubectl.run("create", "-f", kubectl.path("webhooks.yaml", webhooks))
    assert made.stdout == "validatingwebhookconfiguration.admissionregistration.k8s.io/idle created\n"
    assert "Warning: not built in this release of Timonel: webhooks are not called" in made.stderr
    kubectl("delete", "validatingwebhookconfiguration", "idle")
    refused = kubectl.fails(
        "create",
        "-f",
        kubectl.path("gateway.yaml", {"apiVersion": "gateway.networking.k8s.io/v1", "kind": "Gateway",
                                      "metadata": {"name": "x"}}),
    )  # fmt: skip
    assert 'no matches for kind "Gateway" in version "gateway.networking.k8s.io/v1"' in refused


def test_tokens(kubectl: Kubectl) -> None:
    kubectl.needs(24, "`create token`")
    token = kubectl("create", "token", "default", "--duration=10m").strip()
    payload = token.split(".")[1]
    claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    assert claims["sub"] == f"system:serviceaccount:{kubectl.namespace}:default"
    assert claims["exp"] - claims["iat"] == 600
    answer = kubectl.run("auth", "can-i", "get", "pods", "--token", token, check=False)
    assert answer.stdout in ("no\n", "yes\n")


def test_edit(kubectl: Kubectl) -> None:
    kubectl.apply(config_map("edited", a="before"))
    edited = kubectl("edit", "configmap", "edited", EDITOR="sed -i s/before/after/", KUBE_EDITOR="")
    assert edited == "configmap/edited edited\n"
    assert data_of(kubectl, "edited") == {"a": "after"}
    unchanged = kubectl.run("edit", "configmap", "edited", EDITOR="true", KUBE_EDITOR="")
    assert "Edit cancelled, no changes made." in unchanged.stdout + unchanged.stderr


def test_edit_of_what_may_not_change_shows_why(kubectl: Kubectl, talker: str, tmp_path: Path) -> None:
    # The first try is refused and opens the editor again with the reason on top, the second changes nothing.
    editor, seen_by_editor = tmp_path / "editor", tmp_path / "seen"
    change = "s/restartPolicy:.*/restartPolicy: Never/"
    editor.write_text(f'#!/bin/sh\ncat "$1" >> {seen_by_editor}\nsed -i "{change}" "$1"\n')
    editor.chmod(0o755)
    refused = kubectl.run("edit", "pod", talker, check=False, EDITOR=str(editor), KUBE_EDITOR="")
    assert refused.returncode == 1
    seen = seen_by_editor.read_text()
    assert 'pods "talker" was not valid' in seen
    assert "spec: Forbidden: pod updates may not change fields other than" in seen


@pytest.mark.parametrize(
    ("kind", "patch"),
    [
        ("strategic", {"spec": {"template": {"spec": {"containers": [{"name": "b", "image": "busybox:1.37"}]}}}}),
        (
            "merge",
            {
                "spec": {
                    "template": {
                        "spec": {
                            "containers": [
                                {"name": "a", "image": "busybox:1.36"},
                                {"name": "b", "image": "busybox:1.37"},
                            ]
                        }
                    }
                }
            },
        ),
        (
            "json",
            [
                {"op": "test", "path": "/spec/template/spec/containers/1/name", "value": "b"},
                {"op": "replace", "path": "/spec/template/spec/containers/1/image", "value": "busybox:1.37"},
            ],
        ),
    ],
)
def test_patch_of_each_type(kubectl: Kubectl, kind: str, patch: Any) -> None:
    name = f"patched-{kind}"
    containers = [{"name": "a", "image": "busybox:1.36"}, {"name": "b", "image": "busybox:1.36"}]
    template = {"metadata": {"labels": {"app": name}}, "spec": {"containers": containers}}
    spec = {"replicas": 0, "selector": {"matchLabels": {"app": name}}, "template": template}
    kubectl.apply({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name}, "spec": spec})
    patched = kubectl("patch", "deployment", name, f"--type={kind}", "-p", json.dumps(patch))
    assert patched == f"deployment.apps/{name} patched\n"
    found = kubectl.get("deployment", name)["spec"]["template"]["spec"]["containers"]
    assert [(item["name"], item["image"]) for item in found] == [("a", "busybox:1.36"), ("b", "busybox:1.37")]
    again = kubectl("patch", "deployment", name, f"--type={kind}", "-p", json.dumps(patch))
    assert again == f"deployment.apps/{name} patched (no change)\n"
    kubectl("delete", "deployment", name)


def test_patches_that_are_refused(kubectl: Kubectl) -> None:
    kubectl.apply(config_map("unpatched", a="1"))
    wrong = json.dumps([{"op": "test", "path": "/data/a", "value": "2"}])
    assert "The request is invalid" in kubectl.fails("patch", "configmap", "unpatched", "--type=json", "-p", wrong)
    missing = kubectl.fails("patch", "configmap", "nobody", "-p", '{"data":{}}')
    assert missing == 'Error from server (NotFound): configmaps "nobody" not found\n'
    invalid = kubectl.fails("patch", "configmap", "unpatched", "--type=merge", "-p", '{"data":{"no such key":"x"}}')
    assert 'The ConfigMap "unpatched" is invalid: data[no such key]: Invalid value: "no such key"' in invalid


def test_labels_and_annotations(kubectl: Kubectl) -> None:
    kubectl.apply(config_map("labelled"), config_map("labelled-too"))
    assert kubectl("label", "configmap", "labelled", "tier=front", "colour=red") == "configmap/labelled labeled\n"
    assert kubectl.fails("label", "configmap", "labelled", "tier=back") == (
        "error: 'tier' already has a value (front), and --overwrite is false\n"
    )
    kubectl("label", "configmap", "labelled", "tier=back", "--overwrite")
    kubectl("label", "configmap", "labelled", "colour-")
    assert kubectl.get("configmap", "labelled")["metadata"]["labels"] == {"tier": "back"}
    assert "a valid label must be an empty string or consist of alphanumeric" in kubectl.fails(
        "label", "configmap", "labelled", "tier=no good"
    )
    assert kubectl("annotate", "configmap", "labelled", "note=some words") == "configmap/labelled annotated\n"
    kubectl("annotate", "configmap", "-l", "tier=back", "note=others", "--overwrite")
    assert kubectl.get("configmap", "labelled")["metadata"]["annotations"]["note"] == "others"
    kubectl("annotate", "configmap", "labelled", "note-")
    assert "note" not in kubectl.get("configmap", "labelled")["metadata"]["annotations"]
    kubectl("delete", "configmap", "-l", "tier=back")
    assert kubectl("get", "configmap", "-o", "name", "--field-selector=metadata.name=labelled") == ""
    kubectl("delete", "configmap", "labelled-too")


def test_diff(kubectl: Kubectl) -> None:
    kubectl.apply(config_map("compared", a="1"))
    same = kubectl.run("diff", "-f", kubectl.path("diff.yaml", config_map("compared", a="1")))
    assert same.stdout == ""
    different = kubectl.run("diff", "-f", kubectl.path("diff.yaml", config_map("compared", a="2")), check=False)
    assert different.returncode == 1
    changes = [line for line in different.stdout.splitlines() if line[:1] in "+-" and line[:3] not in ("+++", "---")]
    assert changes[:2] == ['-  a: "1"', '+  a: "2"']
    assert data_of(kubectl, "compared") == {"a": "1"}


def test_run_and_expose(kubectl: Kubectl) -> None:
    kubectl("run", "lonely", "--image=nginx:1.27", "--port=80", "--labels=app=lonely", "--env=WORD=sesame")
    kubectl("wait", "--for=condition=Ready", "pod/lonely", "--timeout=30s")
    found = kubectl.get("pod", "lonely")
    assert found["spec"]["containers"][0]["env"] == [{"name": "WORD", "value": "sesame"}]
    assert kubectl("exec", "lonely", "--", "sh", "-c", "echo $WORD") == "sesame\n"
    assert kubectl("expose", "pod", "lonely", "--port=81", "--target-port=80") == "service/lonely exposed\n"
    address = kubectl.get("service", "lonely")["spec"]["clusterIP"]
    wait_until("the Service answers", lambda: "nginx" in kubectl.cluster.fetch(2, f"http://{address}:81/"))
    kubectl("delete", "pod,service", "lonely", "--wait=false")


def test_set_image_and_env(kubectl: Kubectl) -> None:
    kubectl("create", "deployment", "set", "--image=busybox:1.36", "--replicas=0")
    assert kubectl("set", "image", "deployment/set", "busybox=busybox:1.37") == "deployment.apps/set image updated\n"
    assert kubectl("set", "env", "deployment/set", "WORD=sesame", "OTHER=x") == "deployment.apps/set env updated\n"
    kubectl("set", "env", "deployment/set", "OTHER-")
    assert "WORD=sesame" in kubectl("set", "env", "deployment/set", "--list")
    kubectl("set", "resources", "deployment/set", "--limits=memory=64Mi", "--requests=cpu=10m")
    container = kubectl.get("deployment", "set")["spec"]["template"]["spec"]["containers"][0]
    assert container["image"] == "busybox:1.37"
    assert container["env"] == [{"name": "WORD", "value": "sesame"}]
    assert container["resources"] == {"limits": {"memory": "64Mi"}, "requests": {"cpu": "10m"}}
    assert 'unable to find container named "nobody"' in kubectl.fails("set", "image", "deployment/set", "nobody=x")
    kubectl("delete", "deployment", "set")


def test_delete_waits_for_the_grace_period_or_is_forced(kubectl: Kubectl) -> None:
    stubborn = sleeper("stubborn", terminationGracePeriodSeconds=600)
    stubborn["spec"]["containers"][0]["command"] = ["sh", "-c", "trap '' TERM; while :; do sleep 1; done"]
    kubectl.apply(stubborn)
    kubectl("wait", "--for=condition=Ready", "pod/stubborn", "--timeout=30s")
    assert kubectl("delete", "pod", "stubborn", "--wait=false") == 'pod "stubborn" deleted\n'
    assert row_of(kubectl("get", "pods"), "stubborn")[2] == "Terminating"
    found = kubectl.get("pod", "stubborn")["metadata"]
    assert found["deletionGracePeriodSeconds"] == 600
    forced = kubectl.run("delete", "pod", "stubborn", "--grace-period=0", "--force")
    assert 'pod "stubborn" force deleted' in forced.stdout
    assert "Immediate deletion does not wait for confirmation" in forced.stderr
    assert kubectl("get", "pod", "stubborn", "--ignore-not-found") == ""


@pytest.mark.parametrize("cascade", ["background", "foreground", "orphan"])
def test_delete_cascades(kubectl: Kubectl, cascade: str) -> None:
    name = f"family-{cascade}"
    label = f"app={name}"
    quits = ("sh", "-c", "trap exit TERM; while :; do sleep 3600 & wait; done")
    kubectl("create", "deployment", name, "--image=busybox:1.36", "--", *quits)
    kubectl("rollout", "status", f"deployment/{name}", "--timeout=30s")
    assert f'deployment.apps "{name}" deleted' in kubectl("delete", "deployment", name, f"--cascade={cascade}")
    if cascade == "foreground":
        # The owner was last to go.
        assert kubectl("get", "replicasets,pods", "-l", label, "-o", "name") == ""
    elif cascade == "background":
        wait_until("nothing left", lambda: kubectl("get", "replicasets,pods", "-l", label, "-o", "name") == "")
    else:
        kept = kubectl.get("replicasets", "-l", label)["items"]
        assert len(kept) == 1
        assert "ownerReferences" not in kept[0]["metadata"]
        pods = kubectl.get("pods", "-l", label)["items"]
        assert [item["metadata"]["ownerReferences"][0]["kind"] for item in pods] == ["ReplicaSet"]
        assert "deletionTimestamp" not in pods[0]["metadata"]
        kubectl("delete", "replicasets", "-l", label)


def test_delete_of_everything_with_a_label_and_of_a_list(kubectl: Kubectl) -> None:
    kubectl.apply(config_map("gone-1"), config_map("gone-2"), config_map("gone-3"))
    kubectl("label", "configmap", "gone-1", "gone-2", "going=yes")
    deleted = kubectl("delete", "configmap", "-l", "going=yes", "-o", "name")
    assert deleted.splitlines() == ["configmap/gone-1", "configmap/gone-2"]
    assert "gone-3" in kubectl("delete", "configmap/gone-3")
    assert kubectl.fails("delete", "configmap", "gone-3") == (
        'Error from server (NotFound): configmaps "gone-3" not found\n'
    )

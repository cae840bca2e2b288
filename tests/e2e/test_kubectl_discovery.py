"""What is there, and may I: `kubectl explain`, `api-resources`, `api-versions`, `auth`, `version` and others."""

from __future__ import annotations

import json
import re

from tests.e2e.cluster import wait_until
from tests.e2e.kubectl import Kubectl, rows


def test_api_resources(kubectl: Kubectl) -> None:
    table: dict[str, list[str]] = {}
    for row in rows(kubectl("api-resources"))[1:]:
        table.setdefault(row[0], row)  # metrics.k8s.io has pods and nodes of its own, further down
    assert table["pods"][1] == "po"
    assert table["deployments"][1:] == ["deploy", "apps/v1", "true", "Deployment"]
    assert table["nodes"][1:] == ["no", "v1", "false", "Node"]
    listable = kubectl("api-resources", "--verbs=list", "--namespaced=true", "-o", "name").split()
    assert "pods" in listable
    assert "deployments.apps" in listable
    assert "nodes" not in listable
    apps = kubectl("api-resources", "--api-group=apps", "-o", "name").split()
    assert {"deployments.apps", "replicasets.apps"} <= set(apps)
    assert all(name.endswith(".apps") for name in apps)


def test_api_versions(kubectl: Kubectl) -> None:
    versions = kubectl("api-versions").split()
    assert versions == sorted(versions)
    assert {"v1", "apps/v1", "rbac.authorization.k8s.io/v1", "coordination.k8s.io/v1"} <= set(versions)


def test_explain(kubectl: Kubectl) -> None:
    image = kubectl("explain", "pods.spec.containers.image")
    assert re.search(r"^KIND: +Pod$", image, re.MULTILINE)
    assert re.search(r"^VERSION: +v1$", image, re.MULTILINE)
    assert re.search(r"^FIELD: +image <string>$", image, re.MULTILINE)
    assert "Container image name." in image
    strategy = kubectl("explain", "deployment.spec.strategy")
    assert re.search(r"rollingUpdate\s+<", strategy)
    everything = kubectl("explain", "service", "--recursive")
    assert re.search(r"^ +targetPort\s+<", everything, re.MULTILINE)
    versioned = kubectl("explain", "deployments", "--api-version=apps/v1")
    assert "apps" in versioned
    assert 'field "nonsense" does not exist' in kubectl.fails("explain", "pods.spec.nonsense")
    unknown = kubectl.fails("explain", "nonsense")
    assert "the server doesn't have a resource type" in unknown or "couldn't find resource" in unknown


def test_auth_can_i(kubectl: Kubectl) -> None:
    assert kubectl("auth", "can-i", "create", "deployments.apps") == "yes\n"
    assert kubectl("auth", "can-i", "get", "/healthz") == "yes\n"
    nobody = kubectl.run("auth", "can-i", "create", "pods", "--as=nobody", check=False)
    assert (nobody.returncode, nobody.stdout) == (1, "no\n")
    quiet = kubectl.run("auth", "can-i", "create", "pods", "--as=nobody", "-q", check=False)
    assert (quiet.returncode, quiet.stdout) == (1, "")
    everything = rows(kubectl("auth", "can-i", "--list"))
    assert everything[0] == ["Resources", "Non-Resource URLs", "Resource Names", "Verbs"]
    assert ["*.*", "[]", "[]", "[*]"] in everything
    little = kubectl("auth", "can-i", "--list", "--as=nobody", "--as-group=system:authenticated")
    assert "selfsubjectaccessreviews.authorization.k8s.io" in little
    assert "*.*" not in little


def test_rights_come_and_go_with_a_role(kubectl: Kubectl) -> None:
    me = f"--as=system:serviceaccount:{kubectl.namespace}:default"
    refused = kubectl.fails("get", "configmaps", me)
    account = f"system:serviceaccount:{kubectl.namespace}:default"
    assert refused == (
        f'Error from server (Forbidden): configmaps is forbidden: User "{account}" cannot list resource "configmaps" '
        f'in API group "" in the namespace "{kubectl.namespace}"\n'
    )
    kubectl("create", "role", "reader", "--verb=list", "--resource=configmaps")
    kubectl("create", "rolebinding", "reader", "--role=reader", f"--serviceaccount={kubectl.namespace}:default")
    wait_until("allowed", lambda: kubectl.run("get", "configmaps", me, check=False).returncode == 0)
    assert "configmaps" in kubectl("auth", "can-i", "--list", me)
    kubectl("delete", "role,rolebinding", "reader")
    wait_until("refused again", lambda: kubectl.run("get", "configmaps", me, check=False).returncode == 1)


def test_who_am_i(kubectl: Kubectl) -> None:
    kubectl.needs(28, "`auth whoami`")
    found = json.loads(kubectl("auth", "whoami", "-o", "json"))["status"]["userInfo"]
    assert found["username"] == "kubernetes-admin"
    assert "system:authenticated" in found["groups"]


def test_cluster_info_and_version(kubectl: Kubectl) -> None:
    plain = re.sub(r"\x1b\[[\d;]*m", "", kubectl("cluster-info"))
    assert re.search(r"^Kubernetes (control plane|master) is running at https://[\d.]+:6443$", plain, re.MULTILINE)
    version = json.loads(kubectl("version", "-o", "json"))["serverVersion"]
    assert (version["major"], version["minor"]) == ("1", "36")
    assert re.fullmatch(r"v1\.36\.\d+\+timonel\.[\d.]+", version["gitVersion"])
    assert kubectl("get", "--raw", "/readyz") == "ok"
    assert json.loads(kubectl("get", "--raw", f"/api/v1/namespaces/{kubectl.namespace}"))["kind"] == "Namespace"

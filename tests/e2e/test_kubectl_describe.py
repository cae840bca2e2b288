"""`kubectl describe`: everything it gathers is there, events included."""

from __future__ import annotations

import re

from tests.e2e.kubectl import Kubectl, rows, sections


def test_pod(kubectl: Kubectl, talker: str) -> None:
    found = kubectl.get("pod", talker)
    text = kubectl("describe", "pod", talker)
    parts = sections(text)
    node = kubectl.cluster.node_name(1)
    assert parts["Name"] == talker
    assert parts["Namespace"] == kubectl.namespace
    assert parts["Node"] == f"{node}/{found['status']['hostIP']}"
    assert parts["Labels"] == "app=talker"
    assert parts["Status"] == "Running"
    assert parts["IP"] == found["status"]["podIP"]
    assert parts["QoS Class"] == "BestEffort"
    assert "Image: busybox:1.36" in parts["Containers"]
    assert re.search(r"Container ID: containerd://[0-9a-f]{64}", parts["Containers"])
    assert re.search(r"State: Running\nStarted: ", parts["Containers"])
    assert "/var/run/secrets/kubernetes.io/serviceaccount from kube-api-access-" in parts["Containers"]
    for condition in ("Initialized", "Ready", "ContainersReady", "PodScheduled", "PodReadyToStartContainers"):
        assert f"{condition} True" in parts["Conditions"]
    assert "TokenExpirationSeconds: 3607" in parts["Volumes"]
    assert "node.kubernetes.io/not-ready:NoExecute op=Exists for 5s" in parts["Tolerations"]
    # Set on a node by its author, the pod never met the scheduler; the kubelet's own events remain.
    events = [re.split(r" {2,}", line.strip()) for line in text.split("Events:")[1].splitlines()[3:]]
    assert [event[1] for event in events if event[1] != "Pulling"] == ["Pulled", "Created", "Started"] * 2
    assert {(event[0], event[3]) for event in events} == {("Normal", "kubelet")}


def test_deployment(kubectl: Kubectl, server: str) -> None:
    text = kubectl("describe", "deployment", server)
    parts = sections(text)
    replica_set = kubectl.get("rs", "-l", "app=server")["items"][0]["metadata"]["name"]
    assert parts["Replicas"] == "2 desired | 2 updated | 2 total | 2 available | 0 unavailable"
    assert parts["StrategyType"] == "RollingUpdate"
    assert parts["RollingUpdateStrategy"] == "25% max unavailable, 25% max surge"
    assert parts["Annotations"].startswith("deployment.kubernetes.io/revision: 1")
    assert parts["Selector"] == "app=server"
    assert "Available True MinimumReplicasAvailable" in parts["Conditions"]
    assert "Progressing True NewReplicaSetAvailable" in parts["Conditions"]
    assert parts["OldReplicaSets"] == "<none>"
    assert parts["NewReplicaSet"] == f"{replica_set} (2/2 replicas created)"
    assert re.search(
        rf"Normal +ScalingReplicaSet +\S+ +deployment-controller +Scaled up replica set {replica_set} from 0 to 2", text
    )


def test_replica_set_and_its_pods(kubectl: Kubectl, server: str) -> None:
    parts = sections(kubectl("describe", "rs", "-l", "app=server"))
    assert parts["Controlled By"] == "Deployment/server"
    assert parts["Replicas"] == "2 current / 2 desired"
    assert parts["Pods Status"] == "2 Running / 0 Waiting / 0 Succeeded / 0 Failed"
    pods = [item["metadata"]["name"] for item in kubectl.get("pods", "-l", "app=server")["items"]]
    assert parts["Events"].count("SuccessfulCreate") == 2
    for name in pods:
        assert f"Created pod: {name}" in parts["Events"]


def test_service(kubectl: Kubectl, server: str) -> None:
    service = kubectl.get("service", server)["spec"]
    pods = kubectl.get("pods", "-l", "app=server")["items"]
    parts = sections(kubectl("describe", "service", server))
    assert parts["Type"] == "ClusterIP"
    assert parts["Selector"] == "app=server"
    assert parts["IP"] == service["clusterIP"]
    assert parts["IP Families"] == "IPv4"
    assert re.fullmatch(r"http\s+8080/TCP", parts["Port"])
    assert parts["TargetPort"] == "http/TCP"
    assert set(parts["Endpoints"].split(",")) == {f"{item['status']['podIP']}:80" for item in pods}
    assert parts["Session Affinity"] == "None"


def test_node(kubectl: Kubectl, talker: str) -> None:
    name = kubectl.cluster.node_name(1)
    node = kubectl.get("node", name)
    text = kubectl("describe", "node", name)
    parts = sections(text)
    assert parts["Roles"] == "<none>"
    assert f"kubernetes.io/hostname={name}" in parts["Labels"]
    assert parts["Taints"] == "<none>"
    assert parts["Unschedulable"] == "false"
    assert f"HolderIdentity: {name}" in parts["Lease"]
    assert "RenewTime: <unset>" not in parts["Lease"]
    assert re.search(r"Ready True .* KubeletReady kubelet is posting ready status", parts["Conditions"])
    for condition in ("MemoryPressure", "DiskPressure", "PIDPressure"):
        assert f"{condition} False" in parts["Conditions"]
    assert f"InternalIP: {node['status']['addresses'][0]['address']}" in parts["Addresses"]
    for resource in ("cpu", "memory", "pods", "ephemeral-storage"):
        assert f"{resource}: {node['status']['capacity'][resource]}" in parts["Capacity"]
    assert f"Kubelet Version: {node['status']['nodeInfo']['kubeletVersion']}" in parts["System Info"]
    assert re.search(rf"^{kubectl.namespace} {talker} 0 \(0%\)", parts["Non-terminated Pods"], re.MULTILINE)
    assert "cpu 0 (0%) 0 (0%)" in parts["Allocated resources"]
    assert re.search(rf"Normal NodeReady \S+ kubelet Node {name} status is now: NodeReady", parts["Events"])


def test_kinds_without_a_describer_of_their_own_and_what_is_not_there(kubectl: Kubectl) -> None:
    described = kubectl("describe", "namespace", kubectl.namespace)
    assert sections(described)["Status"].splitlines()[0] == "Active"
    assert "No resource quota." in described
    assert "No LimitRange resource." in described
    assert sections(kubectl("describe", "lease", "-n", "kube-node-lease"))["Kind"] == "Lease"
    kubectl("create", "secret", "generic", "hidden", "--from-literal=word=sesame")
    described = kubectl("describe", "secret", "hidden")
    assert "word:  6 bytes" in described
    assert "sesame" not in described
    missing = kubectl.fails("describe", "pod", "nobody")
    assert missing == 'Error from server (NotFound): pods "nobody" not found\n'


def test_events_on_their_own(kubectl: Kubectl, talker: str) -> None:
    listed = rows(
        kubectl("get", "events", "--field-selector", f"involvedObject.name={talker}", "--sort-by=.lastTimestamp")
    )
    assert listed[0] == ["LAST SEEN", "TYPE", "REASON", "OBJECT", "MESSAGE"]
    assert ["Normal", "Started", "pod/talker", "Container started"] in [row[1:] for row in listed[1:]]
    kubectl.needs(26, "`kubectl events`")
    events = rows(kubectl("events", "--for", f"pod/{talker}"))
    assert ["Normal", "Started", "Pod/talker", "Container started"] in [row[1:] for row in events[1:]]
    warnings = kubectl.run("events", "--for", f"pod/{talker}", "--types=Warning")
    assert "No events found" in warnings.stdout + warnings.stderr

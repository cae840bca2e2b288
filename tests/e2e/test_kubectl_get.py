"""`kubectl get` in all its forms: the tables are the server's, and look as upstream's do."""

from __future__ import annotations

import json
import re

import yaml

from tests.e2e.cluster import sleeper, wait_until
from tests.e2e.kubectl import AGE, Kubectl, row_of, rows


def with_ages_cut(output: str) -> list[str]:
    """Lines with what follows from time (the last column) cut off."""
    return [re.sub(r"(AGE|(\d+[smhd])+)\s*$", "", line).rstrip() for line in output.splitlines()]


def test_a_pod_is_one_line(kubectl: Kubectl, talker: str) -> None:
    output = kubectl("get", "pod", talker)
    assert with_ages_cut(output) == [
        "NAME     READY   STATUS    RESTARTS",
        "talker   2/2     Running   0",
    ]
    assert AGE.fullmatch(rows(output)[1][4])


def test_wide_adds_where_the_pod_is(kubectl: Kubectl, talker: str) -> None:
    status = kubectl.get("pod", talker)["status"]
    header, row = rows(kubectl("get", "pod", talker, "-o", "wide"))
    assert header == ["NAME", "READY", "STATUS", "RESTARTS", "AGE", "IP", "NODE", "NOMINATED NODE", "READINESS GATES"]
    node = kubectl.cluster.node_name(1)
    assert row[:4] + row[5:] == ["talker", "2/2", "Running", "0", status["podIP"], node, "<none>", "<none>"]


def test_deployments_replica_sets_services_and_nodes(kubectl: Kubectl, server: str) -> None:
    wide = rows(kubectl("get", "deployment", server, "-o", "wide"))
    assert wide[0] == ["NAME", "READY", "UP-TO-DATE", "AVAILABLE", "AGE", "CONTAINERS", "IMAGES", "SELECTOR"]
    assert wide[1][:4] + wide[1][5:] == ["server", "2/2", "2", "2", "nginx", "nginx:1.27", "app=server"]

    replica_sets = rows(kubectl("get", "rs", "-l", "app=server"))
    assert replica_sets[0] == ["NAME", "DESIRED", "CURRENT", "READY", "AGE"]
    assert replica_sets[1][1:4] == ["2", "2", "2"]

    service = kubectl.get("service", server)
    header, row = rows(kubectl("get", "svc", server, "-o", "wide"))
    assert header == ["NAME", "TYPE", "CLUSTER-IP", "EXTERNAL-IP", "PORT(S)", "AGE", "SELECTOR"]
    address = service["spec"]["clusterIP"]
    assert row[:5] + row[6:] == ["server", "ClusterIP", address, "<none>", "8080/TCP", "app=server"]

    name = kubectl.cluster.node_name(2)
    node = kubectl.get("node", name)["status"]
    output = kubectl("get", "nodes", "-o", "wide")
    assert rows(output)[0] == [
        *("NAME", "STATUS", "ROLES", "AGE", "VERSION"),
        *("INTERNAL-IP", "EXTERNAL-IP", "OS-IMAGE", "KERNEL-VERSION", "CONTAINER-RUNTIME"),
    ]
    row = row_of(output, name)
    info = node["nodeInfo"]
    assert row[:3] + row[4:] == [
        *(name, "Ready", "<none>", info["kubeletVersion"], node["addresses"][0]["address"], "<none>"),
        info["osImage"],
        f"{info['kernelVersion']} ({info['architecture']})",
        info["containerRuntimeVersion"],
    ]


def test_several_kinds_are_several_tables_with_prefixed_names(kubectl: Kubectl, server: str) -> None:
    output = kubectl("get", "all", "-l", "app=server")
    headers = [line.split()[0:2] for line in output.splitlines() if line.startswith("NAME")]
    assert headers == [["NAME", "READY"], ["NAME", "READY"], ["NAME", "DESIRED"]]
    names = {line.split("/")[0] for line in output.splitlines() if "/" in line.split(" ")[0]}
    assert names == {"pod", "deployment.apps", "replicaset.apps"}


def test_small_kinds(kubectl: Kubectl) -> None:
    kubectl("create", "configmap", "table", "--from-literal=a=1", "--from-literal=b=2")
    kubectl("create", "secret", "generic", "table", "--from-literal=a=1")
    assert rows(kubectl("get", "cm", "table"))[0] == ["NAME", "DATA", "AGE"]
    assert row_of(kubectl("get", "cm"), "table")[1] == "2"
    assert rows(kubectl("get", "secret", "table"))[0] == ["NAME", "TYPE", "DATA", "AGE"]
    assert row_of(kubectl("get", "secret"), "table")[1:3] == ["Opaque", "1"]
    assert row_of(kubectl("get", "ns"), kubectl.namespace)[1] == "Active"
    assert rows(kubectl("get", "serviceaccounts"))[0] == ["NAME", "AGE"]
    assert row_of(kubectl("get", "endpoints", "-n", "default"), "kubernetes")[1].endswith(":6443")
    assert rows(kubectl("get", "endpointslices", "-n", "default"))[0] == [
        *("NAME", "ADDRESSTYPE", "PORTS", "ENDPOINTS", "AGE"),
    ]
    assert rows(kubectl("get", "leases", "-n", "kube-node-lease"))[1][:2] == [kubectl.cluster.node_name(1)] * 2


def test_the_object_itself_in_every_format(kubectl: Kubectl, talker: str) -> None:
    as_json = kubectl.get("pod", talker)
    as_yaml = yaml.safe_load(kubectl("get", "pod", talker, "-o", "yaml"))
    assert as_yaml == as_json
    assert kubectl("get", "pod", talker, "-o", "name") == "pod/talker\n"
    containers = "{range .spec.containers[*]}{.name}={.image}{'\\n'}{end}"
    assert kubectl("get", "pod", talker, "-o", f"jsonpath={containers}") == "main=busybox:1.36\necho=busybox:1.36\n"
    ready = '{.status.conditions[?(@.type=="Ready")].status}'
    assert kubectl("get", "pod", talker, "-o", f"jsonpath={ready}") == "True"
    template = "{{.metadata.name}} {{len .spec.containers}}"
    assert kubectl("get", "pod", talker, "-o", f"go-template={template}") == "talker 2"
    columns = "custom-columns=WHO:.metadata.name,WHERE:.spec.nodeName"
    assert rows(kubectl("get", "pod", talker, "-o", columns)) == [
        ["WHO", "WHERE"],
        ["talker", kubectl.cluster.node_name(1)],
    ]


def natural(name: str) -> list[tuple[bool, int, str]]:
    """kubectl sorts texts in natural order: "6v" before "48", since 6 is less than 48."""
    return [(not part.isdigit(), int(part) if part.isdigit() else 0, part) for part in re.split(r"(\d+)", name) if part]


def test_selecting_and_sorting(kubectl: Kubectl, talker: str, server: str) -> None:
    def names(*arguments: str) -> list[str]:
        return [line.removeprefix("pod/") for line in kubectl("get", "pods", "-o", "name", *arguments).splitlines()]

    everyone = names("--sort-by=.metadata.name")
    assert everyone == sorted(everyone, key=natural)
    servers = sorted(name for name in everyone if name.startswith("server-"))
    assert len(servers) == 2
    assert names("-l", "app=talker") == [talker]
    assert names("-l", "app in (server),app!=talker") == servers
    assert names("-l", "!app,nothing") == []
    assert talker in names("--field-selector", f"spec.nodeName={kubectl.cluster.node_name(1)}")
    assert names("--field-selector", "metadata.name=talker,status.phase=Running") == [talker]
    assert names("--field-selector", "metadata.name=talker,status.phase!=Running") == []
    assert set(everyone) == set(names("--chunk-size=1"))
    times = "jsonpath={.items[*].metadata.creationTimestamp}"
    by_age = kubectl("get", "pods", "--sort-by=.metadata.creationTimestamp", "-o", times).split()
    assert by_age == sorted(by_age)
    labelled = rows(kubectl("get", "pods", talker, "--show-labels", "-L", "app"))
    assert labelled[0][5:] == ["APP", "LABELS"]
    assert labelled[1][5:] == ["talker", "app=talker"]


def test_all_namespaces(kubectl: Kubectl, talker: str) -> None:
    output = kubectl("get", "pods", "-A")
    assert rows(output)[0][:2] == ["NAMESPACE", "NAME"]
    assert row_of(output, talker, column=1)[0] == kubectl.namespace
    assert row_of(kubectl("get", "services", "--all-namespaces"), "kube-dns", column=1)[0] == "kube-system"


def test_watching_prints_a_line_for_each_change(kubectl: Kubectl, talker: str) -> None:
    with kubectl.start("get", "pods", "-w", "--output-watch-events", "-l", "app in (talker,watched)") as watch:
        watch.expect(r"^EVENT +NAME +READY +STATUS +RESTARTS +AGE$")
        watch.expect(rf"^ADDED +{talker} +2/2 +Running ")
        kubectl.apply(sleeper("watched"))
        watch.expect(r"^ADDED +watched +0/1 +(Pending|ContainerCreating) ")
        watch.expect(r"^MODIFIED +watched +1/1 +Running ")
        kubectl("delete", "pod", "watched", "--wait=false")
        watch.expect(r"^MODIFIED +watched +1/1 +Terminating ")
        watch.expect(r"^DELETED +watched ")


def test_watching_one_object_as_yaml_and_only_what_is_new(kubectl: Kubectl) -> None:
    kubectl("create", "configmap", "seen", "--from-literal=a=1")
    version = kubectl.get("configmap", "seen")["metadata"]["resourceVersion"]
    with kubectl.start("get", "configmap", "seen", "-w", "-o", "jsonpath={.data.a}{'\\n'}") as watch:
        watch.expect("^1$")
        kubectl("patch", "configmap", "seen", "-p", json.dumps({"data": {"a": "2"}}))
        watch.expect("^2$")
    assert int(kubectl.get("configmap", "seen")["metadata"]["resourceVersion"]) > int(version)


def test_what_is_not_there(kubectl: Kubectl) -> None:
    assert kubectl.fails("get", "pod", "nobody") == 'Error from server (NotFound): pods "nobody" not found\n'
    assert kubectl.fails("get", "nonsense") == 'error: the server doesn\'t have a resource type "nonsense"\n'
    assert kubectl("get", "pod", "nobody", "--ignore-not-found") == ""
    nothing = kubectl.run("get", "pods", "-l", "app=nobody")
    assert nothing.stdout == ""
    assert nothing.stderr == f"No resources found in {kubectl.namespace} namespace.\n"
    refused = kubectl.fails("get", "pods", "--field-selector", "spec.nonsense=1")
    assert "field label not supported: spec.nonsense" in refused
    assert "(BadRequest)" in refused
    wrong = kubectl.fails("get", "pods", "-l", "a in (b")
    assert "unable to parse requirement" in wrong


def test_printing_of_pods_that_ended(kubectl: Kubectl) -> None:
    for name, command in (("done", "exit 0"), ("broken", "exit 4")):
        kubectl("run", name, "--image=busybox:1.36", "--restart=Never", "--", "sh", "-c", command)
    wait_until("done is Completed", lambda: row_of(kubectl("get", "pods"), "done")[1:4] == ["0/1", "Completed", "0"])
    wait_until("broken is Error", lambda: row_of(kubectl("get", "pods"), "broken")[1:4] == ["0/1", "Error", "0"])
    assert kubectl("get", "pods", "--field-selector=status.phase=Failed", "-o", "name") == "pod/broken\n"
    assert kubectl.get("pod", "broken")["status"]["containerStatuses"][0]["state"]["terminated"]["exitCode"] == 4
    kubectl("delete", "pod", "done", "broken")

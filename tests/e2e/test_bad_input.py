"""What is wrong is refused, or fails, in upstream's words; an `up` that cannot be leaves one line and nothing else."""

from __future__ import annotations

import json
import re
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.cluster import TIMONEL, Cluster, container_status, pod, run, wait_until
from tests.e2e.kubectl import Kubectl, row_of
from timonel.cluster import oci
from timonel.cluster.layout import layout_of
from timonel.cluster.teardown import processes_of

# Manifests


def config_map(**more: Any) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "bad"}, **more}


def deployment(**spec: Any) -> dict[str, Any]:
    container = {"name": "main", "image": "busybox:1.36"}
    template = {"metadata": {"labels": {"app": "bad"}}, "spec": {"containers": [container]}}
    whole = {"replicas": 0, "selector": {"matchLabels": {"app": "bad"}}, "template": template, **spec}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "bad"}, "spec": whole}


def with_resources(**resources: Any) -> dict[str, Any]:
    return pod("bad", container={"resources": resources})


def test_unknown_kinds(kubectl: Kubectl) -> None:
    refused = kubectl.fails("apply", "-f", "-", stdin=json.dumps({**config_map(), "kind": "Nonsense"}))
    assert 'no matches for kind "Nonsense" in version "v1"' in refused
    refused = kubectl.fails("apply", "-f", "-", stdin=json.dumps({**config_map(), "apiVersion": "example.com/v7"}))
    assert 'no matches for kind "ConfigMap" in version "example.com/v7"' in refused


def test_unknown_fields(kubectl: Kubectl) -> None:
    refused = kubectl.fails("create", "-f", "-", stdin=json.dumps(deployment(replica=1)))
    if kubectl.minor >= 25:
        assert refused.startswith('Error from server (BadRequest): error when creating "STDIN": ')
        assert (
            'Deployment in version "v1" cannot be handled as a Deployment: strict decoding error: '
            'unknown field "spec.replica"'
        ) in refused
    else:  # checked by kubectl itself, with the server's OpenAPI v2 document
        assert 'unknown field "replica" in io.k8s.api.apps.v1.DeploymentSpec' in refused
    # Unasked, they are dropped, as upstream drops them, and newer kubectl shows the server's warning.
    lenient = "--validate=warn" if kubectl.minor >= 25 else "--validate=false"
    accepted = kubectl.run("create", "-f", "-", lenient, stdin=json.dumps(deployment(replica=1)))
    if kubectl.minor >= 25:
        assert accepted.stderr == 'Warning: unknown field "spec.replica"\n'
    assert "replica" not in kubectl.get("deployment", "bad")["spec"]
    kubectl("delete", "deployment", "bad")


def test_duplicate_fields(kubectl: Kubectl) -> None:
    twice = '{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"bad"},"data":{"a":"1","a":"2"}}'
    path = kubectl.cluster.folder / "twice.json"
    path.write_text(twice)
    url = f"/api/v1/namespaces/{kubectl.namespace}/configmaps"
    refused = kubectl.fails("create", "--raw", f"{url}?fieldValidation=Strict", "-f", str(path))
    assert 'strict decoding error: duplicate field "data.a"' in refused
    accepted = kubectl.run("create", "--raw", f"{url}?fieldValidation=Warn", "-f", str(path))
    assert json.loads(accepted.stdout)["data"] == {"a": "2"}
    if kubectl.minor >= 25:
        assert 'Warning: duplicate field "data.a"' in accepted.stderr
    kubectl("delete", "configmap", "bad")


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        (
            deployment(replicas="three"),
            'Deployment in version "v1" cannot be handled as a Deployment: json: cannot unmarshal string into '
            "Go struct field DeploymentSpec.spec.replicas of type int32",
        ),
        (
            config_map(data={"a": 1}),
            'ConfigMap in version "v1" cannot be handled as a ConfigMap: json: cannot unmarshal number into '
            "Go struct field ConfigMap.data of type string",
        ),
        (
            with_resources(limits={"memory": "12Zi"}),
            'Pod in version "v1" cannot be handled as a Pod: quantities must match the regular expression '
            "'^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'",
        ),
    ],
    ids=["text for a number", "number for text", "quantity"],
)
def test_wrong_types_are_bad_requests(kubectl: Kubectl, document: dict[str, Any], expected: str) -> None:
    refused = kubectl.fails("create", "-f", "-", "--validate=false", stdin=json.dumps(document))
    assert refused == f'Error from server (BadRequest): error when creating "STDIN": {expected}\n'


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        (
            with_resources(requests={"cpu": "-1"}),
            'The Pod "bad" is invalid: spec.containers[0].resources.requests[cpu]: Invalid value: "-1": '
            "must be greater than or equal to 0",
        ),
        (
            with_resources(requests={"memory": "2Gi"}, limits={"memory": "1Gi"}),
            'The Pod "bad" is invalid: spec.containers[0].resources.requests: Invalid value: "2Gi": '
            "must be less than or equal to memory limit of 1Gi",
        ),
        (
            pod("Bad_Name"),
            'The Pod "Bad_Name" is invalid: metadata.name: Invalid value: "Bad_Name": a lowercase RFC 1123 '
            "subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an "
            "alphanumeric character (e.g. 'example.com', regex used for validation is "
            "'[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')",
        ),
        (pod("bad", containers=[]), 'The Pod "bad" is invalid: spec.containers: Required value'),
        (
            pod("bad", restartPolicy="Sometimes"),
            'The Pod "bad" is invalid: spec.restartPolicy: Unsupported value: "Sometimes": '
            'supported values: "Always", "OnFailure", "Never"',
        ),
        (
            deployment(replicas=-1),
            'The Deployment "bad" is invalid: spec.replicas: Invalid value: -1: must be greater than or equal to 0',
        ),
        (
            deployment(selector={"matchLabels": {"app": "other"}}),
            'The Deployment "bad" is invalid: spec.template.metadata.labels: Invalid value: {"app":"bad"}: '
            "`selector` does not match template `labels`",
        ),
        (
            {
                "apiVersion": "v1",
                "kind": "Service",
                "metadata": {"name": "bad"},
                "spec": {"ports": [{"port": 99999, "targetPort": 80}]},
            },
            'The Service "bad" is invalid: spec.ports[0].port: Invalid value: 99999: '
            "must be between 1 and 65535, inclusive",
        ),
    ],
    ids=["negative", "request over limit", "name", "no containers", "enum", "replicas", "selector", "port"],
)
def test_invalid_objects_name_the_field(kubectl: Kubectl, document: dict[str, Any], expected: str) -> None:
    refused = kubectl.fails("create", "-f", "-", "--validate=false", stdin=json.dumps(document))
    assert refused.strip() == expected


def test_several_mistakes_are_all_told(kubectl: Kubectl) -> None:
    document = pod("bad", "", restartPolicy="Sometimes")
    refused = kubectl.fails("create", "-f", "-", "--validate=false", stdin=json.dumps(document))
    assert refused.splitlines()[0] == 'The Pod "bad" is invalid: '
    assert "* spec.containers[0].image: Required value" in refused
    assert "* spec.restartPolicy: Unsupported value" in refused


def test_broken_files(kubectl: Kubectl) -> None:
    assert "error parsing STDIN" in kubectl.fails("apply", "-f", "-", stdin="a: [\n")
    assert "kind not set" in kubectl.fails("apply", "-f", "-", stdin="apiVersion: v1\n")
    assert "Object 'Kind' is missing" in kubectl.fails("apply", "-f", "-", "--validate=false", stdin="apiVersion: v1\n")
    assert "does not exist" in kubectl.fails("apply", "-f", "no-such-file.yaml")
    elsewhere = {**config_map(), "metadata": {"name": "bad", "namespace": "no-such-namespace"}}
    refused = run(
        *(kubectl.program, "create", "-f", "-"),
        stdin=json.dumps(elsewhere),
        check=False,
        env=kubectl.cluster.environment,
    )
    assert refused.stderr == (
        'Error from server (NotFound): error when creating "STDIN": namespaces "no-such-namespace" not found\n'
    )


def test_what_may_not_change(kubectl: Kubectl, server: str) -> None:
    patch = json.dumps({"spec": {"selector": {"matchLabels": {"app": "other"}}}})
    refused = kubectl.fails("patch", "deployment", server, "-p", patch)
    assert f'The Deployment "{server}" is invalid' in refused
    assert "spec.selector: Invalid value: " in refused
    assert "field is immutable" in refused
    patch = json.dumps({"spec": {"clusterIP": "10.96.0.99"}})
    refused = kubectl.fails("patch", "service", server, "-p", patch)
    assert 'spec.clusterIPs[0]: Invalid value: ["10.96.0.99"]: may not change once set' in refused
    stale = kubectl.get("deployment", server)
    stale["metadata"]["resourceVersion"] = "1"
    refused = kubectl.fails("replace", "-f", "-", stdin=json.dumps(stale))
    assert (
        f'Error from server (Conflict): error when replacing "STDIN": Operation cannot be fulfilled on '
        f'deployments.apps "{server}": the object has been modified; please apply your changes to the latest version '
        "and try again"
    ) in refused


# Pods that cannot run

EMPTY_TAR = bytes(10240)


@pytest.fixture(scope="module")
def failing(cluster: Cluster) -> Iterator[Kubectl]:
    """All of them at once, so that they fail side by side."""
    kubectl = Kubectl(cluster, cluster.kubectl_program, "failing")
    kubectl("create", "namespace", "failing")
    wait_until("its account", lambda: kubectl.get("serviceaccount", "default"))
    nothing = oci.Image([oci.Layer.of(EMPTY_TAR)], {})
    oci.push(nothing, f"http://{registry_of(cluster)}", "no-command", ["1"])
    quiet = ("sh", "-c", "trap exit TERM; while :; do sleep 3600 & wait; done")
    reference = {"name": "X", "valueFrom": {"configMapKeyRef": {"name": "late", "key": "x"}}}
    volume = {"name": "data", "secret": {"secretName": "absent"}}
    mount = {"name": "data", "mountPath": "/data"}
    small = {"resources": {"limits": {"memory": "24Mi"}}}
    kubectl.apply(
        pod("no-image", no_such_image(cluster)),
        pod("registry-down", "127.0.0.1:9/nothing:1"),
        pod("bad-name", "Not/A Name"),
        pod("never", "never-pulled:1", container={"imagePullPolicy": "Never"}),
        pod("no-command", f"{registry_of(cluster)}/no-command:1"),
        pod("no-program", "busybox:1.36", "/no/such/program"),
        pod("no-program-once", "busybox:1.36", "/no/such/program", restartPolicy="Never"),
        pod("greedy", "busybox:1.36", "tail", "/dev/zero", container=small),
        pod("greedy-once", "busybox:1.36", "tail", "/dev/zero", container=small, restartPolicy="Never"),
        pod("crashing", "busybox:1.36", "sh", "-c", "echo about to fail; exit 9"),
        pod("no-config", "busybox:1.36", *quiet, container={"env": [reference]}),
        pod("as-root", "busybox:1.36", *quiet, securityContext={"runAsNonRoot": True}),
        pod("no-volume", "busybox:1.36", *quiet, container={"volumeMounts": [mount]}, volumes=[volume]),
        pod("too-big", "busybox:1.36", *quiet, container={"resources": {"requests": {"cpu": "1000"}}}),
    )
    yield kubectl
    kubectl("delete", "namespace", "failing", "--wait=false")


def registry_of(cluster: Cluster) -> str:
    """The tests' own, by address, so that what it says does not depend on the internet."""
    return next(name for name in cluster.config["registries"] if name != "docker.io")


def no_such_image(cluster: Cluster) -> str:
    return f"{registry_of(cluster)}/no-such-image:1"


def status_of(kubectl: Kubectl, name: str) -> str:
    return row_of(kubectl("get", "pods"), name)[2]


def state_of(kubectl: Kubectl, name: str, which: str = "state") -> dict[str, Any]:
    found: dict[str, Any] = container_status(kubectl.get("pod", name), "main")[which]
    return found


def waiting_message(kubectl: Kubectl, name: str, reason: str) -> str:
    def message() -> str:
        waiting = state_of(kubectl, name).get("waiting", {})
        assert waiting.get("reason") == reason, waiting
        text: str = waiting.get("message", "")
        return text or "none"

    found: str = wait_until(f"{name} is {reason}", message, timeout=30)
    return found


def wait_event(kubectl: Kubectl, name: str, type: str, reason: str, message: str) -> None:
    def found() -> bool:
        events = kubectl.get("events", "--field-selector", f"involvedObject.name={name},reason={reason}")["items"]
        seen = [(event["type"], event["message"]) for event in events]
        assert any(kind == type and re.search(message, text) for kind, text in seen), seen
        return True

    wait_until(f"{reason} of {name}", found, timeout=30)


def test_an_image_that_does_not_exist(failing: Kubectl) -> None:
    image = no_such_image(failing.cluster)
    wait_event(failing, "no-image", "Normal", "Pulling", f'Pulling image "{image}"')
    wait_event(failing, "no-image", "Warning", "Failed", f'Failed to pull image "{image}": .*not found')
    wait_event(failing, "no-image", "Warning", "Failed", "Error: ErrImagePull")
    message = waiting_message(failing, "no-image", "ImagePullBackOff")
    assert message.startswith(f'Back-off pulling image "{image}": ErrImagePull: ')
    wait_event(failing, "no-image", "Normal", "BackOff", f'Back-off pulling image "{image}"')
    wait_event(failing, "no-image", "Warning", "Failed", "Error: ImagePullBackOff")
    assert failing.get("pod", "no-image")["status"]["phase"] == "Pending"


def test_a_registry_that_is_down(failing: Kubectl) -> None:
    wait_event(failing, "registry-down", "Warning", "Failed", "127.0.0.1:9.*connection refused")
    wait_until(
        "the status", lambda: status_of(failing, "registry-down") in ("ErrImagePull", "ImagePullBackOff"), timeout=30
    )


def test_images_that_cannot_even_be_asked_for(failing: Kubectl) -> None:
    message = waiting_message(failing, "bad-name", "InvalidImageName")
    assert message.startswith('Failed to apply default image tag "Not/A Name": couldn\'t parse image name')
    message = waiting_message(failing, "never", "ErrImageNeverPull")
    assert message == 'Container image "never-pulled:1" is not present with pull policy of Never'
    wait_event(failing, "never", "Warning", "ErrImageNeverPull", "is not present with pull policy of Never")


def test_a_program_that_is_not_in_the_image(failing: Kubectl) -> None:
    told = '^Error: failed to create containerd task: .*exec: "/no/such/program": .*no such file or directory'
    wait_event(failing, "no-program", "Warning", "Failed", told)
    wait_until(
        "its status",
        lambda: status_of(failing, "no-program") in ("RunContainerError", "CrashLoopBackOff"),
    )
    wait_until("it ended once", lambda: failing.get("pod", "no-program-once")["status"]["phase"] == "Failed")
    ended = state_of(failing, "no-program-once")["terminated"]
    assert (ended["reason"], ended["exitCode"]) == ("StartError", 128)
    assert "/no/such/program" in ended["message"]
    assert status_of(failing, "no-program-once") == "StartError"


def test_an_image_that_says_no_command(failing: Kubectl) -> None:
    message = waiting_message(failing, "no-command", "CreateContainerError")
    assert "no command specified" in message
    wait_event(failing, "no-command", "Warning", "Failed", "^Error: .*no command specified")
    assert status_of(failing, "no-command") == "CreateContainerError"


def test_more_memory_than_the_limit(failing: Kubectl) -> None:
    wait_until("it ended", lambda: failing.get("pod", "greedy-once")["status"]["phase"] == "Failed", timeout=30)
    ended = state_of(failing, "greedy-once")["terminated"]
    assert (ended["reason"], ended["exitCode"]) == ("OOMKilled", 137)
    assert status_of(failing, "greedy-once") == "OOMKilled"
    wait_until(
        "its last state",
        lambda: state_of(failing, "greedy", "lastState")["terminated"]["reason"] == "OOMKilled",
        timeout=30,
    )
    wait_until(
        "it is started again and again", lambda: status_of(failing, "greedy") in ("OOMKilled", "CrashLoopBackOff")
    )
    assert "Reason:       OOMKilled" in failing("describe", "pod", "greedy")


def test_a_crash_loop(failing: Kubectl) -> None:
    message = waiting_message(failing, "crashing", "CrashLoopBackOff")
    uid = failing.get("pod", "crashing")["metadata"]["uid"]
    assert re.fullmatch(rf"back-off \d+s restarting failed container=main pod=crashing_failing\({uid}\)", message), (
        message
    )
    status = container_status(failing.get("pod", "crashing"), "main")
    assert status["restartCount"] >= 1
    assert status["ready"] is False
    ended = status["lastState"]["terminated"]
    assert (ended["reason"], ended["exitCode"]) == ("Error", 9)
    wait_event(
        failing, "crashing", "Warning", "BackOff", "Back-off restarting failed container main in pod crashing_failing"
    )
    assert failing("logs", "crashing", "--previous") == "about to fail\n"
    described = failing("describe", "pod", "crashing")
    assert "Exit Code:    9" in described


def test_a_config_map_that_comes_late(failing: Kubectl) -> None:
    message = waiting_message(failing, "no-config", "CreateContainerConfigError")
    assert message == 'configmap "late" not found'
    wait_event(failing, "no-config", "Warning", "Failed", 'Error: configmap "late" not found')
    failing("create", "configmap", "late", "--from-literal=x=here")
    failing("wait", "--for=condition=Ready", "pod/no-config", "--timeout=60s", timeout=70)
    assert failing("exec", "no-config", "--", "sh", "-c", "echo $X") == "here\n"


def test_root_where_root_is_forbidden(failing: Kubectl) -> None:
    message = waiting_message(failing, "as-root", "CreateContainerConfigError")
    assert message.startswith("container has runAsNonRoot and image will run as root (pod: ")


def test_a_volume_whose_secret_is_absent(failing: Kubectl) -> None:
    wait_event(
        failing,
        "no-volume",
        "Warning",
        "FailedMount",
        'MountVolume.SetUp failed for volume "data" : secret "absent" not found',
    )
    assert status_of(failing, "no-volume") == "ContainerCreating"


def test_a_pod_that_fits_nowhere(failing: Kubectl) -> None:
    wait_event(failing, "too-big", "Warning", "FailedScheduling", r"0/3 nodes are available: 3 Insufficient cpu\.")
    assert status_of(failing, "too-big") == "Pending"
    conditions = failing.get("pod", "too-big")["status"]["conditions"]
    assert [(item["type"], item["status"], item["reason"]) for item in conditions] == [
        ("PodScheduled", "False", "Unschedulable")
    ]


# `timonel up`

TRIAL = "badup"


@pytest.fixture
def nothing_left() -> Iterator[None]:
    """Before and after a failed `up` there is nothing of the cluster it would have made."""
    layout = layout_of(TRIAL)

    def found() -> list[str]:
        links = (
            run("ip", "-br", "link").stdout + run("ip", "netns", "list").stdout + run("nft", "list", "tables").stdout
        )
        named = [word for word in (layout.identity, layout.context) if word in links]
        folders = [str(path) for path in (layout.data, layout.run) if path.exists()]
        return [*named, *folders, *(str(process) for process in processes_of(layout))]

    assert found() == []
    yield
    assert found() == []


def one_line(result: subprocess.CompletedProcess[str]) -> str:
    assert result.returncode == 1, result
    assert result.stdout == ""
    lines = result.stderr.splitlines()
    assert len(lines) == 1, result.stderr
    assert lines[0].startswith("timonel: ")
    return lines[0].removeprefix("timonel: ")


def up(*arguments: str, home: Path, prefix: tuple[str, ...] = ()) -> str:
    command = (*prefix, *TIMONEL, "up", *arguments)
    return one_line(run(*command, check=False, env={"HOME": str(home), "KUBECONFIG": str(home / "kubeconfig")}))


@pytest.mark.usefixtures("nothing_left")
def test_up_without_root(tmp_path: Path) -> None:
    nobody = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups")
    if run(*nobody, *TIMONEL, "version", check=False).returncode != 0:
        pytest.skip("user nobody cannot read this checkout")
    said = up("--name", TRIAL, home=tmp_path, prefix=nobody)
    assert said == "timonel up needs root to run containers: try again with sudo"


@pytest.mark.usefixtures("nothing_left")
@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("network: [\n", r".*/config\.yaml: not valid YAML: line 2: .+"),
        ("network: {pod: 10.1.0.0/16}\n", r".*/config\.yaml: unknown key 'network\.pod'; known here: .*pods.*"),
        ("- a\n", r".*/config\.yaml: the file must be a mapping, not a list"),
        ("api: {port: high}\n", r".*/config\.yaml: api\.port must be a whole number, not text"),
        ("api: {port: 0}\n", r".*/config\.yaml: api\.port must be between 1 and 65535"),
        ("network: {pods: 10.96.0.0/16}\n", r".*network\.pods 10\.96\.0\.0/16 and network\.services .* overlap"),
        ("registries: {docker.io: {mirrors: [example.com]}}\n", r".*mirrors: 'example\.com' must start with http://.*"),
    ],
    ids=["broken", "unknown key", "not a mapping", "type", "range", "overlap", "mirror"],
)
def test_up_with_a_wrong_configuration(tmp_path: Path, text: str, expected: str) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(text)
    said = up("--name", TRIAL, "--config", str(path), home=tmp_path)
    assert re.fullmatch(expected, said), said
    assert not (tmp_path / "kubeconfig").exists()


@pytest.mark.usefixtures("nothing_left")
def test_up_with_arguments_that_cannot_be(tmp_path: Path) -> None:
    missing = tmp_path / "none.yaml"
    assert (
        up("--name", TRIAL, "--config", str(missing), home=tmp_path) == f"configuration file {missing} does not exist"
    )
    assert "use 1-20 lower-case letters" in up("--name", "Not_A_Name", home=tmp_path)
    assert "between 1 and 100 nodes" in up("--name", TRIAL, "--nodes", "0", home=tmp_path)
    assert up("--name", TRIAL, "--store", "redis", home=tmp_path) == "--store redis: there are sqlite and etcd"
    assert "between 0 and 20000 hollow nodes" in up("--name", TRIAL, "--hollow", "-5", home=tmp_path)


def test_up_with_its_port_taken(tmp_path: Path) -> None:
    """Only the unnamed cluster shares its ports with the machine; its folders are moved so that none is touched."""
    data, state = tmp_path / "data", Path(f"/run/timonel-{TRIAL}")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        config = tmp_path / "config.yaml"
        config.write_text(f"api: {{port: {port}}}\n")
        arguments = ("--data-dir", str(data), "--run-dir", str(state), "--config", str(config))
        said = up(*arguments, home=tmp_path)
    assert re.fullmatch(
        rf"port {port} \(the API server's\) is taken by \S+ \(pid \d+\): .*set api\.port in .*", said
    ), said
    assert not data.exists()
    assert not state.exists()
    assert not processes_of(layout_of("", data, state))
    assert not (tmp_path / "kubeconfig").exists()

"""What admission adds to pods and refuses, by the documentation of each plugin."""

from __future__ import annotations

import pytest

from tests.unit.apiserver.admission.reviewing import admit, pod, refused, review
from timonel.api.errors import Forbidden, NotFound
from timonel.api.objects import Object
from timonel.api.refs import NAMESPACES, NODES, PODS, PRIORITY_CLASSES, RUNTIME_CLASSES, SERVICE_ACCOUNTS
from timonel.apiserver.admission.namespace_lifecycle import NamespaceLifecycle
from timonel.apiserver.admission.priority import Priority
from timonel.apiserver.admission.runtime_class import RuntimeClass
from timonel.apiserver.admission.service_account import ServiceAccount
from timonel.apiserver.admission.tolerations import DefaultTolerationSeconds, TaintNodesByCondition
from timonel.testing.clock import VirtualClock, settle
from timonel.testing.readers import FakeReaders


@pytest.fixture
def readers() -> FakeReaders:
    made = FakeReaders()
    made.put(NAMESPACES, {"metadata": {"name": "d"}, "status": {"phase": "Active"}})
    made.put(NAMESPACES, {"metadata": {"name": "going"}, "status": {"phase": "Terminating"}})
    made.put(
        SERVICE_ACCOUNTS, {"metadata": {"namespace": "d", "name": "default"}, "imagePullSecrets": [{"name": "pull"}]}
    )
    return made


async def test_namespace_must_exist(readers: FakeReaders) -> None:
    error = await refused(NamespaceLifecycle(readers=readers), review(PODS, pod(), namespace="none"))
    assert isinstance(error, NotFound)
    assert error.message == 'namespaces "none" not found'


async def test_nothing_new_in_a_namespace_that_is_going(readers: FakeReaders) -> None:
    plugin = NamespaceLifecycle(readers=readers)
    error = await refused(plugin, review(PODS, pod(), namespace="going"))
    assert error.status == {
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": 'pods "p" is forbidden: unable to create new content in namespace going because it is being'
                   " terminated",
        "reason": "Forbidden",
        "details": {"name": "p", "kind": "pods", "causes": [{
            "reason": "NamespaceTerminating", "message": "namespace going is being terminated",
            "field": "metadata.namespace"}]},
        "code": 403,
    }  # fmt: skip
    await admit(plugin, review(PODS, pod(), "UPDATE", namespace="going"))
    await admit(plugin, review(PODS, None, "DELETE", namespace="going"))


@pytest.mark.parametrize("name", ["default", "kube-system", "kube-public"])
async def test_the_first_namespaces_stay(readers: FakeReaders, name: str) -> None:
    plugin = NamespaceLifecycle(readers=readers)
    error = await refused(plugin, review(NAMESPACES, None, "DELETE", name=name))
    assert error.message == f'namespaces "{name}" is forbidden: this namespace may not be deleted'
    await admit(plugin, review(NAMESPACES, None, "DELETE", name="d"))


@pytest.fixture
def accounts(readers: FakeReaders) -> ServiceAccount:
    return ServiceAccount(readers=readers, clock=VirtualClock())


async def test_a_pod_gets_the_default_account_and_its_token(accounts: ServiceAccount) -> None:
    made = await admit(accounts, review(PODS, pod(initContainers=[{"name": "i"}])))
    spec = made["spec"]
    assert spec["serviceAccountName"] == "default"
    assert spec["imagePullSecrets"] == [{"name": "pull"}]
    (volume,) = spec["volumes"]
    assert volume["name"].startswith("kube-api-access-")
    assert len(volume["name"]) == len("kube-api-access-") + 5
    assert volume["projected"] == {
        "defaultMode": 420,
        "sources": [
            {"serviceAccountToken": {"expirationSeconds": 3607, "path": "token"}},
            {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
            {
                "downwardAPI": {
                    "items": [
                        {"path": "namespace", "fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.namespace"}}
                    ]
                }
            },
        ],
    }
    mount = {"name": volume["name"], "readOnly": True, "mountPath": "/var/run/secrets/kubernetes.io/serviceaccount"}
    assert spec["containers"][0]["volumeMounts"] == [mount]
    assert spec["initContainers"][0]["volumeMounts"] == [mount]


async def test_a_mount_at_the_same_place_wins(accounts: ServiceAccount) -> None:
    own = {"name": "mine", "mountPath": "/var/run/secrets/kubernetes.io/serviceaccount"}
    made = await admit(accounts, review(PODS, pod(containers=[{"name": "c", "volumeMounts": [own]}])))
    assert made["spec"]["containers"][0]["volumeMounts"] == [own]
    assert "volumes" not in made["spec"]


@pytest.mark.parametrize(
    ("of_pod", "of_account", "mounts"),
    [(False, True, False), (True, False, True), (None, False, False), (None, None, True)],
)
async def test_the_pods_wish_goes_before_the_accounts(
    accounts: ServiceAccount, readers: FakeReaders, of_pod: bool | None, of_account: bool | None, mounts: bool
) -> None:
    account: Object = {"metadata": {"namespace": "d", "name": "default"}}
    if of_account is not None:
        account["automountServiceAccountToken"] = of_account
    readers.put(SERVICE_ACCOUNTS, account)
    wish = {} if of_pod is None else {"automountServiceAccountToken": of_pod}
    made = await admit(accounts, review(PODS, pod(**wish)))
    assert ("volumes" in made["spec"]) is mounts


async def test_an_unknown_account(accounts: ServiceAccount) -> None:
    error = await refused(accounts, review(PODS, pod(serviceAccountName="x")))
    assert error.message == (
        'pods "p" is forbidden: error looking up service account d/x: serviceaccount "x" not found'
    )


async def test_the_default_account_is_waited_for(readers: FakeReaders) -> None:
    import asyncio

    clock = VirtualClock()
    readers.reader(SERVICE_ACCOUNTS).remove("d", "default")
    task = asyncio.create_task(admit(ServiceAccount(readers=readers, clock=clock), review(PODS, pod())))
    await settle()
    assert not task.done()
    readers.put(SERVICE_ACCOUNTS, {"metadata": {"namespace": "d", "name": "default"}})
    await clock.advance(0.2)
    assert (await task)["spec"]["serviceAccountName"] == "default"


async def test_secrets_can_be_limited_to_the_accounts(readers: FakeReaders, accounts: ServiceAccount) -> None:
    readers.put(
        SERVICE_ACCOUNTS,
        {
            "metadata": {
                "namespace": "d", "name": "strict", "annotations": {"kubernetes.io/enforce-mountable-secrets": "true"}
            },
            "secrets": [{"name": "ok"}],
        },
    )  # fmt: skip
    volumes = [{"name": "v", "secret": {"secretName": "ok"}}]
    await admit(accounts, review(PODS, pod(serviceAccountName="strict", volumes=volumes)))
    volumes = [{"name": "v", "secret": {"secretName": "other"}}]
    error = await refused(accounts, review(PODS, pod(serviceAccountName="strict", volumes=volumes)))
    assert error.message == (
        'pods "p" is forbidden: volume with secret.secretName="other" is not allowed because service account strict'
        " does not reference that secret"
    )


async def test_mirror_pods_are_left_alone(accounts: ServiceAccount) -> None:
    mirror = pod()
    mirror["metadata"]["annotations"] = {"kubernetes.io/config.mirror": "hash"}
    assert "serviceAccountName" not in (await admit(accounts, review(PODS, mirror)))["spec"]
    mirror["spec"]["serviceAccountName"] = "default"
    error = await refused(accounts, review(PODS, mirror))
    assert error.message == 'pods "p" is forbidden: a mirror pod may not reference service accounts'


@pytest.fixture
def priorities(readers: FakeReaders) -> Priority:
    readers.put(PRIORITY_CLASSES, {"metadata": {"name": "high"}, "value": 1000, "preemptionPolicy": "Never"})
    return Priority(readers=readers)


async def test_priority_follows_from_the_class(priorities: Priority) -> None:
    made = await admit(priorities, review(PODS, pod(priorityClassName="high")))
    assert (made["spec"]["priority"], made["spec"]["preemptionPolicy"]) == (1000, "Never")
    made = await admit(priorities, review(PODS, pod()))
    assert (made["spec"]["priority"], made["spec"]["preemptionPolicy"]) == (0, "PreemptLowerPriority")
    assert "priorityClassName" not in made["spec"]


async def test_the_default_class(priorities: Priority, readers: FakeReaders) -> None:
    readers.put(PRIORITY_CLASSES, {"metadata": {"name": "usual"}, "value": 7, "globalDefault": True})
    made = await admit(priorities, review(PODS, pod()))
    assert (made["spec"]["priorityClassName"], made["spec"]["priority"]) == ("usual", 7)
    second = {"metadata": {"name": "second"}, "value": 8, "globalDefault": True}
    error = await refused(priorities, review(PRIORITY_CLASSES, second))
    assert error.message == (
        'priorityclasses.scheduling.k8s.io "second" is forbidden: PriorityClass usual is already marked as default.'
        " Only one default can exist"
    )


async def test_priority_is_not_for_the_asking(priorities: Priority) -> None:
    error = await refused(priorities, review(PODS, pod(priority=5)))
    assert error.message == (
        'pods "p" is forbidden: the integer value of priority (5) must not be provided in pod spec; priority admission'
        " controller computed 0 from the given PriorityClass name"
    )
    error = await refused(priorities, review(PODS, pod(priorityClassName="none")))
    assert error.message == 'pods "p" is forbidden: no PriorityClass with name none was found'


def toleration(key: str, seconds: int = 300) -> Object:
    return {
        "key": f"node.kubernetes.io/{key}",
        "operator": "Exists",
        "effect": "NoExecute",
        "tolerationSeconds": seconds,
    }


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ([], [toleration("not-ready"), toleration("unreachable")]),
        ([toleration("not-ready", 5)], [toleration("not-ready", 5), toleration("unreachable")]),
        ([{"operator": "Exists"}], [{"operator": "Exists"}]),
        (
            [{"operator": "Exists", "effect": "NoSchedule"}],
            [{"operator": "Exists", "effect": "NoSchedule"}, toleration("not-ready"), toleration("unreachable")],
        ),
    ],
)
async def test_default_tolerations(given: list[Object], expected: list[Object]) -> None:
    made = await admit(DefaultTolerationSeconds(), review(PODS, pod(tolerations=given)))
    assert made["spec"]["tolerations"] == expected


async def test_new_nodes_are_not_ready_yet() -> None:
    taint = {"key": "node.kubernetes.io/not-ready", "effect": "NoSchedule"}
    node: Object = {"metadata": {"name": "n"}}
    for _ in range(2):
        assert (await admit(TaintNodesByCondition(), review(NODES, node)))["spec"]["taints"] == [taint]


async def test_runtime_class_gives_overhead_and_placement(readers: FakeReaders) -> None:
    plugin = RuntimeClass(readers=readers)
    error = await refused(plugin, review(PODS, pod(runtimeClassName="gvisor")))
    assert isinstance(error, Forbidden)
    assert error.message == 'pods "p" is forbidden: pod rejected: RuntimeClass "gvisor" not found'
    dedicated = {"key": "sandboxed", "operator": "Exists", "effect": "NoSchedule"}
    found = {
        "metadata": {"name": "gvisor"},
        "handler": "runsc",
        "overhead": {"podFixed": {"cpu": "250m"}},
        "scheduling": {"nodeSelector": {"runtime": "gvisor"}, "tolerations": [dedicated]},
    }
    readers.put(RUNTIME_CLASSES, found)
    other = {"key": "own", "operator": "Exists"}
    made = await admit(
        plugin, review(PODS, pod(runtimeClassName="gvisor", nodeSelector={"disk": "ssd"}, tolerations=[other]))
    )
    assert made["spec"]["overhead"] == {"cpu": "250m"}
    assert made["spec"]["nodeSelector"] == {"disk": "ssd", "runtime": "gvisor"}
    assert made["spec"]["tolerations"] == [other, dedicated]
    error = await refused(plugin, review(PODS, pod(runtimeClassName="gvisor", nodeSelector={"runtime": "kata"})))
    assert error.message.endswith(
        "conflict: runtimeClass.scheduling.nodeSelector[runtime] = gvisor; pod.spec.nodeSelector[runtime] = kata"
    )
    error = await refused(plugin, review(PODS, pod(runtimeClassName="gvisor", overhead={"cpu": "1"})))
    assert error.message.endswith("pod rejected: Pod's Overhead doesn't match RuntimeClass's defined Overhead")
    error = await refused(plugin, review(PODS, pod(overhead={"cpu": "1"})))
    assert error.message.endswith("pod rejected: Pod Overhead set without corresponding RuntimeClass defined Overhead")

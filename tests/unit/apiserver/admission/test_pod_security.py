"""The Pod Security Standards, field by field as documented, and the labels that ask for them."""

from __future__ import annotations

from typing import Any

import pytest

from timonel.api.errors import ApiError
from timonel.api.kinds import BUILTIN
from timonel.api.objects import Object
from timonel.api.refs import DEPLOYMENTS, NAMESPACES, PODS, ResourceRef
from timonel.apiserver.admission.chain import AdmissionRequest
from timonel.apiserver.admission.pod_security.plugin import PodSecurity
from timonel.apiserver.admission.pod_security.policy import Policy, Standard, parse_policy, violations
from timonel.apiserver.authn.user import UserInfo
from timonel.apiserver.authz.attributes import Attributes
from timonel.testing.readers import FakeReaders

BASELINE, RESTRICTED = Standard("baseline"), Standard("restricted")
HARDENED: Object = {
    "allowPrivilegeEscalation": False,
    "runAsNonRoot": True,
    "capabilities": {"drop": ["ALL"]},
    "seccompProfile": {"type": "RuntimeDefault"},
}


def pod(context: Object | None = None, *, container: Object | None = None, **spec: Any) -> Object:
    """A pod with one container "c" that has this security context and these fields."""
    made: Object = {"name": "c", **(container or {})}
    if context is not None:
        made["securityContext"] = context
    return {"metadata": {"name": "p"}, "spec": {"containers": [made], **spec}}


def texts(standard: Standard, subject: Object) -> list[str]:
    return [str(finding) for finding in violations(standard, subject)]


@pytest.mark.parametrize(
    ("subject", "expected"),
    [
        (pod(), []),
        (pod({"privileged": True}), ['privileged (container "c" must not set securityContext.privileged=true)']),
        (pod(hostNetwork=True, hostPID=True), ["host namespaces (hostNetwork=true, hostPID=true)"]),
        (pod(volumes=[{"name": "v", "hostPath": {"path": "/"}}]), ['hostPath volumes (volume "v")']),
        (pod(container={"ports": [{"containerPort": 1, "hostPort": 80}]}),
         ['hostPort (container "c" uses hostPort 80)']),
        (pod({"capabilities": {"add": ["NET_ADMIN", "CHOWN", "SYS_TIME"]}}),
         ['non-default capabilities (container "c" must not include "NET_ADMIN", "SYS_TIME" in'
          " securityContext.capabilities.add)"]),
        (pod({"procMount": "Unmasked"}),
         ['procMount (container "c" must not set securityContext.procMount to "Unmasked")']),
        (pod({"seccompProfile": {"type": "Unconfined"}}),
         ['seccompProfile (container "c" must not set securityContext.seccompProfile.type to "Unconfined")']),
        (pod(securityContext={"sysctls": [{"name": "kernel.msgmax"}, {"name": "net.ipv4.tcp_rmem"}]}),
         ["forbidden sysctls (kernel.msgmax)"]),
        (pod({"seLinuxOptions": {"type": "spc_t", "user": "u"}}),
         ['seLinuxOptions (container "c" set forbidden securityContext.seLinuxOptions: type "spc_t"; user may not be'
          " set)"]),
        (pod({"appArmorProfile": {"type": "Unconfined"}}),
         ['forbidden AppArmor profile (container "c" must not set AppArmor profile type to "Unconfined")']),
        (pod(securityContext={"windowsOptions": {"hostProcess": True}}),
         ["hostProcess (pod must not set securityContext.windowsOptions.hostProcess=true)"]),
        (pod(container={"livenessProbe": {"httpGet": {"host": "10.0.0.1", "port": 1}}}),
         ['probe or lifecycle host (container "c" uses probe or lifecycle host "10.0.0.1")']),
    ],
)  # fmt: skip
def test_baseline(subject: Object, expected: list[str]) -> None:
    assert texts(BASELINE, subject) == expected
    assert texts(Standard(), subject) == []


@pytest.mark.parametrize(
    ("subject", "expected"),
    [
        (pod(HARDENED), []),
        (pod(), [
            'allowPrivilegeEscalation != false (container "c" must set'
            " securityContext.allowPrivilegeEscalation=false)",
            'unrestricted capabilities (container "c" must set securityContext.capabilities.drop=["ALL"])',
            'runAsNonRoot != true (pod or container "c" must set securityContext.runAsNonRoot=true)',
            'seccompProfile (pod or container "c" must set securityContext.seccompProfile.type to "RuntimeDefault" or'
            ' "Localhost")',
        ]),
        (pod({**HARDENED, "capabilities": {"drop": ["ALL"], "add": ["NET_BIND_SERVICE"]}}), []),
        (pod({**HARDENED, "capabilities": {"drop": ["ALL"], "add": ["CHOWN"]}}),
         ['unrestricted capabilities (container "c" must not include "CHOWN" in securityContext.capabilities.add)']),
        (pod({**HARDENED, "runAsUser": 0}), ['runAsUser=0 (container "c" must not set runAsUser=0)']),
        (pod({**HARDENED, "runAsNonRoot": False}),
         ['runAsNonRoot != true (container "c" must not set securityContext.runAsNonRoot=false)']),
        (pod(HARDENED, volumes=[{"name": "v", "nfs": {}}, {"name": "w", "hostPath": {}}, {"name": "x", "secret": {}}]),
         ['restricted volume types (volumes "v", "w" use restricted volume types "hostPath", "nfs")']),
        (pod(HARDENED, hostIPC=True), ["host namespaces (hostIPC=true)"]),
    ],
)  # fmt: skip
def test_restricted(subject: Object, expected: list[str]) -> None:
    assert texts(RESTRICTED, subject) == expected


def test_init_and_ephemeral_containers_count() -> None:
    subject = pod(HARDENED)
    subject["spec"]["initContainers"] = [{"name": "i", "securityContext": {"privileged": True}}]
    subject["spec"]["ephemeralContainers"] = [{"name": "e", "securityContext": {"privileged": True}}]
    assert 'privileged (containers "i", "e" must not set' in texts(BASELINE, subject)[0]


@pytest.mark.parametrize(
    ("version", "subject", "reasons"),
    [
        ("v1.7", pod(), ["runAsNonRoot != true"]),
        ("v1.18", pod(), ["allowPrivilegeEscalation != false", "runAsNonRoot != true"]),
        ("v1.34", pod({**HARDENED, "runAsNonRoot": None}, hostUsers=False), ["runAsNonRoot != true"]),
        ("v1.35", pod({**HARDENED, "runAsNonRoot": None}, hostUsers=False), []),
        ("v1.24", pod(os={"name": "windows"}, securityContext={"runAsNonRoot": True}),
         ["allowPrivilegeEscalation != false", "unrestricted capabilities", "seccompProfile"]),
        ("v1.25", pod(os={"name": "windows"}, securityContext={"runAsNonRoot": True}), []),
    ],
)  # fmt: skip
def test_versions_of_the_standard(version: str, subject: Object, reasons: list[str]) -> None:
    assert [finding.reason for finding in violations(Standard("restricted", version), subject)] == reasons


LABEL = "pod-security.kubernetes.io/"


@pytest.mark.parametrize(
    ("labels", "policy"),
    [
        ({}, Policy()),
        ({"enforce": "baseline"}, Policy(enforce=BASELINE, warn=BASELINE)),
        ({"enforce": "baseline", "enforce-version": "v1.30"},
         Policy(enforce=Standard("baseline", "v1.30"), warn=Standard("baseline", "v1.30"))),
        ({"enforce": "restricted", "warn": "baseline"}, Policy(enforce=RESTRICTED, warn=BASELINE)),
        ({"audit": "restricted"}, Policy(audit=RESTRICTED)),
        ({"enforce": "nonsense"}, Policy(enforce=RESTRICTED)),
        ({"warn": "nonsense", "audit": "x"}, Policy()),
    ],
)  # fmt: skip
def test_labels(labels: dict[str, str], policy: Policy) -> None:
    assert parse_policy({f"{LABEL}{key}": value for key, value in labels.items()})[0] == policy


async def admit(
    readers: FakeReaders, ref: ResourceRef, obj: Object, *, old: Object | None = None
) -> tuple[str, AdmissionRequest]:
    """The refusal ("": none) and the request with its warnings and notes."""
    operation = "UPDATE" if old else "CREATE"
    namespace = "d" if ref.namespaced else ""
    attributes = Attributes(UserInfo("ann"), operation.lower(), ref.group, ref.version, ref.plural, "", namespace)
    request = AdmissionRequest(attributes, BUILTIN.row(ref), operation, obj, old)
    try:
        await PodSecurity(readers=readers).validate(request)
    except ApiError as error:
        return error.message, request
    return "", request


def namespace(**labels: str) -> Object:
    return {
        "metadata": {"name": "d", "labels": {f"{LABEL}{key.replace('_', '-')}": value for key, value in labels.items()}}
    }


async def test_pods_are_refused_warned_of_and_noted() -> None:
    readers = FakeReaders()
    readers.put(NAMESPACES, namespace(enforce="baseline", warn="restricted", audit="restricted"))
    message, request = await admit(readers, PODS, pod({"privileged": True}))
    assert message == (
        'pods "p" is forbidden: violates PodSecurity "baseline:latest": privileged (container "c" must not set'
        " securityContext.privileged=true)"
    )
    message, request = await admit(readers, PODS, pod({**HARDENED, "runAsUser": 0}))
    expected = 'would violate PodSecurity "restricted:latest": runAsUser=0 (container "c" must not set runAsUser=0)'
    assert (message, request.warnings) == ("", [expected])
    assert request.audit == {f"{LABEL}enforce-policy": "baseline:latest", f"{LABEL}audit-violations": expected}


async def test_templates_are_only_warned_of() -> None:
    readers = FakeReaders()
    readers.put(NAMESPACES, namespace(enforce="baseline"))
    deployment = {"metadata": {"name": "web"}, "spec": {"template": pod({"privileged": True})}}
    message, request = await admit(readers, DEPLOYMENTS, deployment)
    assert message == ""
    assert request.warnings[0].startswith('would violate PodSecurity "baseline:latest": privileged')


async def test_updates_that_change_nothing_of_weight() -> None:
    readers = FakeReaders()
    readers.put(NAMESPACES, namespace(enforce="baseline"))
    old = pod({"privileged": True}, container={"image": "a"})
    assert (await admit(readers, PODS, {**old, "metadata": {"name": "p", "labels": {"a": "b"}}}, old=old))[0] == ""
    new = pod({"privileged": True}, container={"image": "b"})
    assert "violates PodSecurity" in (await admit(readers, PODS, new, old=old))[0]


async def test_labels_must_be_valid_when_they_change() -> None:
    readers = FakeReaders()
    message, _ = await admit(readers, NAMESPACES, namespace(enforce="x", warn_version="1.30"))
    assert message == (
        'Namespace "d" is invalid: ['
        'metadata.labels[pod-security.kubernetes.io/enforce]: Invalid value: "x": must be one of privileged, baseline,'
        ' restricted, metadata.labels[pod-security.kubernetes.io/warn-version]: Invalid value: "1.30": must be'
        ' "latest" or "v1.x"]'
    )
    wrong = namespace(enforce="x")
    assert (await admit(readers, NAMESPACES, wrong, old=wrong))[0] == ""


async def test_stricter_namespaces_tell_of_their_pods() -> None:
    readers = FakeReaders()
    for name in ("b", "a", "c"):
        subject = pod({"privileged": True})
        subject["metadata"] = {"namespace": "d", "name": name}
        readers.put(PODS, subject)
    message, request = await admit(readers, NAMESPACES, namespace(enforce="baseline"), old=namespace())
    assert message == ""
    assert request.warnings == [
        'existing pods in namespace "d" violate the new PodSecurity enforce level "baseline:latest"',
        "a (and 2 other pods): privileged",
    ]
    _, request = await admit(readers, NAMESPACES, namespace(), old=namespace(enforce="baseline"))
    assert request.warnings == []

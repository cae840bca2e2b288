"""Plugins that are off unless enabled: kubernetes.io/docs/reference/access-authn-authz/admission-controllers."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from tests.unit.apiserver.admission.reviewing import Permits, admit, pod, refused, review
from timonel.api.errors import NotFound, TooManyRequests
from timonel.api.kinds import BUILTIN
from timonel.api.objects import Object
from timonel.api.refs import CONFIGMAPS, DEPLOYMENTS, EVENTS, NAMESPACES, PODS, SERVICES, ResourceRef
from timonel.apiserver.admission.event_rate_limit import EventLimit, EventRateLimit
from timonel.apiserver.admission.external_ips import DenyServiceExternalIPs
from timonel.apiserver.admission.namespace_placement import PodNodeSelector, PodTolerationRestriction
from timonel.apiserver.admission.namespace_presence import NamespaceAutoProvision, NamespaceExists
from timonel.apiserver.admission.owner_references import OwnerReferencesPermissionEnforcement
from timonel.apiserver.admission.pod_rules import (
    AlwaysPullImages,
    ExtendedResourceToleration,
    LimitPodHardAntiAffinityTopology,
)
from timonel.apiserver.authn.user import UserInfo
from timonel.testing.clock import VirtualClock
from timonel.testing.readers import FakeReaders


async def test_images_are_always_pulled() -> None:
    plugin = AlwaysPullImages()
    made = pod(initContainers=[{"name": "i"}], volumes=[{"name": "v", "image": {"reference": "r"}}])
    made = await admit(plugin, review(PODS, made))
    assert made["spec"]["containers"][0]["imagePullPolicy"] == "Always"
    assert made["spec"]["initContainers"][0]["imagePullPolicy"] == "Always"
    assert made["spec"]["volumes"][0]["image"]["pullPolicy"] == "Always"
    lazy = pod()
    lazy["spec"]["containers"][0] |= {"image": "a", "imagePullPolicy": "Never"}
    request = review(PODS, lazy)
    with pytest.raises(Exception, match="forbidden") as caught:
        await plugin.validate(request)  # some later plugin changed it back
    assert str(caught.value) == (
        'pods "p" is forbidden: spec.containers[0].imagePullPolicy: Unsupported value: "Never": supported values:'
        ' "Always"'
    )
    await plugin.validate(review(PODS, lazy, "UPDATE", old=lazy))


async def test_devices_are_tolerated_by_who_asks_for_them() -> None:
    made = pod(
        tolerations=[{"key": "a.example/x", "operator": "Exists", "effect": "NoSchedule", "tolerationSeconds": 5}]
    )
    made["spec"]["containers"][0]["resources"] = {"requests": {"b.example/y": "1", "a.example/x": "1", "cpu": "1"}}
    made = await admit(ExtendedResourceToleration(), review(PODS, made))
    assert made["spec"]["tolerations"] == [
        {"key": name, "operator": "Exists", "effect": "NoSchedule"} for name in ("a.example/x", "b.example/y")
    ]


async def test_hard_anti_affinity_is_by_host_only() -> None:
    def apart(key: str) -> Object:
        terms = [{"topologyKey": key}]
        return pod(affinity={"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": terms}})

    plugin = LimitPodHardAntiAffinityTopology()
    await admit(plugin, review(PODS, apart("kubernetes.io/hostname")))
    error = await refused(plugin, review(PODS, apart("zone")))
    assert error.message == (
        'pods "p" is forbidden: affinity.PodAntiAffinity.RequiredDuringScheduling has TopologyKey zone but only key'
        " kubernetes.io/hostname is allowed"
    )


async def test_external_addresses_only_stay() -> None:
    def service(*addresses: str) -> Object:
        return {"metadata": {"name": "s"}, "spec": {"externalIPs": list(addresses)}}

    plugin = DenyServiceExternalIPs()
    await admit(plugin, review(SERVICES, service()))
    await admit(plugin, review(SERVICES, service("1.1.1.1"), "UPDATE", old=service("1.1.1.1", "2.2.2.2")))
    for request in (
        review(SERVICES, service("1.1.1.1")),
        review(SERVICES, service("3.3.3.3"), "UPDATE", old=service()),
    ):
        error = await refused(plugin, request)
        assert error.message.endswith("Use of external IPs is denied by admission control")


class NamespaceWriter:
    def __init__(self) -> None:
        self.made: list[str] = []

    async def create(self, ref: ResourceRef, obj: Object, namespace: str = "") -> Any:
        assert ref == NAMESPACES
        self.made.append(obj["metadata"]["name"])

    async def update(self, *args: Any, **kwargs: Any) -> Any:
        raise AssertionError


async def test_missing_namespaces_are_made_or_an_error() -> None:
    readers, writer = FakeReaders(), NamespaceWriter()
    readers.put(NAMESPACES, {"metadata": {"name": "d"}})
    makes = NamespaceAutoProvision(readers=readers, writer=writer)
    for request in (
        review(CONFIGMAPS, {"metadata": {"name": "m"}}, namespace="new"),
        review(CONFIGMAPS, {"metadata": {"name": "m"}}),
        review(CONFIGMAPS, {"metadata": {"name": "m"}}, namespace="dry", dry_run=True),
        review(NAMESPACES, {"metadata": {"name": "x"}}),
    ):
        await admit(makes, request)
    assert writer.made == ["new"]
    exists = NamespaceExists(readers=readers)
    await admit(exists, review(CONFIGMAPS, {"metadata": {"name": "m"}}))
    error = await refused(exists, review(CONFIGMAPS, None, "DELETE", namespace="none"))
    assert isinstance(error, NotFound)


async def test_a_namespace_says_which_nodes_its_pods_may_have() -> None:
    readers = FakeReaders()
    key = "scheduler.alpha.kubernetes.io/node-selector"
    readers.put(NAMESPACES, {"metadata": {"name": "d", "annotations": {key: "disk=ssd, zone=a"}}})
    readers.put(NAMESPACES, {"metadata": {"name": "plain"}})
    plugin = PodNodeSelector(
        readers=readers, selectors={"clusterDefaultNodeSelector": "env=dev", "plain": "env=dev,x=y"}
    )
    made = await admit(plugin, review(PODS, pod(nodeSelector={"own": "1"})))
    assert made["spec"]["nodeSelector"] == {"disk": "ssd", "zone": "a", "own": "1"}
    error = await refused(plugin, review(PODS, pod(nodeSelector={"disk": "hdd"})))
    assert error.message.endswith("pod node label selector conflicts with its namespace node label selector")
    made = await admit(plugin, review(PODS, pod(nodeSelector={"x": "y"}), namespace="plain"))
    assert made["spec"]["nodeSelector"] == {"env": "dev", "x": "y"}
    error = await refused(plugin, review(PODS, pod(nodeSelector={"other": "1"}), namespace="plain"))
    assert error.message.endswith("pod node label selector labels conflict with its namespace whitelist")


async def test_a_namespace_says_what_its_pods_may_tolerate() -> None:
    gpu = {"key": "gpu", "operator": "Exists", "effect": "NoSchedule"}
    readers = FakeReaders()
    prefix = "scheduler.alpha.kubernetes.io/"
    annotations = {
        f"{prefix}defaultTolerations": orjson.dumps([gpu]).decode(),
        f"{prefix}tolerationsWhitelist": orjson.dumps([{"key": "gpu", "operator": "Exists"}]).decode(),
    }
    readers.put(NAMESPACES, {"metadata": {"name": "d", "annotations": annotations}})
    plugin = PodTolerationRestriction(readers=readers)
    made = await admit(plugin, review(PODS, pod()))
    assert made["spec"]["tolerations"] == [gpu]
    wide = {"key": "gpu", "operator": "Exists"}
    made = await admit(plugin, review(PODS, pod(tolerations=[wide])))
    assert made["spec"]["tolerations"] == [wide]  # the default is covered by it
    error = await refused(plugin, review(PODS, pod(tolerations=[{"key": "other", "operator": "Exists"}])))
    assert error.message == (
        "pod tolerations (possibly merged with namespace default tolerations) conflict with its namespace whitelist"
    )


async def test_events_are_limited_by_who_and_where() -> None:
    clock = VirtualClock()
    plugin = EventRateLimit(
        limits=[EventLimit("Namespace", qps=1, burst=2), EventLimit("User", qps=1, burst=3)], clock=clock
    )

    async def send(namespace: str, **fields: Any) -> Any:
        return await admit(plugin, review(EVENTS, {"metadata": {"name": "e"}}, namespace=namespace, **fields))

    await send("a")
    await send("a")
    error = await refused(plugin, review(EVENTS, {"metadata": {"name": "e"}}, namespace="a"))
    assert isinstance(error, TooManyRequests)
    assert error.message == "limit reached on type Namespace for key a"
    error = await refused(plugin, review(EVENTS, {"metadata": {"name": "e"}}, namespace="b"))
    assert error.message == "limit reached on type User for key ann"
    await send("a", dry_run=True)
    await clock.advance(1)
    await send("a")


def owned(*owners: Object) -> Object:
    return {"metadata": {"name": "m", "ownerReferences": list(owners)}}


def owner(block: bool = False, kind: str = "Deployment") -> Object:
    return {"apiVersion": "apps/v1", "kind": kind, "name": "o", "uid": "1", "blockOwnerDeletion": block}


async def test_owners_are_named_by_who_may_delete_and_hold_up() -> None:
    def enforcing(*allowed: tuple[str, str, str]) -> OwnerReferencesPermissionEnforcement:
        return OwnerReferencesPermissionEnforcement(authorizer=Permits(*allowed), table=BUILTIN)

    def update(new: Object, old: Object) -> Any:
        return review(CONFIGMAPS, new, "UPDATE", old=old, name="m")

    nobody = enforcing()
    await admit(nobody, review(CONFIGMAPS, owned(owner())))  # who makes it could as well not have made it
    await admit(nobody, update(owned(owner()), owned(owner())))
    error = await refused(nobody, update(owned(owner()), owned()))
    assert "cannot set an ownerRef on a resource you can't delete: " in error.message
    deletes = enforcing(("delete", "configmaps", "m"))
    await admit(deletes, update(owned(owner()), owned()))
    error = await refused(deletes, update(owned(owner(block=True)), owned(owner())))
    assert (
        "cannot set blockOwnerDeletion if an ownerReference refers to a resource you can't set finalizers on: "
        in error.message
    )
    finalizes = enforcing(("delete", "configmaps", "m"), ("update", f"{DEPLOYMENTS.plural}/finalizers", "o"))
    await admit(finalizes, update(owned(owner(block=True)), owned(owner())))
    error = await refused(finalizes, review(CONFIGMAPS, owned(owner(block=True, kind="Nothing")), user=UserInfo("bob")))
    assert 'no matches for kind "Nothing" in version "apps/v1"' in error.message
    anything = enforcing(("update", "*/finalizers", "*"))
    await admit(anything, review(CONFIGMAPS, owned(owner(block=True, kind="Nothing"))))

"""Source: tasks/inject-data-application; service variables: concepts/services-networking/service."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from tests.unit.kubelet.pods import container, pod
from timonel.api.objects import Object
from timonel.kubelet.containers.environment import (
    ConfigError,
    EnvironmentSource,
    make_environment,
    service_variables,
    visible_services,
)
from timonel.kubelet.containers.expansion import expand

OBJECTS: dict[tuple[str, str], Object] = {
    ("configmap", "cm"): {"data": {"a": "1", "b": "2"}},
    ("secret", "s"): {"data": {"pw": base64.b64encode(b"secret").decode()}},
}


def environment(services: dict[str, str] | None = None, **fields: Any) -> dict[str, str]:
    spec = container("c", **fields)
    source = EnvironmentSource(
        lookup=lambda kind, name: OBJECTS.get((kind, name)),
        pod_ips=("10.0.0.1", "fd00::1"),
        host_ips=("192.0.2.1",),
        allocatable={"cpu": "4", "memory": "8Gi"},
        services=services or {},
    )
    of = pod(spec, serviceAccountName="sa")
    of["metadata"]["labels"] = {"app": "web"}
    return make_environment(of, spec, source)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("$(A)", "1"), ("x$(A)y$(A)", "x1y1"), ("$$(A)", "$(A)"), ("$$$(A)", "$1"), ("$(NOPE)", "$(NOPE)"),
        ("$A", "$A"), ("$(A", "$(A"), ("a$", "a$"), ("", ""),
    ],
)  # fmt: skip
def test_references(text: str, value: str) -> None:
    assert expand(text, {"A": "1"}.get) == value


def test_later_variables_see_earlier_ones_and_services() -> None:
    env = [{"name": "A", "value": "1"}, {"name": "B", "value": "$(A)-$(WEB_PORT)-$(C)"}, {"name": "C", "value": "3"}]
    assert environment({"WEB_PORT": "80"}, env=env) == {"A": "1", "B": "1-80-$(C)", "C": "3", "WEB_PORT": "80"}


def test_sources() -> None:
    env = [
        {"name": "A", "valueFrom": {"configMapKeyRef": {"name": "cm", "key": "a"}}},
        {"name": "P", "valueFrom": {"secretKeyRef": {"name": "s", "key": "pw"}}},
        {"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
        {"name": "IPS", "valueFrom": {"fieldRef": {"fieldPath": "status.podIPs"}}},
        {"name": "HOST", "valueFrom": {"fieldRef": {"fieldPath": "status.hostIP"}}},
        {"name": "APP", "valueFrom": {"fieldRef": {"fieldPath": "metadata.labels['app']"}}},
        {"name": "NODE", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}},
        {"name": "CPU", "valueFrom": {"resourceFieldRef": {"resource": "limits.cpu", "divisor": "1m"}}},
        {"name": "MEM", "valueFrom": {"resourceFieldRef": {"resource": "requests.memory", "divisor": "1Mi"}}},
        {"name": "ALL", "valueFrom": {"resourceFieldRef": {"resource": "limits.memory", "divisor": "1Gi"}}},
    ]
    resources = {"limits": {"cpu": "250m"}, "requests": {"memory": "1500Ki"}}
    assert environment(env=env, resources=resources) == {
        "A": "1", "P": "secret", "IP": "10.0.0.1", "IPS": "10.0.0.1,fd00::1", "HOST": "192.0.2.1", "APP": "web",
        "NODE": "n1", "CPU": "250", "MEM": "2", "ALL": "8",
    }  # fmt: skip


def test_whole_objects_come_first_and_are_overridden() -> None:
    sources = [{"configMapRef": {"name": "cm"}, "prefix": "X_"}, {"secretRef": {"name": "s"}}]
    assert environment(envFrom=sources, env=[{"name": "X_a", "value": "9"}]) == {"X_a": "9", "X_b": "2", "pw": "secret"}


def test_what_is_missing_and_not_optional_is_an_error() -> None:
    with pytest.raises(ConfigError, match='configmap "no" not found'):
        environment(envFrom=[{"configMapRef": {"name": "no"}}])
    with pytest.raises(ConfigError, match="couldn't find key z in ConfigMap default/cm"):
        environment(env=[{"name": "A", "valueFrom": {"configMapKeyRef": {"name": "cm", "key": "z"}}}])
    with pytest.raises(ConfigError, match='secret "no" not found'):
        environment(env=[{"name": "A", "valueFrom": {"secretKeyRef": {"name": "no", "key": "z"}}}])
    optional = {"name": "no", "key": "z", "optional": True}
    assert environment(env=[{"name": "A", "valueFrom": {"configMapKeyRef": optional}}]) == {}


def service(name: str, namespace: str, ip: str = "10.96.0.7") -> Object:
    ports = [{"name": "http", "port": 80, "protocol": "TCP"}, {"name": "dns", "port": 53, "protocol": "UDP"}]
    return {"metadata": {"name": name, "namespace": namespace}, "spec": {"clusterIP": ip, "ports": ports}}


def test_service_variables() -> None:
    assert service_variables([service("redis-primary", "default"), service("headless", "default", "None")]) == {
        "REDIS_PRIMARY_SERVICE_HOST": "10.96.0.7",
        "REDIS_PRIMARY_SERVICE_PORT": "80",
        "REDIS_PRIMARY_SERVICE_PORT_HTTP": "80",
        "REDIS_PRIMARY_SERVICE_PORT_DNS": "53",
        "REDIS_PRIMARY_PORT": "tcp://10.96.0.7:80",
        "REDIS_PRIMARY_PORT_80_TCP": "tcp://10.96.0.7:80",
        "REDIS_PRIMARY_PORT_80_TCP_PROTO": "tcp",
        "REDIS_PRIMARY_PORT_80_TCP_PORT": "80",
        "REDIS_PRIMARY_PORT_80_TCP_ADDR": "10.96.0.7",
        "REDIS_PRIMARY_PORT_53_UDP": "udp://10.96.0.7:53",
        "REDIS_PRIMARY_PORT_53_UDP_PROTO": "udp",
        "REDIS_PRIMARY_PORT_53_UDP_PORT": "53",
        "REDIS_PRIMARY_PORT_53_UDP_ADDR": "10.96.0.7",
    }


def test_which_services_a_pod_sees() -> None:
    services = [service("kubernetes", "default"), service("a", "team"), service("b", "other")]
    assert [s["metadata"]["name"] for s in visible_services(services, "team", True)] == ["kubernetes", "a"]
    assert [s["metadata"]["name"] for s in visible_services(services, "team", False)] == ["kubernetes"]

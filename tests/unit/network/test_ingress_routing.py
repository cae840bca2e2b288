"""Ingresses become one table of hosts and paths, and that becomes HAProxy's files."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from timonel.api.objects import ObjectKey
from timonel.network.ingress.controller import pem_of
from timonel.network.ingress.haproxy import render_files
from timonel.network.ingress.routing import Backend, Certificate, Route, Routing, plan_routing

Object = dict[str, Any]
CLASSES = [
    {"metadata": {"name": "timonel"}, "spec": {"controller": "timonel.dev/ingress"}},
    {"metadata": {"name": "other"}, "spec": {"controller": "example.org/other"}},
]
SERVICES = {
    ObjectKey("shop", name): {"spec": {"clusterIP": address, "ports": [{"name": "http", "port": 80}]}}
    for name, address in (("web", "10.96.0.20"), ("api", "10.96.0.21"), ("headless", "None"))
}
WEB, API = Backend("shop", "web", 80, "10.96.0.20"), Backend("shop", "api", 80, "10.96.0.21")


def to(service: str, **port: Any) -> Object:
    return {"service": {"name": service, "port": port or {"number": 80}}}


def path(text: str, service: str = "web", kind: str = "Prefix", **port: Any) -> Object:
    return {"path": text, "pathType": kind, "backend": to(service, **port)}


def rule(host: str, *paths: Object) -> Object:
    return {"host": host, "http": {"paths": list(paths)}}


def ingress(name: str, *rules: Object, created: str = "2026-01-01T00:00:00Z", **spec: Any) -> Object:
    metadata = {"name": name, "namespace": "shop", "creationTimestamp": created}
    return {"metadata": metadata, "spec": {"ingressClassName": "timonel", "rules": list(rules), **spec}}


def plan(*ingresses: Object, secrets: tuple[ObjectKey, ...] = ()) -> Routing:
    return plan_routing(ingresses, CLASSES, SERVICES, secrets)


KEY = ObjectKey("shop", "a")


def test_hosts_and_paths() -> None:
    made = plan(
        ingress("a", rule("Example.org", path("/"), path("/api", "api"), path("/x", kind="Exact", name="http")))
    )
    assert made.routes == (
        Route("example.org", "/", False, WEB),
        Route("example.org", "/api/", False, API),
        Route("example.org", "/x", True, WEB),
    )
    assert made.served == (KEY,)
    assert made.problems == {}


def test_only_our_classes_are_served() -> None:
    assert plan(ingress("a", rule("x.org", path("/")), ingressClassName="other")).served == ()
    old = ingress("a", rule("x.org", path("/")), ingressClassName=None)
    assert plan(old).served == ()
    old["metadata"]["annotations"] = {"kubernetes.io/ingress.class": "timonel"}
    assert plan(old).served == (KEY,)


def test_the_older_of_two_has_what_both_want() -> None:
    younger = ingress("a", rule("x.org", path("/", "api")), created="2026-02-01T00:00:00Z", defaultBackend=to("api"))
    older = ingress("b", rule("x.org", path("/")), defaultBackend=to("web"))
    made = plan(younger, older)
    assert made.routes == (Route("x.org", "/", False, WEB),)
    assert made.default == WEB
    assert made.problems == {
        KEY: (
            "the default backend is another Ingress's, which is older",
            "x.org / is another Ingress's, which is older",
        )
    }


@pytest.mark.parametrize(
    ("paths", "problem"),
    [
        ([path("/", "gone")], "Service gone is not there"),
        ([path("/", "web", number=81)], "Service web has no such port"),
        ([path("/", "headless")], "Service headless has no address of its own"),
        ([{"path": "/", "backend": {"resource": {}}}], "backends that are no Services are not served"),
        ([path("/a b")], "path '/a b' cannot be served: it is no path of a URL"),
        ([path("/x\nfrontend evil")], "path '/x\\nfrontend evil' cannot be served: it is no path of a URL"),
    ],
)
def test_what_cannot_be_served_is_told(paths: list[Object], problem: str) -> None:
    made = plan(ingress("a", rule("x.org", *paths)))
    assert made.problems == {KEY: (problem,)}
    assert all(route.backend.address == "" for route in made.routes)


def test_certificates_of_secrets_that_are_there() -> None:
    tls = [{"hosts": ["x.org", "*.y.org"], "secretName": "cert"}, {"hosts": ["z.org"], "secretName": "gone"}]
    made = plan(ingress("a", rule("x.org", path("/")), tls=tls), secrets=(ObjectKey("shop", "cert"),))
    assert made.certificates == (Certificate(("*.y.org", "x.org"), ObjectKey("shop", "cert")),)
    assert made.problems == {KEY: ("Secret gone is not there, or holds no certificate and key",)}


def test_files_of_a_routing() -> None:
    routing = Routing(
        (Route("", "/", False, WEB), Route("*.x.org", "/api/", False, API), Route("x.org", "/one", True, API)),
        WEB,
        (Certificate(("x.org",), ObjectKey("shop", "cert")),),
    )
    files = render_files(routing, {ObjectKey("shop", "cert"): "PEM\n"}, folder="/f", socket="/s", http=80, https=443)
    assert files["hosts.map"] == "* *\n*.x.org *.x.org\nx.org x.org\n"
    assert files["exact.map"] == "x.org/one shop:api:80\n"
    assert files["prefix.map"] == "*/ shop:web:80\n*.x.org/api/ shop:api:80\n"
    (pem,) = [name for name in files if name.endswith(".pem")]
    assert files[pem] == "PEM\n"
    assert files["certificates"] == f"/f/{pem} [alpn h2,http/1.1] x.org\n"
    configuration = files["haproxy.cfg"]
    assert "  bind :80\n  bind :443 ssl crt-list /f/certificates\n" in configuration
    assert "  default_backend shop:web:80\n" in configuration
    assert "backend shop:api:80\n  server service 10.96.0.21:80\n" in configuration
    # What users write is data in maps, and nothing else.
    assert "x.org" not in configuration


def test_without_certificates_nothing_listens_for_tls() -> None:
    files = render_files(Routing((Route("", "/", False, WEB),)), {}, folder="/f", socket="/s", http=80, https=443)
    assert "443" not in files["haproxy.cfg"]
    assert "  default_backend nobody\n" in files["haproxy.cfg"]


def test_a_secret_is_a_chain_and_a_key() -> None:
    def secret(**data: str) -> Object:
        return {"data": {name: base64.b64encode(text.encode()).decode() for name, text in data.items()}}

    one, other = "-----BEGIN CERTIFICATE-----\n", "-----BEGIN PRIVATE KEY-----"
    assert pem_of(secret(**{"tls.crt": one, "tls.key": other})) == f"{one}{other}\n"
    assert pem_of(secret(**{"tls.crt": one})) == ""
    assert pem_of(secret(**{"tls.crt": one, "tls.key": "x"})) == ""
    assert pem_of({"data": {"tls.crt": "%", "tls.key": "%"}}) == ""

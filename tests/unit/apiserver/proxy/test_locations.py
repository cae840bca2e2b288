"""What a request for a pod's stream becomes at the kubelet."""

from __future__ import annotations

import pytest

from timonel.api.errors import ApiError, BadRequest, Invalid
from timonel.api.objects import Object
from timonel.apiserver.proxy import locations
from timonel.apiserver.proxy.backends import endpoints_of


def pod(*names: str) -> Object:
    return {
        "metadata": {"namespace": "d", "name": "p"},
        "spec": {"containers": [{"name": name} for name in names], "initContainers": [{"name": "setup"}]},
    }


ONE, TWO = pod("a"), pod("a", "b")


def test_the_container() -> None:
    assert locations.choose_container(ONE, "") == "a"
    assert locations.choose_container(TWO, "setup") == "setup"
    with pytest.raises(BadRequest, match=r"^container x is not valid for pod p$"):
        locations.choose_container(ONE, "x")
    with pytest.raises(BadRequest) as caught:
        locations.choose_container(TWO, "")
    assert caught.value.message == "a container name must be specified for pod p, choose one of: [setup a b]"


def test_exec() -> None:
    query = {
        "command": ["sh", "-c", "echo a&b"],
        "stdin": ["true"],
        "stdout": ["true"],
        "stderr": ["false"],
        "tty": ["1"],
    }
    assert locations.stream_path("exec", ONE, query) == (
        "/exec/d/p/a?input=1&output=1&tty=1&command=sh&command=-c&command=echo+a%26b"
    )


def test_attach() -> None:
    assert locations.stream_path("attach", TWO, {"container": ["b"], "stdout": ["true"]}) == "/attach/d/p/b?output=1"


def test_port_forward() -> None:
    assert locations.port_forward_path(ONE, {}) == "/portForward/d/p"
    assert locations.port_forward_path(ONE, {"ports": ["80", "443"]}) == "/portForward/d/p?port=80%2C443"
    with pytest.raises(BadRequest):
        locations.port_forward_path(ONE, {"ports": ["x"]})


def test_log() -> None:
    query = {
        "follow": ["true"], "previous": ["false"], "timestamps": ["true"], "tailLines": ["0"],
        "sinceSeconds": ["5"], "limitBytes": ["10"],
    }  # fmt: skip
    assert locations.log_path(ONE, query) == (
        "/containerLogs/d/p/a?follow=true&timestamps=true&sinceSeconds=5&tailLines=0&limitBytes=10&stream=All"
    )


@pytest.mark.parametrize(
    ("query", "error", "message"),
    [
        ({"tailLines": ["-1"]}, Invalid, "tailLines: Invalid value: -1: must be greater than or equal to 0"),
        ({"limitBytes": ["0"]}, Invalid, "limitBytes: Invalid value: 0: must be greater than 0"),
        ({"sinceSeconds": ["0"]}, Invalid, "sinceSeconds: Invalid value: 0: must be greater than 0"),
        ({"sinceSeconds": ["1"], "sinceTime": ["2026-01-01T00:00:00Z"]}, Invalid, "at most one of"),
        ({"tailLines": ["x"]}, BadRequest, 'parsing "x": invalid syntax'),
        ({"sinceTime": ["yesterday"]}, BadRequest, "yesterday"),
        ({"stream": ["Nothing"]}, Invalid, 'stream: Unsupported value: "Nothing"'),
    ],
)
def test_bad_log_options(query: dict[str, list[str]], error: type[ApiError], message: str) -> None:
    with pytest.raises(error) as caught:
        locations.log_path(ONE, query)
    assert message in caught.value.message


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("web", ("", "web", "")),
        ("web:80", ("", "web", "80")),
        ("web:http", ("", "web", "http")),
        ("https:web:8443", ("https", "web", "8443")),
        ("http:web:", ("http", "web", "")),
        ("ftp:web:1", None),
        ("a:b:c:d", None),
        ("", None),
    ],
)
def test_names_with_scheme_and_port(text: str, parts: tuple[str, str, str] | None) -> None:
    assert locations.split_scheme_name_port(text) == parts


@pytest.mark.parametrize("address", ["127.0.0.1", "::1", "169.254.169.254", "224.0.0.1", "0.0.0.0", "", "name"])
def test_addresses_never_proxied_to(address: str) -> None:
    with pytest.raises(BadRequest, match="address not allowed"):
        locations.pod_address({"status": {"podIP": address}})


def test_endpoints_of_a_service() -> None:
    service = {
        "metadata": {"name": "web"},
        "spec": {"ports": [{"name": "http", "port": 80, "targetPort": 8080}, {"name": "tls", "port": 443}]},
    }
    part = {
        "ports": [{"name": "http", "port": 8080}, {"name": "tls", "port": 8443}],
        "endpoints": [
            {"addresses": ["10.0.0.1"], "conditions": {"ready": True}},
            {"addresses": ["10.0.0.2"], "conditions": {"ready": False}},
            {"addresses": ["10.0.0.3"]},
        ],
    }
    assert endpoints_of(service, [part], "80") == [("10.0.0.1", 8080), ("10.0.0.3", 8080)]
    assert endpoints_of(service, [part], "tls") == [("10.0.0.1", 8443), ("10.0.0.3", 8443)]
    for name in ("", "9" * 5000, "\u00b2"):
        assert endpoints_of(service, [part], name) == []
    with pytest.raises(ApiError) as caught:
        endpoints_of(service, [part], "81")
    assert caught.value.message == 'no service port 81 found for service "web"'

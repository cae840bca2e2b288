"""Image names, credentials, back-off. Source: concepts/containers/images."""

from __future__ import annotations

import base64
from typing import Any

import orjson
import pytest

from timonel.api.objects import Object
from timonel.kubelet.images.credentials import credentials_for
from timonel.kubelet.images.reference import InvalidImageName, repository, with_default_tag
from timonel.kubelet.pods.backoff import BackOff, format_delay


@pytest.mark.parametrize(
    ("image", "full"),
    [
        ("nginx", "nginx:latest"), ("nginx:1.27", "nginx:1.27"), ("a.io:5000/b/c", "a.io:5000/b/c:latest"),
        ("nginx@sha256:" + "a" * 64, "nginx@sha256:" + "a" * 64),
        ("x:1@sha256:" + "a" * 64, "x:1@sha256:" + "a" * 64),
        ("sha256:" + "a" * 64, "sha256:" + "a" * 64),
    ],
)  # fmt: skip
def test_default_tags(image: str, full: str) -> None:
    assert with_default_tag(image) == full


@pytest.mark.parametrize("image", ["", "NGINX", "a::b", "a/b:", "http://x/y", "-x", "a b"])
def test_names_that_are_none(image: str) -> None:
    with pytest.raises(InvalidImageName):
        with_default_tag(image)


def test_repositories() -> None:
    assert repository("nginx") == ("docker.io", "library/nginx")
    assert repository("team/app:1") == ("docker.io", "team/app")
    assert repository("127.0.0.1:5000/app:1") == ("127.0.0.1:5000", "app")
    assert repository("localhost/app") == ("localhost", "app")


def secret(**auths: Any) -> Object:
    data = base64.b64encode(orjson.dumps({"auths": auths})).decode()
    return {"type": "kubernetes.io/dockerconfigjson", "data": {".dockerconfigjson": data}}


def users(image: str, *secrets: Object) -> list[str]:
    return [auth.username for auth in credentials_for(image, secrets)]


def test_credentials_match_host_and_path() -> None:
    basic = base64.b64encode(b"ann:pw").decode()
    own = secret(**{"reg.example.com": {"auth": basic}, "reg.example.com/team": {"username": "bob", "password": "x"}})
    assert users("reg.example.com/team/app", own) == ["bob", "ann"]
    assert users("reg.example.com/teams/app", own) == ["ann"]
    assert users("other.example.com/app", own) == []
    assert credentials_for("reg.example.com/x", [own])[0].password == "pw"


def test_credentials_with_wildcards_and_docker_hub() -> None:
    assert users("a.example.com/x", secret(**{"*.example.com": {"username": "u"}})) == ["u"]
    assert users("a.b.example.com/x", secret(**{"*.example.com": {"username": "u"}})) == []
    assert users("nginx", secret(**{"https://index.docker.io/v1/": {"username": "hub"}})) == ["hub"]


def test_broken_secrets_are_no_credentials() -> None:
    broken = {"type": "kubernetes.io/dockerconfigjson", "data": {".dockerconfigjson": "eA=="}}
    assert credentials_for("nginx", [broken]) == []


@pytest.mark.parametrize(
    "odd", [{"auth": "not base64!"}, {"auth": 1}, {"username": ["a"]}, {"username": "u", "password": 1}]
)
def test_entries_that_are_no_credentials_leave_the_others(odd: Object) -> None:
    both = secret(**{"reg.example.com": odd, "reg.example.com/team": {"username": "bob", "password": "x"}})
    assert users("reg.example.com/team/app", both) == ["bob"]


@pytest.mark.parametrize("text", [b"[]", b'"x"', b"1", b'{"auths": []}'])
def test_json_that_is_no_configuration(text: bytes) -> None:
    data = {".dockerconfigjson": base64.b64encode(text).decode()}
    assert credentials_for("nginx", [{"type": "kubernetes.io/dockerconfigjson", "data": data}]) == []


def test_back_off_doubles_to_five_minutes_and_forgets_after_ten() -> None:
    back_off = BackOff()
    assert back_off.until("k", 0) is None
    delays = []
    now = 0.0
    for _ in range(7):
        back_off.fail("k", now, now)
        delays.append(back_off.delay("k"))
        now += delays[-1]
    assert delays == [10, 20, 40, 80, 160, 300, 300]
    assert back_off.until("k", now) == now + 300
    assert back_off.until("k", now + 601) is None


def test_delays_are_printed_as_go_does() -> None:
    assert [format_delay(seconds) for seconds in (10, 80, 160, 300)] == ["10s", "1m20s", "2m40s", "5m0s"]

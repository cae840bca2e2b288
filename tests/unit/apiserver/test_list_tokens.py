"""Continue tokens, and which list options contradict each other (KEP-2340)."""

from __future__ import annotations

import base64

import pytest

from timonel.api.errors import BadRequest, Invalid
from timonel.apiserver.registry.listing import ListOptions, check_list_options, decode_token, encode_token


def test_a_token_carries_the_revision_and_the_last_key():
    assert decode_token(encode_token(42, "/registry/pods/a/ü")) == (42, "/registry/pods/a/ü")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"nonsense",
        b"[]",
        b'{"v":"meta.k8s.io/v2","rv":1,"start":"a"}',
        b'{"v":"meta.k8s.io/v1","rv":"1","start":"a"}',
        b'{"v":"meta.k8s.io/v1","rv":0,"start":"a"}',
        b'{"v":"meta.k8s.io/v1","rv":-2,"start":"a"}',
        b'{"v":"meta.k8s.io/v1","rv":1}',
    ],
)
def test_tokens_that_are_none(content):
    with pytest.raises(BadRequest, match="continue key is not valid"):
        decode_token(base64.urlsafe_b64encode(content).decode())
    with pytest.raises(BadRequest):
        decode_token("é!")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (ListOptions(match="Exact"), "resourceVersionMatch is forbidden unless resourceVersion is provided"),
        (ListOptions(match="Exact", resource_version="0"), 'resourceVersionMatch "exact" is forbidden'),
        (ListOptions(match="Some", resource_version="1"), 'supported values: "Exact", "NotOlderThan"'),
        (
            ListOptions(match="NotOlderThan", resource_version="1", continue_="x"),
            "resourceVersionMatch is forbidden when continue is provided",
        ),
    ],
)
def test_options_that_contradict_each_other(options, message):
    with pytest.raises(Invalid, match=message):
        check_list_options(options)


def test_a_revision_and_a_token():
    with pytest.raises(BadRequest, match="specifying resource version is not allowed when using continue"):
        check_list_options(ListOptions(resource_version="5", continue_="x"))

"""Accept headers as real clients send them."""

from __future__ import annotations

import pytest

from timonel.api.errors import NotAcceptable
from timonel.apiserver.negotiation import Answer, is_pretty, negotiate

KUBECTL_GET = (
    "application/json;as=Table;v=v1;g=meta.k8s.io,application/json;as=Table;v=v1beta1;g=meta.k8s.io,application/json"
)


@pytest.mark.parametrize(
    ("accept", "answer"),
    [
        ("", Answer()),
        ("*/*", Answer()),
        ("application/*", Answer()),
        ("application/json", Answer()),
        (KUBECTL_GET, Answer(transform="Table")),
        ("application/json;as=Table;v=v1beta1;g=meta.k8s.io", Answer(transform="Table", version="v1beta1")),
        ("application/json;as=Table;v=v9;g=meta.k8s.io,application/json", Answer()),
        ("application/vnd.kubernetes.protobuf,application/json", Answer()),
        ("application/vnd.kubernetes.protobuf;stream=watch,application/json;stream=watch", Answer(stream=True)),
        ("application/yaml", Answer("application/yaml")),
        ("application/yaml;q=0.5, application/json", Answer()),
        ("text/html,application/xml;q=0.9,*/*;q=0.8", Answer()),
        (
            "application/vnd.kubernetes.protobuf;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,"
            "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json",
            Answer(transform="PartialObjectMetadataList"),
        ),
    ],
)
def test_the_first_clause_that_can_be_served(accept, answer):
    assert negotiate(accept) == answer


@pytest.mark.parametrize("accept", ["application/vnd.kubernetes.protobuf", "text/plain", "application/json;q=0", ",;,"])
def test_what_cannot_be_served(accept):
    with pytest.raises(NotAcceptable, match="only the following media types are accepted: application/json"):
        negotiate(accept)


def test_people_get_indented_answers():
    assert is_pretty(None, "curl/8.0")
    assert not is_pretty(None, "kubectl/v1.36.0")
    assert not is_pretty(["false"], "curl/8.0")
    assert is_pretty(["true"], "kubectl/v1.36.0")

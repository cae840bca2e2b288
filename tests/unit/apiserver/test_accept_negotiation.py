"""Accept headers as real clients send them, and as nobody does."""

from __future__ import annotations

import pytest

from timonel.api.errors import NotAcceptable
from timonel.apiserver.negotiation import Answer, check_list_form, is_pretty, negotiate, negotiate_error

PROTOBUF = "application/vnd.kubernetes.protobuf"
TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io"
KUBECTL_GET = f"{TABLE},application/json;as=Table;v=v1beta1;g=meta.k8s.io,application/json"


@pytest.mark.parametrize(
    ("accept", "answer"),
    [
        ("", Answer()),
        ("*/*", Answer()),
        ("application/json", Answer()),
        ("application/json;charset=utf-8", Answer()),
        ("application/json;pretty=1", Answer(pretty=True)),
        ("application/json; q=0", Answer()),
        ("application/json;sv=v1", Answer()),
        (KUBECTL_GET, Answer(transform="Table")),
        ("application/json;as=Table;v=v1beta1;g=meta.k8s.io", Answer(transform="Table", version="v1beta1")),
        ("application/json;as=Table;v=v9;g=meta.k8s.io,application/json", Answer()),
        (f"{PROTOBUF},application/json", Answer()),
        (f"{PROTOBUF};stream=watch,application/json;stream=watch", Answer(stream=True)),
        (PROTOBUF, Answer(PROTOBUF)),
        (f"{PROTOBUF},application/yaml", Answer(PROTOBUF)),
        (f"{PROTOBUF};as=Table;v=v1;g=meta.k8s.io,{TABLE}", Answer(transform="Table")),
        ("application/yaml", Answer("application/yaml")),
        ("application/yaml;as=Table;v=v1;g=meta.k8s.io", Answer("application/yaml", "Table")),
        ("application/yaml;q=0.5, application/json", Answer()),
        ("application/yaml;q=0.9,application/json;q=0.1", Answer("application/yaml")),
        ("text/html,application/xml;q=0.9,*/*;q=0.8", Answer()),
        (
            f"{PROTOBUF};as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,"
            "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json",
            Answer(transform="PartialObjectMetadataList"),
        ),
        (
            f"{PROTOBUF};as=PartialObjectMetadata;g=meta.k8s.io;v=v1",
            Answer(PROTOBUF, transform="PartialObjectMetadata"),
        ),
    ],
)
def test_the_first_clause_that_can_be_served(accept, answer):
    assert negotiate(accept) == answer


@pytest.mark.parametrize(
    "accept",
    ["text/plain", "text/*", "application/*", "*", "application/cbor", "APPLICATION/JSON", "application/json/x", ",;,"],
)
def test_types_that_nobody_here_speaks(accept):
    with pytest.raises(NotAcceptable, match=r"^406: Not Acceptable\n\nAvailable representations: application/json, "):
        negotiate(accept)


@pytest.mark.parametrize(
    "accept",
    [
        "application/json;as=Foo;v=v1;g=meta.k8s.io",
        "application/json;as=Table",
        "application/json;g=meta.k8s.io",
        "application/json;stream=foo",
        "application/json;sv=v2",
        f"{PROTOBUF};as=Table;v=v1;g=meta.k8s.io",
    ],
)
def test_parameters_that_cannot_be_honoured(accept):
    with pytest.raises(NotAcceptable) as refused:
        negotiate(accept)
    assert refused.value.message == (
        "only the following media types are accepted: application/json, application/yaml, " + PROTOBUF
    )
    assert negotiate_error(accept) == Answer(pretty=True)


def test_a_kind_without_messages_has_no_protobuf_but_its_metadata_has():
    with pytest.raises(NotAcceptable, match=r"application/json, application/yaml$"):
        negotiate(PROTOBUF, protobuf=False)
    assert negotiate(f"{PROTOBUF},application/yaml", protobuf=False) == Answer("application/yaml")
    metadata = f"{PROTOBUF};as=PartialObjectMetadata;g=meta.k8s.io;v=v1"
    assert negotiate(metadata, protobuf=False).media_type == PROTOBUF


@pytest.mark.parametrize(
    ("accept", "answer"),
    [
        ("", Answer()),
        (TABLE, Answer(pretty=True)),
        (f"{TABLE},application/yaml", Answer("application/yaml")),
        (KUBECTL_GET, Answer()),
        ("application/yaml", Answer("application/yaml")),
        (PROTOBUF, Answer(PROTOBUF)),
        ("text/plain", Answer(pretty=True)),
    ],
)
def test_the_form_of_errors(accept, answer):
    assert negotiate_error(accept) == answer


def test_metadata_of_one_object_is_no_list_of_it():
    with pytest.raises(NotAcceptable, match=r"requested PartialObjectMetadata, but .* is a list \(\*core.PodList\)"):
        check_list_form(Answer(transform="PartialObjectMetadata"), "*core.Pod", is_list=True)
    with pytest.raises(NotAcceptable, match=r"but the requested object is not a list \(\*core.Pod\)"):
        check_list_form(Answer(transform="PartialObjectMetadataList"), "*core.Pod", is_list=False)
    check_list_form(Answer(transform="Table"), "*core.Pod", is_list=True)


def test_people_get_indented_answers():
    assert is_pretty(None, "curl/8.0")
    assert not is_pretty(None, "kubectl/v1.36.0")
    assert not is_pretty(["false"], "curl/8.0")
    assert is_pretty([""], "curl/8.0")
    assert not is_pretty(["yes"], "curl/8.0")
    assert is_pretty(["true"], "kubectl/v1.36.0")

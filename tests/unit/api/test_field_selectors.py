import pytest

from timonel.api.fields import InvalidFieldSelector, parse_field_selector

_VALUES = {"metadata.name": "a", "status.phase": "Running"}


@pytest.mark.parametrize(
    ("text", "matches"),
    [
        ("", True), ("metadata.name=a", True), ("metadata.name==a", True), ("metadata.name!=a", False),
        ("status.phase=Running,metadata.name=b", False), ("spec.nodeName=", True), ("spec.nodeName!=", False),
    ],
)  # fmt: skip
def test_matching(text: str, matches: bool) -> None:
    selector = parse_field_selector(text)
    assert selector.matches(_VALUES) is matches
    assert selector.matches(lambda path: _VALUES.get(path, "")) is matches


def test_escapes() -> None:
    selector = parse_field_selector(r"a=x\,y\=z\\")
    assert selector.requirements == (("a", "=", "x,y=z\\"),)
    assert str(selector) == r"a=x\,y\=z\\"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a", "invalid selector: 'a'; can't understand 'a'"),
        (r"a=\x", r"invalid field selector: invalid escape sequence: \x"),
        ("a=b=c", "invalid field selector: unescaped character in value: 61"),
    ],
)
def test_errors(text: str, message: str) -> None:
    with pytest.raises(InvalidFieldSelector) as caught:
        parse_field_selector(text)
    assert str(caught.value) == message


def test_exact_value_serves_indexes() -> None:
    selector = parse_field_selector("spec.nodeName=n1,status.phase!=Failed")
    assert selector.exact_value("spec.nodeName") == "n1"
    assert selector.exact_value("status.phase") is None

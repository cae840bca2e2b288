import pytest

from timonel.api.labels import (
    InvalidSelector,
    make_requirement,
    parse_label_selector,
    selector_from_map,
    selector_from_object,
)  # fmt: skip

_LABELS = {"app": "web", "tier": "front", "size": "5", "empty": ""}


@pytest.mark.parametrize(
    ("text", "matches"),
    [
        ("", True), ("app=web", True), ("app==web", True), ("app!=web", False), ("app=other", False),
        ("app in (web, api)", True), ("app notin (web)", False), ("app", True), ("!app", False), ("!none", True),
        ("none!=x", True), ("none notin (x)", True), ("none=", False), ("empty=", True), ("empty in ()", True),
        ("size>4", True), ("size<5", False), ("app>1", False), ("app=web,tier=back", False), ("in=x", False),
        ("app in (,web)", True), ("  app  =  web  ", True),
    ],
)  # fmt: skip
def test_text_selectors(text: str, matches: bool) -> None:
    assert parse_label_selector(text).matches(_LABELS) is matches


@pytest.mark.parametrize(
    ("text", "spelled"),
    [
        ("b=c,a", "a,b=c"), ("x in (c,a,b)", "x in (a,b,c)"), ("!a", "!a"), ("a==b", "a==b"), ("a>1", "a>1"),
        ("a notin (b)", "a notin (b)"),
    ],
)  # fmt: skip
def test_selectors_are_spelled_sorted(text: str, spelled: str) -> None:
    assert str(parse_label_selector(text)) == spelled
    assert parse_label_selector(spelled) == parse_label_selector(text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (",", "found ',', expected: !, identifier, or 'end of string'"),
        ("a,,b", "found ',', expected: identifier after ','"),
        ("a,", "found '', expected: identifier after ','"),
        ("a=b c", "found 'c', expected: ',' or 'end of string'"),
        ("a in b", "unable to parse requirement: found 'b' expected: '('"),
        ("a in (b", "unable to parse requirement: found '', expected: ',' or ')'"),
        ("a b", "unable to parse requirement: found 'b', expected: in, notin, =, ==, !=, gt, lt"),
        ("!", "unable to parse requirement: found '', expected: identifier"),
    ],
)
def test_syntax_errors(text: str, message: str) -> None:
    with pytest.raises(InvalidSelector) as caught:
        parse_label_selector(text)
    assert str(caught.value) == message


def test_keys_and_values_are_checked() -> None:
    with pytest.raises(InvalidSelector, match='unable to parse requirement: <nil>: Invalid value: "a_": name part'):
        parse_label_selector("a_=b")
    with pytest.raises(InvalidSelector, match=r'values\[0\]\[a\]: Invalid value: "-b": a valid label must be'):
        parse_label_selector("a=-b")
    with pytest.raises(InvalidSelector, match="'Gt', 'Lt' operators, the value must be an integer"):
        parse_label_selector("a>b")


def test_label_selector_object() -> None:
    assert not selector_from_object(None).matches(_LABELS)
    assert selector_from_object({}).matches(_LABELS)
    selector = selector_from_object(
        {
            "matchLabels": {"app": "web"},
            "matchExpressions": [
                {"key": "tier", "operator": "In", "values": ["front", "back"]},
                {"key": "none", "operator": "DoesNotExist"},
            ],
        }
    )
    assert selector.matches(_LABELS)
    assert not selector.matches({"app": "web"})
    assert str(selector) == "app=web,!none,tier in (back,front)"
    with pytest.raises(InvalidSelector, match=r'^"Near" is not a valid label selector operator$'):
        selector_from_object({"matchExpressions": [{"key": "a", "operator": "Near"}]})
    with pytest.raises(InvalidSelector, match="values set can't be empty"):
        selector_from_object({"matchExpressions": [{"key": "a", "operator": "In"}]})


def test_map_selectors() -> None:
    assert selector_from_map({}).everything
    assert selector_from_map(None).matches({})
    assert selector_from_map({"app": "web"}).matches(_LABELS)
    assert not selector_from_map({"app": "web"}).matches(None)


def test_exact_value_serves_indexes() -> None:
    assert parse_label_selector("a=b,c").exact_value("a") == "b"
    assert parse_label_selector("a in (b)").exact_value("a") == "b"
    assert parse_label_selector("a in (b,c)").exact_value("a") is None
    assert parse_label_selector("a!=b").exact_value("a") is None


def test_requirements_are_checked() -> None:
    with pytest.raises(InvalidSelector, match="values set must be empty for exists and does not exist"):
        make_requirement("a", "exists", ["b"])
    with pytest.raises(InvalidSelector, match="Unsupported value"):
        make_requirement("a", "near", ["b"])

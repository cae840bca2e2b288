import pytest

from timonel.api import names

_LABEL_RULE = (
    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with "
    "an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is "
    "'[a-z0-9]([-a-z0-9]*[a-z0-9])?')"
)


@pytest.mark.parametrize("text", ["a", "a-b", "0", "a" * 63, "1-2-3"])
def test_dns_labels(text: str) -> None:
    assert names.validate_dns1123_label(text) == []


def test_dns_label_findings() -> None:
    assert names.validate_dns1123_label("A") == [_LABEL_RULE]
    assert names.validate_dns1123_label("a.b") == ["must not contain dots"]
    assert names.validate_dns1123_label("a" * 64) == ["must be no more than 63 characters"]
    assert names.validate_dns1123_label("a\n") == [_LABEL_RULE]


def test_subdomains() -> None:
    assert names.validate_dns1123_subdomain("a.b-c.d") == []
    for wrong in ("a..b", ".a", "a_b", "a.-b", ""):
        (found,) = names.validate_dns1123_subdomain(wrong)
        assert found.startswith("a lowercase RFC 1123 subdomain must consist of")
        assert found.endswith(r"'[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')")


def test_service_names_begin_with_a_letter() -> None:
    assert names.validate_dns1035_label("a1") == []
    assert len(names.validate_dns1035_label("1a")) == 1


@pytest.mark.parametrize("text", ["a", "a/b", "example.com/My_Name.x", "1-2"])
def test_qualified_names(text: str) -> None:
    assert names.validate_qualified_name(text) == []


def test_qualified_name_findings() -> None:
    assert names.validate_qualified_name("/a") == ["prefix part must be non-empty"]
    assert names.validate_qualified_name("a/")[0] == "name part must be non-empty"
    assert names.validate_qualified_name("a" * 64) == ["name part must be no more than 63 bytes"]
    assert names.validate_qualified_name("a/b/c")[0].startswith("a valid label key must consist of alphanumeric")
    assert names.validate_qualified_name("A.b_/c")[0].startswith("prefix part a lowercase RFC 1123 subdomain")


def test_label_values() -> None:
    assert names.validate_label_value("") == []
    assert names.validate_label_value("a_b.C-1") == []
    assert names.validate_label_value("-a")[0].startswith("a valid label must be an empty string or consist of")
    assert names.validate_label_value("a" * 64) == ["must be no more than 63 bytes"]


def test_port_names() -> None:
    assert names.validate_port_name("http-2") == []
    assert names.validate_port_name("12") == ["must contain at least one letter (a-z)"]
    assert names.validate_port_name("a--b") == ["must not contain consecutive hyphens"]
    assert names.validate_port_name("-a") == ["must not begin or end with a hyphen"]
    assert names.validate_port_name("a" * 16) == ["must be no more than 15 characters"]
    assert names.validate_port_name("A") == [
        "must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)",
        "must contain at least one letter (a-z)",
    ]
    assert names.validate_port_number(0) == ["must be between 1 and 65535, inclusive"]


def test_config_keys_become_file_names() -> None:
    assert names.validate_config_key("a.b_c-D") == []
    assert names.validate_config_key("..") == ["must not be '..'"]
    assert names.validate_config_key("..a") == ["must not start with '..'"]
    assert names.validate_config_key("a/b")[0].startswith("a valid config key must consist of")


def test_environment_variables_are_printable_ascii() -> None:
    assert names.validate_env_name("my var.1") == []
    assert names.validate_env_name("a=b") != []
    assert names.validate_env_name("é") != []
    assert names.validate_env_name("") == ["environment variable name must be non-empty"]


def test_path_segments() -> None:
    assert names.validate_path_segment("system:node") == []
    assert names.validate_path_segment("..") == ["may not be '..'"]
    assert names.validate_path_segment("a/b%") == ["may not contain '/'", "may not contain '%'"]


def test_a_generated_name_may_end_in_a_dash() -> None:
    assert names.validate_dns1123_label(names.mask_trailing_dash("web-")) == []
    assert names.validate_dns1123_label("web-") != []


def test_small_formats() -> None:
    assert names.validate_percent("25%") == []
    assert names.validate_percent("25") != []
    assert names.validate_http_header_name("X-A") == []
    assert names.validate_http_header_name("X A") != []
    assert names.validate_c_identifier("_a1") == []
    assert names.validate_c_identifier("1a") != []
    assert names.validate_decimal_integer("-12") == []
    assert names.validate_decimal_integer("012") == ["must be a valid decimal integer in canonical form"]
    assert names.validate_wildcard_dns1123_subdomain("*.a.b") == []
    assert names.validate_wildcard_dns1123_subdomain("*.*.b") != []

"""docs/configuration.md: its example is a valid file that uses every key, and its tables tell the true defaults."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from timonel.cluster.config import (
    ApiConfig,
    ClusterConfig,
    EtcdConfig,
    HollowNodesConfig,
    NetworkConfig,
    NodeConfig,
    RegistryConfig,
    parse_config,
)
from timonel.cluster.manager_options import ManagerOptions

PAGE = (Path(__file__).parents[3] / "docs" / "configuration.md").read_text()
SECTIONS: dict[str, Any] = {
    "network": NetworkConfig, "api": ApiConfig, "etcd": EtcdConfig, "registries": RegistryConfig, "node": NodeConfig,
    "manager": ManagerOptions, "hollow": HollowNodesConfig,
}  # fmt: skip
KEYS = [(section, field) for section, cls in SECTIONS.items() for field in dataclasses.fields(cls)]


def key_of(field: dataclasses.Field[Any]) -> str:
    """max_pods -> maxPods, as the file spells it."""
    return re.sub(r"_(.)", lambda match: match[1].upper(), field.name)


def example() -> str:
    (found,) = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    return str(found)


def table_of(section: str) -> dict[str, str]:
    """Key -> default, from the table below a heading."""
    text = PAGE.split(f"\n## `{section}`\n")[1].split("\n## ")[0]
    return dict(re.findall(r"^\| `(\w+)` \| (.*?) \|", text, re.MULTILINE))


def test_the_page_has_a_heading_for_every_section() -> None:
    assert [field.name for field in dataclasses.fields(ClusterConfig)] == list(SECTIONS)
    assert re.findall(r"^## `(\w+)`$", PAGE, re.MULTILINE) == list(SECTIONS)


def test_the_example_is_accepted() -> None:
    config = parse_config(example())
    assert config.registries["docker.io"].mirrors == ("https://mirror.example.org", "http://192.0.2.20:5000")
    assert config.api.extra_names == ("cluster.example.org", "192.0.2.10")


@pytest.mark.parametrize(("section", "field"), KEYS, ids=lambda item: getattr(item, "name", item))
def test_every_key_is_in_the_example_and_in_its_table(section: str, field: dataclasses.Field[Any]) -> None:
    data = yaml.safe_load(example())
    shown = data[section].values() if section == "registries" else [data[section]]
    assert any(key_of(field) in entry for entry in shown)
    assert key_of(field) in table_of(section)


@pytest.mark.parametrize("section", SECTIONS)
def test_tables_name_nothing_that_is_not_a_key(section: str) -> None:
    assert set(table_of(section)) == {key_of(field) for field in dataclasses.fields(SECTIONS[section])}


@pytest.mark.parametrize(("section", "field"), KEYS, ids=lambda item: getattr(item, "name", item))
def test_defaults_in_the_tables_are_true(section: str, field: dataclasses.Field[Any]) -> None:
    told = table_of(section)[key_of(field)]
    if field.default == "":
        return  # told in words
    assert yaml.safe_load(told.strip("`")) == (
        list(field.default) if isinstance(field.default, tuple) else field.default
    )

"""YAML bodies as JSON values: what a manifest may hold, read by YAML 1.1's rules as Kubernetes tools read it.

Beside PyYAML's safe loader: dates and base-60 numbers stay text, keys become text, repeated keys are reported, and
aliases cannot be used to blow a small body up.
"""

from __future__ import annotations

import math
import re
from collections.abc import Hashable
from typing import Any

import yaml

from timonel.api.field_errors import quote

_MAX_VALUES = 1_000_000
"""Values after aliases are followed: far beyond any object, far below what fills the memory."""


class YamlError(ValueError):
    pass


class _Loader(yaml.CSafeLoader):
    """Resolvers and constructors are set below; `repeated` collects keys seen twice."""

    def __init__(self, stream: bytes) -> None:
        super().__init__(stream)
        self.repeated: list[str] = []
        self.values = 0

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        # Always depth first and without sharing: aliases make copies, so the result is a tree and can be counted.
        self.values += 1
        if self.values > _MAX_VALUES:
            raise YamlError("yaml: document contains excessive aliasing")
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node)
        if isinstance(node, yaml.SequenceNode):
            return [self.construct_object(item) for item in node.value]
        return self._scalar(node)

    def _mapping(self, node: yaml.MappingNode) -> dict[str, Any]:
        made: dict[str, Any] = {}
        merged: dict[str, Any] = {}
        for key_node, value_node in node.value:
            if key_node.tag == "tag:yaml.org,2002:merge":
                sources = value_node.value if isinstance(value_node, yaml.SequenceNode) else [value_node]
                for source in sources:
                    for key, value in self._merge_source(source).items():
                        merged.setdefault(key, value)
                continue
            key = _key_text(self.construct_object(key_node))
            if key in made:
                self.repeated.append(f"  line {key_node.start_mark.line + 1}: key {quote(key)} already set in map")
            made[key] = self.construct_object(value_node)
        return {**merged, **made} if merged else made

    def _merge_source(self, node: yaml.Node) -> dict[str, Any]:
        if not isinstance(node, yaml.MappingNode):
            raise YamlError("yaml: map merge requires map or sequence of maps as the value")
        return self._mapping(node)

    def _scalar(self, node: yaml.Node) -> Any:
        text = node.value
        match node.tag.removeprefix("tag:yaml.org,2002:"):
            case "null":
                return None
            case "bool":
                return text.lower() in ("yes", "true", "on", "y")
            case "int":
                return _integer(text)
            case "float":
                number = _float(text)
                if not math.isfinite(number):
                    raise YamlError(f"json: unsupported value: {text}")
                return number
            case "binary":
                return "".join(text.split())
        return text


# Only what JSON has: no timestamps, no base 60; "1e3" is a number, as in YAML 1.2 and unlike PyYAML's own rule.
_Loader.yaml_implicit_resolvers = {}
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:bool",
    re.compile(r"(?:yes|Yes|YES|no|No|NO|true|True|TRUE|false|False|FALSE|on|On|ON|off|Off|OFF|[yYnN])$"),
    list("yYnNtTfFoO"),
)
_Loader.add_implicit_resolver("tag:yaml.org,2002:null", re.compile(r"(?:~|null|Null|NULL|)$"), ["~", "n", "N", ""])
_Loader.add_implicit_resolver("tag:yaml.org,2002:merge", re.compile(r"(?:<<)$"), ["<"])
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:int",
    re.compile(r"[-+]?(?:0b[01_]+|0o[0-7_]+|0x[0-9a-fA-F_]+|[0-9][0-9_]*)$"),
    list("-+0123456789"),
)
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(
        r"(?:[-+]?(?:[0-9][0-9_]*\.[0-9_]*|\.[0-9][0-9_]*|[0-9][0-9_]*)(?:[eE][-+]?[0-9]+)?"
        r"|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))$"
    ),
    list("-+.0123456789"),
)


def load_yaml(body: bytes) -> tuple[Any, list[str]]:
    """The first document's value and, as one message, the keys set twice. Raises YamlError or yaml.YAMLError."""
    loader = _Loader(body)
    try:
        value = loader.get_single_data()
    except RecursionError:
        raise YamlError("yaml: exceeded max depth") from None
    except (ValueError, OverflowError) as exc:
        raise YamlError(str(exc)) from None
    finally:
        loader.dispose()
    repeated = loader.repeated
    return value, ["yaml: unmarshal errors:\n" + "\n".join(repeated)] if repeated else []


def _key_text(key: Hashable) -> str:
    if isinstance(key, str):
        return key
    if isinstance(key, bool):
        return "true" if key else "false"
    if isinstance(key, (int, float)):
        return f"{key:g}" if isinstance(key, float) else str(key)
    if key is None:
        return "null"
    raise YamlError(f"unsupported map key of type: {type(key).__name__}")


def _integer(text: str) -> int | float:
    digits = text.replace("_", "").lower()
    sign, digits = (-1, digits[1:]) if digits.startswith("-") else (1, digits.lstrip("+"))
    for prefix, base in (("0b", 2), ("0o", 8), ("0x", 16)):
        if digits.startswith(prefix):
            number = int(digits[2:], base)
            break
    else:
        octal = len(digits) > 1 and digits.startswith("0") and all(digit in "01234567" for digit in digits)
        number = int(digits, 8 if octal else 10)
    # Beyond 64 bits JSON readers fall back to floating point.
    return sign * number if number < 2**64 else float(sign * number)


def _float(text: str) -> float:
    text = text.replace("_", "").lower()
    return float(text.replace(".inf", "inf").replace(".nan", "nan"))

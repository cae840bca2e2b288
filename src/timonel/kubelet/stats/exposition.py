"""Figures as the text that Prometheus scrapes. Pure.

Written by hand and not by prometheus_client: what is told changes with every pod, and a registry would keep what has
gone. Source: prometheus.io/docs/instrumenting/exposition_formats, "Text-based format".
"""

from __future__ import annotations

from collections.abc import Mapping

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_ESCAPES = str.maketrans({"\\": r"\\", "\n": r"\n", '"': r"\""})


def labels_text(labels: Mapping[str, str]) -> str:
    """What stands between name and value: `{container="main",pod="web"}`, "" for none."""
    if not labels:
        return ""
    pairs = ",".join(f'{name}="{value.translate(_ESCAPES)}"' for name, value in labels.items())
    return f"{{{pairs}}}"


class Page:
    """Families by name, in the order of their first sample; samples of one family stay together, as they must."""

    def __init__(self, families: Mapping[str, tuple[str, str]]) -> None:
        """`families`: name -> (type, help)."""
        self._families = families
        self._lines: dict[str, list[str]] = {}

    def add(self, name: str, labels: str, value: float | int, time: float | None = None) -> None:
        """`labels` as `labels_text` made them; `time` in seconds since 1970. Raises KeyError for an unknown family."""
        lines = self._lines.get(name)
        if lines is None:
            kind, help_text = self._families[name]
            lines = self._lines[name] = [f"# HELP {name} {help_text}", f"# TYPE {name} {kind}"]
        number = str(value) if isinstance(value, int) else f"{value:.9g}" if abs(value) < 1 else repr(value)
        lines.append(f"{name}{labels} {number}" if time is None else f"{name}{labels} {number} {int(time * 1000)}")

    def render(self) -> str:
        return "".join("\n".join(lines) + "\n" for lines in self._lines.values())

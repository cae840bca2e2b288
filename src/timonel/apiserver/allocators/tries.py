"""How often something was given out or refused: numbers that become metrics when somebody asks."""

from __future__ import annotations


class Tries:
    """By labels; the last of them is "static" for what was asked for by name, "dynamic" for any."""

    def __init__(self) -> None:
        self.given: dict[tuple[str, ...], int] = {}
        self.refused: dict[tuple[str, ...], int] = {}

    def count(self, *labels: str, refused: bool = False) -> None:
        counts = self.refused if refused else self.given
        counts[labels] = counts.get(labels, 0) + 1

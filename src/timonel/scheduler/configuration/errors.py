"""What is wrong with a configuration."""

from __future__ import annotations

from collections.abc import Iterable

from timonel.api.errors import FieldError


class InvalidConfiguration(ValueError):
    """The message is upstream's, wherever upstream has one."""


def aggregated(errors: Iterable[FieldError]) -> str:
    """One finding as it is, several as a list."""
    texts = list(dict.fromkeys(f"{each.field}: {each.message}" for each in errors))
    return texts[0] if len(texts) == 1 else f"[{', '.join(texts)}]"

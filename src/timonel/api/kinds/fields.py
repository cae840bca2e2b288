"""Readers for selectable fields: each gives the text that a field selector compares."""

from __future__ import annotations

from collections.abc import Callable

from timonel.api.objects import Object, get_path


def text_at(*path: str) -> Callable[[Object], str]:
    """The text at a path; "" when missing, "true"/"false" for booleans, digits for numbers."""

    def read(obj: Object) -> str:
        value = get_path(obj, *path, default="")
        if value is True or value is False:
            return str(value).lower()
        return str(value)

    return read


def flag_at(*path: str) -> Callable[[Object], str]:
    """Like `text_at` for a boolean that is false when missing."""

    def read(obj: Object) -> str:
        return "true" if get_path(obj, *path) else "false"

    return read


def number_at(*path: str) -> Callable[[Object], str]:
    def read(obj: Object) -> str:
        return str(get_path(obj, *path, default=0))

    return read

"""Readers for selectable fields: each gives the text that a field selector compares."""

from __future__ import annotations

from collections.abc import Callable

from timonel.api.objects import Object, get_path


def text_at(*path: str) -> Callable[[Object], str]:
    """The text at a path; "" when missing, "true"/"false" for booleans, digits for numbers. Ten of these are read of
    every pod at every write of it."""
    part, field = path if len(path) == 2 else ("", "")

    def read(obj: Object) -> str:
        if field:
            try:
                value = obj[part][field]
            except (KeyError, TypeError):
                return ""
            if value is None:
                return ""
        else:
            value = get_path(obj, *path, default="")
        if type(value) is str:
            return value
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

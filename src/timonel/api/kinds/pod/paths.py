"""Rules for paths inside volumes and on hosts."""

from __future__ import annotations

from timonel.api.field_errors import Path, invalid
from timonel.api.kinds.rules import Errors

FILE_MODE = "must be a number between 0 and 0777 (octal), both inclusive"


def check_no_backsteps(errors: Errors, path: Path, target: str) -> None:
    if ".." in target.split("/"):
        errors.append(invalid(path, target, "must not contain '..'"))


def check_descending(errors: Errors, path: Path, target: str) -> None:
    """Relative, and never upwards."""
    if target.startswith("/"):
        errors.append(invalid(path, target, "must be a relative path"))
    check_no_backsteps(errors, path, target)


def check_unreserved(errors: Errors, path: Path, target: str) -> None:
    """Like `check_descending`, and free of the leading ".." that atomic updates of volumes use themselves."""
    check_descending(errors, path, target)
    if target.startswith("..") and not target.startswith("../"):
        errors.append(invalid(path, target, "must not start with '..'"))


def check_mode(errors: Errors, path: Path, mode: int | None) -> None:
    if mode is not None and not 0 <= mode <= 0o777:
        errors.append(invalid(path, mode, FILE_MODE))

"""What goes wrong for reasons a person can mend."""

from __future__ import annotations


class UserError(Exception):
    """One clear line that says what is wrong and what to do; the command prints it and exits with 1."""

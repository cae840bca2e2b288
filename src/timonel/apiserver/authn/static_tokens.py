"""An optional file of fixed bearer tokens: CSV lines `token,user,uid,"group1,group2"`.

Source: kubernetes.io/docs/reference/access-authn-authz/authentication/#static-token-file
"""

from __future__ import annotations

import csv
import hashlib
from pathlib import Path

from timonel.apiserver.authn.user import UserInfo


class StaticTokens:
    """Tokens are kept as hashes: looking one up tells nothing about others by the time it takes."""

    def __init__(self, users: dict[str, UserInfo]) -> None:
        self._users = {_digest(token): user for token, user in users.items()}
        self._recent: dict[str, UserInfo] = {}
        """Good tokens as they were shown, which saves most requests a hash of 1.5 µs. Hashes of texts have a new key
        in every process, and only texts of equal hashes are compared: guesses learn nothing by the time."""

    @classmethod
    def from_file(cls, path: Path) -> StaticTokens:
        """Raises OSError, and ValueError naming the line that has fewer than three columns or no token."""
        users: dict[str, UserInfo] = {}
        with path.open(newline="") as file:
            reader = csv.reader(file, skipinitialspace=True)
            for row in reader:
                if not row or row[0].lstrip().startswith("#"):
                    continue
                if len(row) < 3:
                    raise ValueError(f"{path} line {reader.line_num}: needs token,user,uid[,groups]")
                token, name, uid, *groups = row
                if not token:
                    raise ValueError(f"{path} line {reader.line_num}: empty token")
                users[token] = UserInfo(name, uid, tuple(groups[0].split(",")) if groups and groups[0] else ())
        return cls(users)

    def authenticate(self, token: str) -> UserInfo | None:
        user = self._recent.get(token)
        if user is None and (user := self._users.get(_digest(token))) is not None:
            self._recent[token] = user
        return user


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest()

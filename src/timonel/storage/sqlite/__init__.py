"""The revisioned store in one SQLite file: `open_sqlite` and what it returns."""

from timonel.storage.sqlite.store import SqliteStore, open_sqlite

__all__ = ["SqliteStore", "open_sqlite"]

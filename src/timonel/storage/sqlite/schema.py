"""The file: its tables, its settings, its check at start, and what SQLite's errors mean to a person.

One table is everything. Each row is one change; the newest row of a key is its present value, and a row without a value
is a deletion. Old rows are the history, until compaction drops them.
"""

from __future__ import annotations

import ctypes
import os
import shutil

import apsw

from timonel.storage.protocol import StoreError

MEMORY = ":memory:"

_LEAST_BYTES = 65536
"""With less free than this, failing output means that the disk is full."""

BUSY_MILLISECONDS = 5000
"""How long to wait for somebody who opened the file with another tool."""

_APPLICATION_ID = 0x54494D4F  # "TIMO", so that file(1) and we recognise the file
_VERSION = 1

_TABLES = """
CREATE TABLE log (
    revision INTEGER PRIMARY KEY,
    key TEXT NOT NULL,
    value BLOB,                         -- NULL: the key was deleted
    create_revision INTEGER NOT NULL,
    previous_revision INTEGER NOT NULL, -- the row this one replaces, 0: the key was not there
    expires INTEGER                     -- seconds since 1970, NULL: never
);
CREATE INDEX log_key ON log(key, revision);
CREATE INDEX log_expires ON log(expires) WHERE expires IS NOT NULL;
CREATE TABLE progress (name TEXT PRIMARY KEY, revision INTEGER NOT NULL) WITHOUT ROWID;
INSERT INTO progress VALUES ('compacted', 0), ('swept', 0);
"""

_WAL_PAGES = 4000  # 16 MB: a checkpoint every few thousand commits costs little, and the file stays small


def open_connection(path: str) -> apsw.Connection:
    """The connection that writes; creates the file when it is not there. Raises StoreError with what to do."""
    is_new = path == MEMORY or not os.path.exists(path) or os.path.getsize(path) == 0
    try:
        make_private(path)
        connection = apsw.Connection(path)
        connection.set_busy_timeout(BUSY_MILLISECONDS)
        if not is_new:
            _recognise(connection, path)
        else:
            # Only a new file takes it, and another one is written to nonetheless. So freed pages can be returned.
            connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        _keep_log_files(connection)
        connection.execute(f"PRAGMA wal_autocheckpoint = {_WAL_PAGES}")
        connection.execute(f"PRAGMA journal_size_limit = {_WAL_PAGES * 4096}")
        connection.execute("PRAGMA cache_size = -8192")  # KiB; the objects themselves are in the watch caches
        if is_new:
            with connection:
                connection.execute(_TABLES)
                connection.execute(f"PRAGMA application_id = {_APPLICATION_ID}")
                connection.execute(f"PRAGMA user_version = {_VERSION}")
        else:
            _check_integrity(connection, path)
    except apsw.Error as exc:
        raise store_error(exc, path) from exc
    except OSError as exc:
        raise StoreError(f"cannot write {path}: {exc.strerror}; check the data directory") from exc
    return connection


def _keep_log_files(connection: apsw.Connection) -> None:
    """The files beside this one stay when it is closed: without room to make them anew, a full disk could not be read.

    The log is emptied all the same. Source: sqlite.org/c3ref/c_fcntl_begin_atomic_write (SQLITE_FCNTL_PERSIST_WAL)
    """
    wanted = ctypes.c_int(1)
    connection.file_control("main", apsw.SQLITE_FCNTL_PERSIST_WAL, ctypes.addressof(wanted))


def make_private(path: str) -> None:
    """Makes the file, if it is not there, readable by its owner only; SQLite gives its log files the same mode."""
    if path != MEMORY:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))


def open_reader(path: str) -> apsw.Connection:
    """A connection that only reads, beside the writer's; in WAL mode neither waits for the other."""
    connection = apsw.Connection(path, flags=apsw.SQLITE_OPEN_READONLY)
    connection.set_busy_timeout(BUSY_MILLISECONDS)
    connection.execute("PRAGMA cache_size = -2048")
    return connection


def _recognise(connection: apsw.Connection, path: str) -> None:
    (application_id,) = connection.execute("PRAGMA application_id").fetchone() or (0,)
    (version,) = connection.execute("PRAGMA user_version").fetchone() or (0,)
    if application_id != _APPLICATION_ID:
        raise StoreError(f"{path} is an SQLite file of another program; choose another data directory")
    if version != _VERSION:
        raise StoreError(
            f"{path} has format {version} and this release reads format {_VERSION}; start the release that wrote it"
        )


def _check_integrity(connection: apsw.Connection, path: str) -> None:
    (finding,) = connection.execute("PRAGMA quick_check(1)").fetchone() or ("no answer",)
    if finding != "ok":
        raise _damaged(path, str(finding))


def _damaged(path: str, finding: str) -> StoreError:
    first_line = finding.strip().replace("\n", " ")
    return StoreError(
        f"store file {path} is damaged ({first_line}); restore a backup with `timonel restore`, "
        "or move the file away to start empty"
    )


def _is_full(path: str) -> bool:
    """Some calls of SQLite only say that input or output failed."""
    try:
        return shutil.disk_usage(os.path.dirname(os.path.abspath(path))).free < _LEAST_BYTES
    except OSError:
        return False


def store_error(exc: Exception, path: str) -> StoreError:
    """SQLite's error as ours, saying what to do; any other with its text."""
    if isinstance(exc, apsw.FullError) or (isinstance(exc, apsw.IOError) and _is_full(path)):
        return StoreError(f"no space left to write {path}; free some, and writing works again without a restart")
    if isinstance(exc, apsw.CorruptError | apsw.NotADBError):
        return _damaged(path, str(exc))
    if isinstance(exc, apsw.CantOpenError | apsw.ReadOnlyError | apsw.PermissionsError):
        return StoreError(f"cannot open {path} for writing ({exc}); check that its directory exists and is writable")
    return StoreError(f"store file {path}: {exc}")

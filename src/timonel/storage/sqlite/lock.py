"""One process owns the file. The lock belongs to an open file, so it goes when its process dies, however it dies."""

from __future__ import annotations

import os
import sys
from types import TracebackType

from timonel.storage.protocol import StoreError

if sys.platform == "win32":
    import msvcrt

    def _try_lock(descriptor: int) -> None:
        # A byte far behind the text: Windows keeps others from reading a locked part.
        os.lseek(descriptor, 1 << 30, os.SEEK_SET)
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        os.lseek(descriptor, 0, os.SEEK_SET)

else:
    import fcntl

    def _try_lock(descriptor: int) -> None:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


class FileLock:
    """Holds `<path>.lock`, which says who holds it. Raises StoreError, naming the holder, when somebody does."""

    def __init__(self, path: str) -> None:
        lock_path = f"{path}.lock"
        try:
            self._descriptor = os.open(lock_path, os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0), 0o600)
        except OSError as exc:
            raise StoreError(f"cannot open {lock_path}: {exc.strerror}; check the data directory") from exc
        try:
            _try_lock(self._descriptor)
        except OSError as exc:
            holder = os.read(self._descriptor, 200).decode("utf-8", "replace").strip() or "another process"
            os.close(self._descriptor)
            raise StoreError(
                f"{path} is in use by {holder}; stop that first, or choose another data directory"
            ) from exc
        os.ftruncate(self._descriptor, 0)
        os.write(self._descriptor, f"process {os.getpid()} ({os.path.basename(sys.argv[0]) or 'python'})\n".encode())

    def release(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def __enter__(self) -> FileLock:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.release()

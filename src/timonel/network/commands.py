"""Short-lived system commands (`ip`, `nft`, `conntrack`) without blocking the event loop."""

from __future__ import annotations

import asyncio
from contextlib import suppress

TIMEOUT_SECONDS = 30.0
"""These commands take milliseconds; one that hangs must not stop the loop that waits for it."""


class CommandFailed(Exception):
    """A command that ended with an error; `str()` is the command and its last words."""


async def run_command(*command: str, stdin: str | None = None, timeout_seconds: float = TIMEOUT_SECONDS) -> str:
    """Standard output. Raises CommandFailed, also when the program is not installed or does not end in time.

    A command that is given up or whose caller is cancelled is killed.
    """
    try:
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.PIPE if stdin is not None else asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
    except OSError as error:
        raise CommandFailed(f"{command[0]}: {error}") from error
    try:
        async with asyncio.timeout(timeout_seconds):
            output, errors = await process.communicate(stdin.encode() if stdin is not None else None)
    except TimeoutError as error:
        raise CommandFailed(f"{' '.join(command)}: did not end within {timeout_seconds:g} s") from error
    finally:
        if process.returncode is None:
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()
    if process.returncode != 0:
        raise CommandFailed(f"{' '.join(command)}: {(errors or output).decode(errors='replace').strip()}")
    return output.decode(errors="replace")

"""Short-lived system commands (`ip`, `nft`, `conntrack`) without blocking the event loop."""

from __future__ import annotations

import asyncio


class CommandFailed(Exception):
    """A command that ended with an error; `str()` is the command and its last words."""


async def run_command(*command: str, stdin: str | None = None) -> str:
    """Standard output. Raises CommandFailed, also when the program is not installed."""
    try:
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.PIPE if stdin is not None else asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
    except OSError as error:
        raise CommandFailed(f"{command[0]}: {error}") from error
    output, errors = await process.communicate(stdin.encode() if stdin is not None else None)
    if process.returncode != 0:
        raise CommandFailed(f"{' '.join(command)}: {(errors or output).decode(errors='replace').strip()}")
    return output.decode(errors="replace")

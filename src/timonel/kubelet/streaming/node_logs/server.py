"""Answers /logs/: a folder's listing, a file, or the logs of services. Nothing outside the folder is ever opened."""

from __future__ import annotations

import asyncio
import html
import logging
import os
import stat
from collections.abc import AsyncIterator, Mapping
from urllib.parse import quote

from aiohttp import web

from timonel.api.errors import NotFound
from timonel.kubelet.streaming.node_logs.query import BadQuery, NodeLogQuery, files_of, journal_command, parse_query
from timonel.kubelet.volumes.subpath import SubPathError, open_beneath

logger = logging.getLogger(__name__)

_PIECE_BYTES = 64 * 1024
_DEADLINE_SECONDS = 30.0
_NOT_FOUND = "404 page not found\n"


class NodeLogs:
    """`own` are files of services that log to files elsewhere, such as this kubelet's, by the service's name."""

    def __init__(self, *, folder: str, answers_queries: bool, own: Mapping[str, str]) -> None:
        self._folder = folder
        self._answers_queries = answers_queries
        self._own = own

    async def answer(self, request: web.BaseRequest, segments: list[str]) -> web.StreamResponse:
        query = NodeLogQuery()
        if self._answers_queries:
            try:
                query = parse_query(request.rel_url.query)
            except BadQuery as exc:
                return web.Response(status=exc.status, text=f"{exc}\n")
        if query.services:
            return await _stream(request, self._of_services(query))
        path = query.files[0].replace("\\", "/").lstrip("/") if query.files else "/".join(segments)
        return await self._file(request, path)

    # Files

    async def _file(self, request: web.BaseRequest, path: str) -> web.StreamResponse:
        file = await asyncio.to_thread(_open, self._folder, path)
        if file is None:
            raise NotFound(_NOT_FOUND)
        try:
            if stat.S_ISDIR(os.fstat(file).st_mode):
                listing = await asyncio.to_thread(_listing, file)
                return web.Response(text=listing, content_type="text/html", charset="utf-8")
            return await _stream(request, _pieces(file))
        finally:
            os.close(file)

    # Services

    async def _of_services(self, query: NodeLogQuery) -> AsyncIterator[bytes]:
        try:
            async with asyncio.timeout(_DEADLINE_SECONDS):
                known = await _journal_units()
                elsewhere = [service for service in query.services if f"{service}.service" not in known]
                if elsewhere and query.has_options:
                    listed = f"[{' '.join(elsewhere)}]"
                    yield (
                        f"\noptions present and query resolved to log files for {listed}\n"
                        "try without specifying options\n"
                    ).encode()
                elif elsewhere:
                    for service in elsewhere:
                        async for piece in self._of_service(service):
                            yield piece
                else:
                    async for piece in _output(journal_command(query, query.services)):
                        yield piece
        except TimeoutError:
            yield b"\nlogs took too long\n"

    async def _of_service(self, service: str) -> AsyncIterator[bytes]:
        own = self._own.get(service)
        places = [(self._folder, name) for name in files_of(service)]
        if own is not None:
            places.insert(0, (os.path.dirname(own), os.path.basename(own)))
        for folder, name in places:
            file = await asyncio.to_thread(_open, folder, name)
            if file is None:
                continue
            try:
                if stat.S_ISREG(os.fstat(file).st_mode):
                    async for piece in _pieces(file):
                        yield piece
                    return
            finally:
                os.close(file)
        yield f"\nlog not found for {service}\n".encode()


def _open(folder: str, path: str) -> int | None:
    """A descriptor to read from; None for what is not there, leads out of the folder, or is neither file nor folder."""
    try:
        found = open_beneath(folder, path, create_mode=None)
    except (OSError, SubPathError):
        return None
    try:
        mode = os.fstat(found).st_mode
        if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
            return None
        return os.open(f"/proc/self/fd/{found}", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    finally:
        os.close(found)


def _listing(folder: int) -> str:
    with os.scandir(folder) as found:
        names = sorted(entry.name + "/" if entry.is_dir() else entry.name for entry in found)
    lines = [f'<a href="{quote(name)}">{html.escape(name)}</a>' for name in names]
    return "<!doctype html>\n<pre>\n" + "".join(f"{line}\n" for line in lines) + "</pre>\n"


async def _pieces(file: int) -> AsyncIterator[bytes]:
    """As much as there was at first: a log may grow as fast as it is read."""
    left = os.fstat(file).st_size
    while left > 0:
        piece = await asyncio.to_thread(os.read, file, min(left, _PIECE_BYTES))
        if not piece:
            return
        left -= len(piece)
        yield piece


async def _output(command: list[str]) -> AsyncIterator[bytes]:
    """What a program prints; "" when there is no such program. It ends with whoever reads it."""
    try:
        process = await asyncio.create_subprocess_exec(
            *command, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
        )
    except OSError as exc:
        logger.info("program could not be started program=%s error=%s", command[0], exc)
        return
    assert process.stdout is not None
    try:
        while piece := await process.stdout.read(_PIECE_BYTES):
            yield piece
    finally:
        if process.returncode is None:
            try:
                process.kill()
            except ProcessLookupError:
                pass
        await process.wait()


async def _journal_units() -> set[str]:
    found = b"".join([piece async for piece in _output(["journalctl", "--field", "_SYSTEMD_UNIT"])])
    return set(found.decode(errors="replace").split())


async def _stream(request: web.BaseRequest, pieces: AsyncIterator[bytes]) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": "text/plain; charset=utf-8"})
    response.enable_chunked_encoding()
    await response.prepare(request)
    try:
        async for piece in pieces:
            await response.write(piece)
    except ConnectionError:
        logger.debug("reader of node logs left")
    return response

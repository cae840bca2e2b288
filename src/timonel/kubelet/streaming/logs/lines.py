"""The CRI log format, bytes in, the bytes a client sees out.

A line is `2016-10-06T00:17:09.669794202Z stdout F content`. Tag P says that the content is a piece of a longer line, so
its newline is not part of it. Lines that do not parse are dropped and counted, as a half-written line after a crash.
Source: the CRI logging design (kubernetes/design-proposals-archive:node/kubelet-cri-logging.md).
"""

from __future__ import annotations

import re
from datetime import datetime

from timonel.kubelet.streaming.logs.options import LogOptions

_STAMP = re.compile(rb"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?(Z|[+-]\d\d:\d\d)")
_LINE = re.compile(rb"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,9})?(?:Z|[+-]\d\d:\d\d)) (stdout|stderr) ([^ \n]*) ")
_STREAM_OF = {b"stdout": "Stdout", b"stderr": "Stderr"}
MAX_LINE_BYTES = 4 * 1024 * 1024
"""containerd cuts lines at 16 KiB; a file without newlines is not a log."""


class LogLines:
    """Feed it a log from its start or from any line's start; it keeps the rest of a line until that is complete."""

    def __init__(self, options: LogOptions) -> None:
        self._options = options
        self._remaining_bytes = options.limit_bytes
        self._remaining_lines = options.tail_lines if not options.follow else None
        self._pending = b""
        self._at_line_start = True
        self.dropped = 0

    @property
    def done(self) -> bool:
        """A limit has been reached: nothing more will come out."""
        return self._remaining_bytes == 0 or self._remaining_lines == 0

    def feed(self, data: bytes) -> bytes:
        """What lines completed by `data` give."""
        data = self._pending + data
        end = data.rfind(b"\n") + 1
        self._pending = data[end:]
        if len(self._pending) > MAX_LINE_BYTES:
            self._pending = b""
            self.dropped += 1
        # By newline only, where splitlines would also cut at a carriage return: progress bars have them as content.
        return self._render([line + b"\n" for line in data[:end].split(b"\n")[:-1]])

    def finish(self) -> bytes:
        """What a last line without newline gives."""
        rest, self._pending = self._pending, b""
        return self._render([rest]) if rest else b""

    def _render(self, lines: list[bytes]) -> bytes:
        out: list[bytes] = []
        for line in lines:
            if self.done:
                break
            text = self._one(line)
            if text is None:
                continue
            if self._remaining_bytes is not None:
                text = text[: self._remaining_bytes]
                self._remaining_bytes -= len(text)
            out.append(text)
        return b"".join(out)

    def _one(self, line: bytes) -> bytes | None:
        """None for what is not to be seen."""
        match = _LINE.match(line)
        if match is None:
            self.dropped += 1
            return None
        stamp, stream, tag = match.groups()
        content = line[match.end() :]
        if tag.split(b":", 1)[0] == b"P":
            content = content.removesuffix(b"\n")
        options = self._options
        is_old = options.since > 0 and nanoseconds(stamp) < options.since
        prefix = padded(stamp) + b" " if options.timestamps and self._at_line_start else b""
        if self._remaining_lines is not None:
            self._remaining_lines -= 1
        self._at_line_start = not content or content.endswith(b"\n")
        if is_old or options.stream not in ("All", _STREAM_OF[stream]):
            return None
        return prefix + content


def padded(stamp: bytes) -> bytes:
    """RFC 3339 with nine decimals, as `timestamps=true` shows it. Raises ValueError for anything else."""
    seconds, fraction, zone = _parts(stamp)
    return seconds + b"." + fraction + zone


def nanoseconds(stamp: bytes) -> int:
    """Since 1970. Raises ValueError for what is not RFC 3339; a day that no month has counts as 1970."""
    seconds, fraction, zone = _parts(stamp)
    try:
        moment = datetime.fromisoformat((seconds + zone).decode())
    except ValueError:
        return 0
    return int(moment.timestamp()) * 1_000_000_000 + int(fraction)


def _parts(stamp: bytes) -> tuple[bytes, bytes, bytes]:
    """Takes b"2016-10-06T00:17:09.66Z" -> (b"2016-10-06T00:17:09", b"660000000", b"Z")."""
    match = _STAMP.fullmatch(stamp)
    if match is None:
        raise ValueError(f"not a log timestamp: {stamp!r}")
    seconds, fraction, zone = match.groups()
    return seconds, (fraction or b"").ljust(9, b"0"), zone

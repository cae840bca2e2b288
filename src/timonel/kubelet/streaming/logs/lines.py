"""The CRI log format, bytes in, the bytes a client sees out.

A line is `2016-10-06T00:17:09.669794202Z stdout F content`. Tag P says that the content is a piece of a longer line, so
its newline is not part of it. Lines that do not parse are dropped and counted, as a half-written line after a crash.
Source: the CRI logging design (kubernetes/design-proposals-archive:node/kubelet-cri-logging.md).
"""

from __future__ import annotations

from datetime import datetime

from timonel.kubelet.streaming.logs.options import LogOptions

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
        parts = line.split(b" ", 3)
        stream = _STREAM_OF.get(parts[1]) if len(parts) == 4 else None
        stamp = parts[0]
        if stream is None or len(stamp) < 20 or stamp[10:11] != b"T":
            self.dropped += 1
            return None
        options = self._options
        content = parts[3]
        if parts[2].split(b":", 1)[0] == b"P":
            content = content.removesuffix(b"\n")
        try:
            is_old = bool(options.since) and nanoseconds(stamp) < options.since
            prefix = padded(stamp) + b" " if options.timestamps and self._at_line_start else b""
        except ValueError:
            self.dropped += 1
            return None
        if self._remaining_lines is not None:
            self._remaining_lines -= 1
        self._at_line_start = not content or content.endswith(b"\n")
        if is_old or options.stream not in ("All", stream):
            return None
        return prefix + content


def _parts(stamp: bytes) -> tuple[bytes, bytes, bytes]:
    """Takes b"2016-10-06T00:17:09.66Z" -> (b"2016-10-06T00:17:09", b"660000000", b"Z"). Raises ValueError."""
    seconds, rest = stamp[:19], stamp[19:]
    fraction = b""
    if rest[:1] == b".":
        zone_at = next((i for i, c in enumerate(rest) if c in b"Z+-"), len(rest))
        fraction, rest = rest[1:zone_at], rest[zone_at:]
    if len(seconds) != 19 or not rest or (fraction and not fraction.isdigit()) or len(fraction) > 9:
        raise ValueError(f"not a log timestamp: {stamp!r}")
    return seconds, fraction.ljust(9, b"0"), rest


def padded(stamp: bytes) -> bytes:
    """RFC 3339 with nine decimals, as `timestamps=true` shows it. Raises ValueError."""
    seconds, fraction, zone = _parts(stamp)
    return seconds + b"." + fraction + zone


def nanoseconds(stamp: bytes) -> int:
    """Since 1970. Raises ValueError for what is not RFC 3339."""
    seconds, fraction, zone = _parts(stamp)
    moment = datetime.fromisoformat((seconds + zone).decode("ascii", "replace"))
    if moment.tzinfo is None:
        raise ValueError(f"time without a zone: {stamp!r}")
    return int(moment.timestamp()) * 1_000_000_000 + int(fraction)

"""What somebody asks of the node's logs, checked, and how its journal is asked. Pure.

Source: kubernetes.io/docs/concepts/cluster-administration/system-logs, "Log query"; messages are upstream's.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from multidict import MultiMapping

from timonel.api.clock import parse_time
from timonel.api.errors import FieldError
from timonel.api.field_errors import Path, invalid, too_many

_MAX_SERVICES = 4
_MAX_SERVICE_LENGTH = 256
_MAX_TAIL_LINES = 100_000
_UNSAFE = re.compile(r"[^a-zA-Z\-_.:0-9@]")


class BadQuery(Exception):
    """`errors` in upstream's words; `status` is 400 for what cannot be read, 406 for what cannot be had."""

    def __init__(self, status: int, errors: Sequence[FieldError]) -> None:
        texts = [str(error) for error in errors]
        super().__init__(texts[0] if len(texts) == 1 else f"[{', '.join(texts)}]")
        self.status = status


@dataclass(frozen=True, slots=True)
class NodeLogQuery:
    services: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    since: datetime | None = None
    until: datetime | None = None
    tail_lines: int | None = None
    boot: int | None = None
    """0 is this boot, -1 the one before."""
    pattern: str = ""

    @property
    def has_options(self) -> bool:
        return (self.since, self.until, self.tail_lines, self.boot, self.pattern) != (None, None, None, None, "")


def parse_query(query: MultiMapping[str]) -> NodeLogQuery:
    """Raises BadQuery."""
    errors: list[FieldError] = []
    asked = query.getall("query", [])
    # A slash says that it is a file; names without one are looked for as services first.
    files = tuple(each for each in asked if "/" in each or "\\" in each)
    services = tuple(each for each in asked if each not in files and each.strip())
    if asked and not files and not services:
        errors.append(invalid(Path("query"), asked, "query cannot be empty"))

    def time(name: str) -> datetime | None:
        text = query.get(name, "")
        if not text:
            return None
        try:
            return parse_time(text)
        except ValueError:
            errors.append(invalid(Path(name), text, "invalid time format"))
            return None

    def number(name: str) -> int | None:
        text = query.get(name, "")
        if not text:
            return None
        if not re.fullmatch(r"[+-]?[0-9]+", text):
            errors.append(invalid(Path(name), text, f'strconv.Atoi: parsing "{text}": invalid syntax'))
            return None
        return int(text)

    made = NodeLogQuery(
        services=services,
        files=files,
        since=time("sinceTime"),
        until=time("untilTime"),
        tail_lines=number("tailLines"),
        boot=number("boot"),
        pattern=query.get("pattern", ""),
    )
    if errors:
        raise BadQuery(400, errors)
    _check(made)
    return made


def _check(query: NodeLogQuery) -> None:
    errors: list[FieldError] = []
    path = Path("query")
    for service in query.services:
        if len(service) > _MAX_SERVICE_LENGTH:
            errors.append(invalid(path, service, f"length must be less than {_MAX_SERVICE_LENGTH}"))
        elif _UNSAFE.search(service):
            errors.append(invalid(path, service, "input contains unsupported characters"))
    if len(query.services) > _MAX_SERVICES:
        errors.append(too_many(path, len(query.services), _MAX_SERVICES))
    if query.files and query.services:
        told = f"[{' '.join(query.files)}], [{' '.join(query.services)}]"
        errors.append(invalid(path, told, "cannot specify a file and service"))
    elif len(query.files) > 1:
        errors.append(invalid(path, list(query.files), "cannot specify more than one file"))
    elif query.files and query.has_options:
        errors.append(invalid(path, list(query.files), "cannot specify file with options"))
    if query.since is not None and query.until is not None and query.since > query.until:
        errors.append(invalid(Path("untilTime"), query.until.isoformat(), "must be after `sinceTime`"))
    if query.boot is not None and query.boot > 0:
        errors.append(invalid(Path("boot"), query.boot, "must be less than 1"))
    if query.tail_lines is not None and not 0 <= query.tail_lines <= _MAX_TAIL_LINES:
        why = f"must be between 0 and {_MAX_TAIL_LINES}, inclusive"
        errors.append(invalid(Path("tailLines"), query.tail_lines, why))
    try:
        re.compile(query.pattern)
    except re.error as exc:
        errors.append(invalid(Path("pattern"), query.pattern, str(exc)))
    if errors:
        raise BadQuery(406, errors)


def journal_command(query: NodeLogQuery, services: Sequence[str]) -> list[str]:
    """Of journalctl, for services that it knows."""
    made = ["journalctl", "--utc", "--no-pager"]
    if query.since is not None:
        made.append(f"--since={_moment(query.since)}")
    if query.until is not None:
        made.append(f"--until={_moment(query.until)}")
    if query.tail_lines is not None:
        made += ["--pager-end", f"--lines={query.tail_lines}"]
    made += [f"--unit={service}" for service in services]
    if query.pattern:
        made += [f"--grep={query.pattern}", "--case-sensitive=false"]
    if query.boot is not None:
        made += ["--boot", str(query.boot)]
    return [*made, "--output=short-precise"]


def _moment(time: datetime) -> str:
    return time.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S")


def files_of(service: str) -> tuple[str, ...]:
    """Where a service that does not write to the journal may have its log, below the folder of logs."""
    return service, f"{service}.log", f"{service}/{service}.log"

"""From a request for a pod's stream to the path and query that its kubelet serves it at. Pure.

Source: kubernetes.io/docs/reference/kubernetes-api/workload-resources/pod-v1 (exec, attach, log, portforward)
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence
from datetime import datetime
from urllib.parse import quote, urlencode

from timonel.api.errors import BadRequest, FieldError, invalid
from timonel.api.field_errors import Path, forbidden, not_supported
from timonel.api.field_errors import invalid as invalid_field
from timonel.api.objects import Object, get_path, name_of, namespace_of
from timonel.api.pod_references import all_containers
from timonel.api.refs import ResourceRef

Query = Mapping[str, Sequence[str]]

_LOG_OPTIONS = ResourceRef("", "v1", "podlogoptions", "PodLogOptions")
_STREAMS = {"stdin": "input", "stdout": "output", "stderr": "error", "tty": "tty"}
_LOG_STREAMS = ("All", "Stderr", "Stdout")


def choose_container(pod: Object, wanted: str) -> str:
    """The container asked for, or the only one. Raises BadRequest."""
    names = [container["name"] for container in all_containers(pod)]
    if wanted:
        if wanted not in names:
            raise BadRequest(f"container {wanted} is not valid for pod {name_of(pod)}")
        return wanted
    containers = pod["spec"].get("containers") or []
    if len(containers) == 1:
        return str(containers[0]["name"])
    message = f"a container name must be specified for pod {name_of(pod)}"
    raise BadRequest(f"{message}, choose one of: [{' '.join(names)}]" if containers else message)


def stream_path(verb: str, pod: Object, query: Query) -> str:
    """`verb` is exec or attach. Raises BadRequest."""
    container = choose_container(pod, _text(query, "container"))
    options = [(kubelet, "1") for ours, kubelet in _STREAMS.items() if _flag(query, ours)]
    if verb == "exec":
        options += [("command", word) for word in query.get("command", ())]
    return _path(verb, pod, container, options)


def port_forward_path(pod: Object, query: Query) -> str:
    """Raises BadRequest for a port that is no number."""
    ports = [port for value in query.get("ports", ()) for port in value.split(",") if port]
    for port in ports:
        if not port.isdigit():
            raise BadRequest(f'unable to parse "{port}" as a port')
    return _path("portForward", pod, "", [("port", ",".join(ports))] if ports else [])


def log_path(pod: Object, query: Query) -> str:
    """Raises BadRequest and Invalid."""
    container = choose_container(pod, _text(query, "container"))
    options = [(name, "true") for name in ("follow", "previous", "timestamps") if _flag(query, name)]
    stream = _text(query, "stream") or "All"
    limits = {name: _integer(query, name) for name in ("sinceSeconds", "tailLines", "limitBytes")}
    since_time = _text(query, "sinceTime")
    if errors := _check_log_options(limits, since_time, stream):
        raise invalid(_LOG_OPTIONS, name_of(pod), errors)
    options += [(name, str(value)) for name, value in limits.items() if value is not None]
    if since_time:
        options.append(("sinceTime", since_time))
    return _path("containerLogs", pod, container, [*options, ("stream", stream)])


def _check_log_options(limits: Mapping[str, int | None], since_time: str, stream: str) -> list[FieldError]:
    errors: list[FieldError] = []
    since, tail, limit = limits["sinceSeconds"], limits["tailLines"], limits["limitBytes"]
    if tail is not None and tail < 0:
        errors.append(invalid_field(Path("tailLines"), tail, "must be greater than or equal to 0"))
    if limit is not None and limit < 1:
        errors.append(invalid_field(Path("limitBytes"), limit, "must be greater than 0"))
    if since is not None and since_time:
        errors.append(forbidden(Path(), "at most one of `sinceTime` or `sinceSeconds` may be specified"))
    elif since is not None and since < 1:
        errors.append(invalid_field(Path("sinceSeconds"), since, "must be greater than 0"))
    if since_time:
        try:
            datetime.fromisoformat(since_time)
        except ValueError as exc:
            raise BadRequest(f'parsing time "{since_time}": not an RFC 3339 time') from exc
    if stream not in _LOG_STREAMS:
        errors.append(not_supported(Path("stream"), stream, _LOG_STREAMS))
    elif stream != "All" and tail is not None:
        errors.append(forbidden(Path(), "`tailLines` and specific `stream` are mutually exclusive for now"))
    return errors


def split_scheme_name_port(text: str) -> tuple[str, str, str] | None:
    """Takes "name", "name:port", "scheme:name:port" apart; None for anything else."""
    parts = text.split(":")
    if len(parts) == 1:
        scheme, name, port = "", parts[0], ""
    elif len(parts) == 2:
        scheme, name, port = "", *parts
    elif len(parts) == 3:
        scheme, name, port = parts
    else:
        return None
    return (scheme, name, port) if name and scheme in ("", "http", "https") else None


def pod_address(pod: Object) -> str:
    """The pod's address if proxying to it is allowed: never to the server's own loopback or link. Raises BadRequest."""
    text = get_path(pod, "status", "podIP") or ""
    return allowed_address(text)


def allowed_address(text: str) -> str:
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        raise BadRequest("address not allowed") from None
    if address.is_loopback or address.is_link_local or address.is_multicast or address.is_unspecified:
        raise BadRequest("address not allowed")
    return text


def first_container_port(pod: Object) -> int | None:
    for container in pod["spec"].get("containers") or ():
        if ports := container.get("ports"):
            return int(ports[0]["containerPort"])
    return None


def _path(verb: str, pod: Object, container: str, options: Sequence[tuple[str, str]]) -> str:
    parts = [verb, namespace_of(pod), name_of(pod), *([container] if container else [])]
    path = "/" + "/".join(quote(part, safe="") for part in parts)
    return f"{path}?{urlencode(options)}" if options else path


def _text(query: Query, name: str) -> str:
    values = query.get(name)
    return values[0] if values else ""


def _flag(query: Query, name: str) -> bool:
    values = query.get(name)
    text = _text(query, name) if values else "false"
    return text.lower() not in ("false", "0")


def _integer(query: Query, name: str) -> int | None:
    text = _text(query, name)
    if not text:
        return None
    try:
        return int(text)
    except ValueError:
        raise BadRequest(f'strconv.ParseInt: parsing "{text}": invalid syntax') from None

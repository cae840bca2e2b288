"""What requests may say beside their body: parameters of verbs and streams, for both versions of OpenAPI."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Parameter:
    name: str
    type: str
    description: str
    place: str = "query"
    """"query" or "path"."""


Parameters = tuple[Parameter, ...]

NAMESPACE = Parameter("namespace", "string", "object name and auth scope, such as for teams and projects", "path")
PATH = Parameter("path", "string", "path to the resource", "path")
PRETTY = Parameter("pretty", "string", "If 'true', then the output is pretty printed.")
_DRY_RUN = Parameter("dryRun", "string", "With 'All', nothing is stored; all else is done.")
_MANAGER = Parameter("fieldManager", "string", "The name under which the changed fields are managed.")
_VALIDATION = Parameter("fieldValidation", "string", "What unknown and duplicate fields lead to: Ignore, Warn, Strict.")
_FORCE = Parameter("force", "boolean", "Server-side apply takes fields from other managers.")
_WRITE = (_DRY_RUN, _MANAGER, _VALIDATION, PRETTY)
_SELECTING: Parameters = (
    Parameter("continue", "string", "The token of the page before."),
    Parameter("fieldSelector", "string", "Restricts the result by fields."),
    Parameter("labelSelector", "string", "Restricts the result by labels."),
    Parameter("limit", "integer", "The size of a page."),
    Parameter("resourceVersion", "string", "Constrains how old the answer may be."),
    Parameter("resourceVersionMatch", "string", "How resourceVersion is meant: Exact or NotOlderThan."),
    Parameter("sendInitialEvents", "boolean", "A watch begins with the present state."),
    Parameter("shardSelector", "string", "For a feature that is off: no effect."),
    Parameter("timeoutSeconds", "integer", "How long a list or watch may take."),
    PRETTY,
)
LIST: Parameters = (
    *_SELECTING,
    Parameter("allowWatchBookmarks", "boolean", "A watch wants events of type BOOKMARK."),
    Parameter("watch", "boolean", "Watches instead of listing."),
)
_DELETE: Parameters = (
    _DRY_RUN,
    Parameter("gracePeriodSeconds", "integer", "How long the object may take to end."),
    Parameter(
        "ignoreStoreReadErrorWithClusterBreakingPotential", "boolean", "Delete without looking: a feature that is off."
    ),
    Parameter("orphanDependents", "boolean", "Deprecated: use propagationPolicy."),
    Parameter("propagationPolicy", "string", "What becomes of dependents: Orphan, Background, Foreground."),
    PRETTY,
)
OF_VERBS: Mapping[str, Parameters] = {
    "get": (PRETTY,), "create": _WRITE, "update": _WRITE, "patch": (*_WRITE, _FORCE), "list": LIST, "watch": LIST,
    "watchlist": LIST, "delete": _DELETE, "deletecollection": tuple(dict.fromkeys((*_DELETE, *_SELECTING))),
}  # fmt: skip

_CONTAINER = Parameter("container", "string", "Which container; may be left out if there is but one.")
_STREAMS: Parameters = (
    _CONTAINER,
    Parameter("stderr", "boolean", "Whether its standard error is wanted."),
    Parameter("stdin", "boolean", "Whether its standard input is wanted."),
    Parameter("stdout", "boolean", "Whether its standard output is wanted."),
    Parameter("tty", "boolean", "Whether it has a terminal."),
)
OF_STREAMS: Mapping[str, Parameters] = {
    "attach": _STREAMS,
    "exec": (*_STREAMS, Parameter("command", "string", "What to run: once for each word.")),
    "portforward": (Parameter("ports", "integer", "Ports to forward; needed with WebSockets."),),
    "proxy": (Parameter("path", "string", "The path at what answers, if the request's own has none."),),
    "log": (
        _CONTAINER,
        Parameter("follow", "boolean", "Goes on while the container writes."),
        Parameter("insecureSkipTLSVerifyBackend", "boolean", "Does not ask who the kubelet is."),
        Parameter("limitBytes", "integer", "Ends after so many bytes."),
        Parameter("previous", "boolean", "Of the container before the last restart."),
        Parameter("sinceSeconds", "integer", "Begins so many seconds ago."),
        Parameter("stream", "string", "All, Stdout or Stderr."),
        Parameter("tailLines", "integer", "Begins so many lines before the end."),
        Parameter("timestamps", "boolean", "Begins each line with its time."),
        PRETTY,
    ),
}
"""Of the subresources whose answers are no objects."""

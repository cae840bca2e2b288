"""Requests and the answers that Kubernetes gives: what a case is, how it is sent, and what of an answer is compared.

A case is two files. `NAME.input.yaml` is a list of steps, sent in order to a fresh namespace that has the service
account `default`:

    - method: POST                      # GET, PUT, PATCH, DELETE
      path: /api/v1/namespaces/{ns}/configmaps?fieldManager=a
      body: {metadata: {name: a}}       # text is sent as it is, anything else as JSON
      type: merge                       # optional: json, yaml, json-patch, merge, strategic, apply, or a media type
      headers: {Accept: …}              # optional
      name: why this step               # optional, for the reader
      show: [metadata.managedFields]    # optional: of a successful answer, only these parts are compared
      events: 2                         # optional, of a watch: stop after so many; the body is the list of them
      token: test-alice-token           # optional: somebody else than the administrator

`{ns}` is the case's namespace, for paths, bodies, and names of objects without namespace; `{0.metadata.uid}` is what
the answer to the first step has there. `NAME.output.yaml` lists {status, warnings?, headers?, body} per step; what
differs from run to run is `<uid>`, `<time>`, `<rv>`, `<generated>`, `<address>`, `<port>` or `<continue>` there, unless
the case itself says the value.

Not compared is what is ours on purpose: warnings of what is not built, texts that describe a Table's columns, why a
JSON patch does not apply (which Kubernetes keeps to itself), whose fault a malformed patch or revision is (500 there,
400 here), how often one and the same cause is listed, and the order of fields in an object that a message quotes.

Outputs are recorded from Kubernetes v1.36, never from our own answers; see test_requests.py.
"""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import aiohttp
import yaml

CASES = Path(__file__).parent / "requests"

_TYPES = {
    "json": "application/json",
    "yaml": "application/yaml",
    "json-patch": "application/json-patch+json",
    "merge": "application/merge-patch+json",
    "strategic": "application/strategic-merge-patch+json",
    "apply": "application/apply-patch+yaml",
}
_REFERENCE = re.compile(r"\{(\d+)\.([\w.]+)\}")
_UID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")
_REVISION = re.compile(r"(current: |in record \(|resourceVersion: |resource version: |StorageError: .*)\d+")
_QUOTED_OBJECT = re.compile(r'Invalid value: "\{.*\}": ')
_SOURCE = re.compile(r' in scheme "[^"]*"')
_TOKEN_VOLUME = re.compile(r"kube-api-access-\w{5}")
_NOT_BUILT = "not built in this release of Timonel: "
_ADDRESSES = ("clusterIP", "clusterIPs")
_PORTS = ("nodePort", "healthCheckNodePort")
_HEADERS = ("Retry-After",)
_WARNING = re.compile(r'299 \S+ "((?:[^"\\]|\\.)*)"')

Steps = list[dict[str, Any]]


async def run_case(steps: Steps, url: str, http: aiohttp.ClientSession, token: str) -> list[dict[str, Any]]:
    """The answers of the server at `url`, ready to be compared."""
    namespace = f"golden-{uuid.uuid4().hex[:8]}"
    ready = [
        {"method": "POST", "path": "/api/v1/namespaces", "body": {"metadata": {"name": namespace}}},
        {"method": "POST", "path": f"/api/v1/namespaces/{namespace}/serviceaccounts",
         "body": {"metadata": {"name": "default"}}},
    ]  # fmt: skip
    for step in ready:
        status, _, body = await _send(step, url, http, token)
        if status != 201:
            raise AssertionError(f"{step['path']}: {status} {body}")
    answers: list[Any] = []
    shown = []
    comparable = _Comparable(namespace, json.dumps(steps))
    for step in steps:
        filled = json.loads(_fill(json.dumps(step), namespace, answers))
        status, headers, body = await _send(filled, url, http, token)
        answers.append(body)
        shown.append(comparable.answer(step, status, headers, body))
    return shown


def _fill(text: str, namespace: str, answers: list[Any]) -> str:
    def value(match: re.Match[str]) -> str:
        found = answers[int(match[1])]
        for part in match[2].split("."):
            found = found[int(part) if isinstance(found, list) else part]
        return str(found)

    return _REFERENCE.sub(value, text.replace("{ns}", namespace))


async def _send(
    step: Mapping[str, Any], url: str, http: aiohttp.ClientSession, token: str
) -> tuple[int, Mapping[str, Any], Any]:
    """Status code, the headers that are compared (and Warning, a list), and the body."""
    sent = {"Authorization": f"Bearer {step.get('token', token)}", "Accept": "application/json", "User-Agent": "golden"}
    data = None
    if "body" in step:
        body = step["body"]
        data = body if isinstance(body, str) else json.dumps(body)
        kind = step.get("type", "json")
        sent["Content-Type"] = _TYPES.get(kind, kind)
    sent.update(step.get("headers") or {})
    async with http.request(step["method"], url + step["path"], data=data, headers=sent) as response:
        headers: dict[str, Any] = {name: response.headers[name] for name in _HEADERS if name in response.headers}
        warnings = [_WARNING.sub(r"\1", text) for text in response.headers.getall("Warning", ())]
        warnings = [text for text in warnings if not text.startswith(_NOT_BUILT)]
        headers["Warning"] = [text.replace('\\"', '"').replace("\\\\", "\\") for text in warnings]
        if "events" in step and response.status == 200:
            events: list[Any] = []
            while len(events) < step["events"] and (line := await response.content.readline()):
                events.append(json.loads(line))
            response.close()
            return response.status, headers, events
        content = await response.text()
        is_json = response.content_type == "application/json"
        return response.status, headers, json.loads(content) if is_json else content


class _Comparable:
    """Takes out of a case's answers what differs from run to run. `said`: all text of the case itself."""

    def __init__(self, namespace: str, said: str) -> None:
        self._namespace = namespace
        self._said = said
        self._generated: dict[str, str] = {}

    def answer(self, step: Mapping[str, Any], status: int, headers: Mapping[str, Any], body: Any) -> dict[str, Any]:
        self._find_generated(body)
        if status == 500 and not body.get("reason"):
            status, body = 400, {**body, "code": 400, "reason": "BadRequest"}
        shown: dict[str, Any] = {"status": status}
        if headers["Warning"]:
            shown["warnings"] = [self._text(text) for text in headers["Warning"]]
        if rest := {name: value for name, value in headers.items() if name != "Warning"}:
            shown["headers"] = rest
        body = self._value(_without_ours(body), "")
        if status < 300 and "show" in step and isinstance(body, dict):
            body = {path: _part(body, path) for path in step["show"]}
        shown["body"] = body
        return shown

    def _find_generated(self, value: Any) -> None:
        if isinstance(value, dict):
            prefix, name = value.get("generateName"), value.get("name")
            if isinstance(prefix, str) and isinstance(name, str) and prefix and json.dumps(name) not in self._said:
                self._generated[name] = prefix + "<generated>"
            value = list(value.values())
        if isinstance(value, list):
            for item in value:
                self._find_generated(item)

    def _value(self, value: Any, field: str) -> Any:
        if isinstance(value, dict):
            return {self._text(key): self._value(item, key) for key, item in value.items()}
        if isinstance(value, list):
            items = [self._value(item, field) for item in value]
            # Their order depends on the second in which each was written.
            return sorted(items, key=_entry_key) if field == "managedFields" else items
        if isinstance(value, str):
            if field == "resourceVersion" and value not in ("", "0"):
                return "<rv>"
            if field == "continue" and value:
                return "<continue>"
            if field in _ADDRESSES and value not in ("", "None") and json.dumps(value) not in self._said:
                return "<address>"
            return self._text(value)
        if field in _PORTS and isinstance(value, int) and value and f": {value}" not in self._said:
            return "<port>"
        return value

    def _text(self, text: str) -> str:
        def hidden(mark: str) -> Any:
            return lambda match: match[0] if match[0] in self._said else mark

        text = _TIME.sub(hidden("<time>"), _UID.sub(hidden("<uid>"), text))
        text = _TOKEN_VOLUME.sub("kube-api-access-<generated>", text)
        for name, shown in self._generated.items():
            text = text.replace(name, shown)
        text = _SOURCE.sub("", text)
        text = _QUOTED_OBJECT.sub("Invalid value: <object>: ", text)
        return _REVISION.sub(r"\1<rv>", text).replace(self._namespace, "{ns}")


_EXTENSIONS = ("metrics.k8s.io",)
"""Groups that the recorded server had no extension server for."""
_LISTS_OF_GROUPS = {"APIGroupList": ("groups",), "APIGroupDiscoveryList": ("items",)}


def _name_of_group(group: Mapping[str, Any]) -> str:
    return str(group.get("name") or (group.get("metadata") or {}).get("name") or "")


def _without_ours(body: Any) -> Any:
    """Without what is not compared."""
    if not isinstance(body, dict):
        return body
    if body.get("kind") == "Table":
        columns = [{**column, "description": "…"} for column in body.get("columnDefinitions") or ()]
        return {**body, "columnDefinitions": columns}
    for listed in _LISTS_OF_GROUPS.get(body.get("kind", ""), ()):
        kept = [each for each in body[listed] if _name_of_group(each) not in _EXTENSIONS]
        body = {**body, listed: kept}
    details = body.get("details") or {}
    if body.get("kind") != "Status" or "causes" not in details:
        return body
    causes: list[Any] = []
    for cause in details["causes"]:
        if cause not in causes:
            causes.append(cause)
    if causes[0].get("reason") == "FieldManagerConflict":
        causes.sort(key=lambda cause: (cause["message"], cause["field"]))
    details = {**details, "causes": causes}
    if body.get("message") == "the server rejected our request due to an error in our request":
        del details["causes"]
    return {**body, "details": details}


def _part(body: Any, path: str) -> Any:
    for part in path.split("."):
        if isinstance(body, list):
            body = body[int(part)] if int(part) < len(body) else None
        elif isinstance(body, dict):
            body = body.get(part)
        else:
            return None
    return body


def _entry_key(entry: Mapping[str, Any]) -> list[str]:
    return [str(entry.get(name, "")) for name in ("operation", "manager", "subresource", "apiVersion", "fieldsV1")]


def read_steps(case: Path) -> Steps:
    steps: Steps = yaml.safe_load(case.read_text())
    return steps


def output_of(case: Path) -> Path:
    return case.with_name(case.name.replace(".input.", ".output."))


class _Readable(yaml.SafeDumper):
    """Without anchors, which would hide what is compared."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def write_answers(case: Path, answers: list[dict[str, Any]]) -> None:
    text = yaml.dump(answers, Dumper=_Readable, sort_keys=False, allow_unicode=True, width=120)
    output_of(case).write_text(text)

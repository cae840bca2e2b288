"""Where metrics come from: the three metrics APIs. All amounts are thousandths, as integers.

metrics.k8s.io is the server's own. The other two exist where somebody has an adapter for them.
Source: github.com/kubernetes/metrics, pkg/apis
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from urllib.parse import quote

from timonel.api.clock import parse_time
from timonel.api.durations import parse_duration
from timonel.api.errors import ApiError
from timonel.api.labels import Selector
from timonel.api.objects import Object, get_path, name_of
from timonel.api.quantity import milli_value
from timonel.api.refs import POD_METRICS
from timonel.client.protocol import ApiClient
from timonel.controllers.horizontalpodautoscaler.replicas import NoProposal, PodMetric
from timonel.controllers.horizontalpodautoscaler.targets import Targets, UnknownTarget, get_document

_USUAL_WINDOW_SECONDS = 60.0
_CUSTOM, _EXTERNAL = "custom.metrics.k8s.io", "external.metrics.k8s.io"
_CUSTOM_VERSIONS = ("v1beta2", "v1beta1")


class MetricSources:
    """Every method raises NoProposal, with upstream's words, when there is no answer to go by."""

    def __init__(self, client: ApiClient, targets: Targets) -> None:
        self._client = client
        self._targets = targets

    async def of_resource(self, namespace: str, selector: str, resource: str, container: str) -> dict[str, PodMetric]:
        """By pod; of all containers together, or of the one that is named."""
        try:
            listed = await self._client.list(POD_METRICS, namespace, label_selector=selector)
        except ApiError as exc:
            raise NoProposal(f"unable to fetch metrics from resource metrics API: {exc}") from exc
        items = listed.get("items") or []
        if not items:
            raise NoProposal("no metrics returned from resource metrics API")
        found: dict[str, PodMetric] = {}
        with _reading("resource"):
            for item in items:
                value = _resource_use(item.get("containers") or (), resource, container)
                if value is not None:
                    window = float(parse_duration(item["window"]))
                    found[name_of(item)] = PodMetric(value, parse_time(item["timestamp"]), window)
        return found

    async def of_pods(
        self, namespace: str, selector: str, metric: str, metric_selector: Selector
    ) -> dict[str, PodMetric]:
        found: dict[str, PodMetric] = {}
        params = {"labelSelector": selector}
        items = await self._custom(f"namespaces/{_part(namespace)}/pods/*/{_part(metric)}", params, metric_selector)
        with _reading("custom"):
            for item in items:
                window = item.get("windowSeconds")
                found[item["describedObject"]["name"]] = PodMetric(
                    milli_value(str(item["value"])),
                    parse_time(item["timestamp"]),
                    _USUAL_WINDOW_SECONDS if window is None else float(window),
                )
        return found

    async def of_object(self, namespace: str, described: Object, metric: str, metric_selector: Selector) -> int:
        """Of one object, in the same namespace; of that namespace itself, if its kind is named."""
        api_version, kind = described.get("apiVersion") or "", described["kind"]
        if kind == "Namespace" and "/" not in api_version:
            path = f"namespaces/{_part(namespace)}/metrics/{_part(metric)}"
        else:
            try:
                ref = (await self._targets.resources(api_version, kind))[0]
            except (UnknownTarget, ApiError) as exc:
                raise NoProposal(f"unable to fetch metrics from custom metrics API: {exc}") from exc
            what = f"{_part(ref.group_resource)}/{_part(described['name'])}/{_part(metric)}"
            path = f"namespaces/{_part(namespace)}/{what}"
        items = await self._custom(path, {}, metric_selector)
        with _reading("custom"):
            return milli_value(str(items[0]["value"]))

    async def of_outside(self, namespace: str, metric: str, selector: Selector) -> list[int]:
        """Of all series that the selector chooses."""
        path = f"/apis/{_EXTERNAL}/v1beta1/namespaces/{_part(namespace)}/{_part(metric)}"
        params = {"labelSelector": str(selector)} if not selector.everything else {}
        prefix = "unable to fetch metrics from external metrics API: "
        try:
            listed = await get_document(self._client, path, params)
        except ApiError as exc:
            raise NoProposal(f"{prefix}{exc}") from exc
        if listed is None:
            raise NoProposal(f"{prefix}the server could not find the requested resource (get {metric}.{_EXTERNAL})")
        items = listed.get("items") or []
        if not items:
            raise NoProposal("no metrics returned from external metrics API")
        with _reading("external"):
            return [milli_value(str(item["value"])) for item in items]

    async def _custom(self, path: str, params: dict[str, str], metric_selector: Selector) -> list[Object]:
        if not metric_selector.everything:
            params = {**params, "metricLabelSelector": str(metric_selector)}
        prefix = "unable to fetch metrics from custom metrics API: "
        try:
            group = await get_document(self._client, f"/apis/{_CUSTOM}")
            served = [each["version"] for each in (group or {}).get("versions") or ()]
            version = next((each for each in _CUSTOM_VERSIONS if each in served), None)
            if version is None:
                raise NoProposal(f"{prefix}no custom metrics API ({_CUSTOM}) registered")
            listed = await get_document(self._client, f"/apis/{_CUSTOM}/{version}/{path}", params)
        except ApiError as exc:
            raise NoProposal(f"{prefix}{exc}") from exc
        if listed is None:
            raise NoProposal(f"{prefix}the server could not find the metric for the objects")
        items: list[Object] = listed.get("items") or []
        if not items:
            raise NoProposal("no metrics returned from custom metrics API")
        return items


@contextmanager
def _reading(api: str) -> Iterator[None]:
    """Adapters are programs of others: what they answer may make no sense, which must not keep other metrics away."""
    try:
        yield
    except (KeyError, TypeError, ValueError, AttributeError) as exc:
        why = f"missing field {exc}" if isinstance(exc, KeyError) else str(exc)
        raise NoProposal(f"unable to read what the {api} metrics API answered: {why}") from exc


def _resource_use(containers: Iterable[Object], resource: str, container: str) -> int | None:
    """None when it is not known of all that it is asked of."""
    values = [get_path(each, "usage", resource) for each in containers if container in ("", each["name"])]
    if not values or None in values:
        return None
    return sum(milli_value(str(value)) for value in values)


def _part(text: str) -> str:
    return quote(text, safe="")

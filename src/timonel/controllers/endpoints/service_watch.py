"""What both endpoint controllers watch: Services, the pods they select, and their own output."""

from __future__ import annotations

from timonel.api.clock import Clock
from timonel.api.labels import selector_from_map
from timonel.api.objects import Object, key_of, labels_of, namespace_of
from timonel.api.refs import PODS, SERVICES
from timonel.client.controller import Controller, Keys, Watch
from timonel.client.events import EventRecorder
from timonel.client.informer import Informers
from timonel.client.protocol import ApiClient
from timonel.controllers.endpoints.addresses import relevant_change, selects_pods
from timonel.controllers.own_writes import OwnWrites


class ServiceWatchingController(Controller):
    """Keys are Services."""

    def __init__(
        self,
        *,
        client: ApiClient,
        informers: Informers,
        clock: Clock,
        recorder: EventRecorder | None = None,
        batch_period: float = 0.0,
    ) -> None:
        """`batch_period`: seconds that changes of pods are gathered."""
        super().__init__(client=client, informers=informers, clock=clock, recorder=recorder)
        self.watches = (
            Watch(SERVICES),
            Watch(PODS, key=self._services_of_pod, changed=relevant_change, delay_seconds=batch_period),
        )
        self.own = OwnWrites(clock)

    def _services_of_pod(self, pod: Object) -> Keys:
        labels = labels_of(pod)
        return [
            key_of(service)
            for service in self.lister(SERVICES).list(namespace_of(pod))
            if selects_pods(service) and service["spec"]["selector"].items() <= labels.items()
        ]

    def pods_of(self, service: Object) -> list[Object]:
        """In order of name, so that equal states give equal objects."""
        selector = selector_from_map(service["spec"]["selector"])
        pods = self.lister(PODS).list(namespace_of(service), selector)
        return sorted(pods, key=lambda pod: str(pod["metadata"]["name"]))

"""What is served is found whole: who empties namespaces or collects garbage must not miss a kind."""

from timonel.api.refs import PODS, ResourceRef
from timonel.client.discovery import discover
from timonel.testing.fake_client import FakeClient

NEW = ResourceRef("stable.example.org", "v2", "things", "Thing")
OLD = ResourceRef("stable.example.org", "v1", "things", "Thing")
ONLY_OLD = ResourceRef("stable.example.org", "v1", "relics", "Relic")


async def test_each_resource_is_found_once_in_the_preferred_version_that_has_it():
    client = FakeClient(served=(PODS, NEW, OLD, ONLY_OLD))
    assert {row.ref for row in await discover(client)} == {PODS, NEW, ONLY_OLD}

"""What is served is found whole: who empties namespaces or collects garbage must not miss a kind."""

from timonel.api.refs import PODS, ResourceRef
from timonel.client.discovery import discover, discover_available
from timonel.testing.fake_client import FakeClient

NEW = ResourceRef("stable.example.org", "v2", "things", "Thing")
OLD = ResourceRef("stable.example.org", "v1", "things", "Thing")
ONLY_OLD = ResourceRef("stable.example.org", "v1", "relics", "Relic")


async def test_each_resource_is_found_once_in_the_preferred_version_that_has_it():
    client = FakeClient(served=(PODS, NEW, OLD, ONLY_OLD))
    assert {row.ref for row in await discover(client)} == {PODS, NEW, ONLY_OLD}


async def test_what_is_not_known_is_told_apart_from_what_is():
    client = FakeClient()
    raw = client.raw

    async def answer(method, path, **options):
        if path == "/apis/batch/v1":
            return 503, {}, b'{"kind":"Status","code":503,"reason":"ServiceUnavailable","message":"away"}'
        if path == "/apis/apps/v1":
            return 200, {}, b'{"kind":"APIResourceList","groupVersion":"apps/v1/odd","resources":[]}'
        return await raw(method, path, **options)

    client.raw = answer
    found = await discover_available(client)
    assert list(found.failed) == ["batch/v1"]
    assert found.unreadable == ("apps/v1/odd",)
    groups = {row.ref.group for row in found.resources}
    assert "" in groups
    assert not {"apps", "batch"} & groups

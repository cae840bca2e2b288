"""Acting as service accounts: tokens asked for lazily, once, in time, and again when refused; one pool for all."""

import asyncio

import pytest
from aiohttp import web

from tests.unit.client.test_rest import serving
from timonel.api.errors import Forbidden, NotFound, ServiceUnavailable
from timonel.api.objects import namespace_of
from timonel.api.refs import CONFIGMAPS, SERVICE_ACCOUNTS
from timonel.client.rest import Client, ClientConfig
from timonel.client.service_accounts import ServiceAccountClients, ServiceAccountToken
from timonel.testing.clock import VirtualClock


class Granting:
    """Stands for the server: counts tokens, and knows which accounts exist."""

    def __init__(self, *accounts, lifetime=3600):
        self.accounts = set(accounts)
        self.lifetime = lifetime
        self.granted = 0
        self.error = None

    async def create(self, ref, obj, namespace="", *, subresource="", name=""):
        assert ref == SERVICE_ACCOUNTS
        await asyncio.sleep(0)
        if self.error:
            raise self.error
        if not subresource:
            assert namespace_of(obj) == "kube-system"
            self.accounts.add(obj["metadata"]["name"])
            return obj
        assert (subresource, namespace) == ("token", "kube-system")
        if name not in self.accounts:
            raise NotFound("no such account")
        self.granted += 1
        spec = {**obj["spec"], "expirationSeconds": self.lifetime}
        return {"spec": spec, "status": {"token": f"{name}-{self.granted}"}}


def token_of(server, clock, name="job-controller"):
    return ServiceAccountToken(server, "kube-system", name, clock=clock)


async def test_account_is_made_when_it_is_missing():
    server = Granting()
    assert await token_of(server, VirtualClock()).token() == "job-controller-1"
    assert server.accounts == {"job-controller"}


async def test_many_requests_at_once_ask_for_one_token():
    server = Granting("job-controller")
    subject = token_of(server, VirtualClock())
    assert set(await asyncio.gather(*(subject.token() for _ in range(20)))) == {"job-controller-1"}
    assert server.granted == 1


@pytest.mark.parametrize("lifetime", [3600, 600])
async def test_token_is_renewed_before_it_expires(lifetime):
    clock = VirtualClock()
    server = Granting("job-controller", lifetime=lifetime)
    subject = token_of(server, clock)
    await subject.token()
    await clock.advance(lifetime * 0.79)
    assert await subject.token() == "job-controller-1"
    await clock.advance(lifetime * 0.02)
    assert await subject.token() == "job-controller-2"


async def test_old_token_serves_while_it_lasts_when_there_is_no_new_one():
    clock = VirtualClock()
    server = Granting("job-controller")
    subject = token_of(server, clock)
    await subject.token()
    server.error = ServiceUnavailable("away")
    await clock.advance(3000)
    assert await subject.token() == "job-controller-1"
    await clock.advance(601)
    with pytest.raises(ServiceUnavailable):
        await subject.token()
    server.error = None
    assert await subject.token() == "job-controller-2"


async def test_refused_token_is_replaced_but_a_late_refusal_does_not_cost_the_new_one():
    server = Granting("job-controller")
    subject = token_of(server, VirtualClock())
    old = await subject.token()
    subject.refused(old)
    new = await subject.token()
    subject.refused(old)
    assert (await subject.token(), server.granted) == (new, 2)


async def test_what_the_server_forbids_is_said():
    server = Granting()
    server.error = Forbidden("may not create tokens")
    with pytest.raises(Forbidden, match="may not create tokens"):
        await token_of(server, VirtualClock()).token()


async def test_clients_share_connections_and_come_as_themselves():
    asked = []
    valid = {"Bearer a-1", "Bearer b-2", "Bearer b-3"}

    async def handle(request):
        asked.append((request.headers["Authorization"], request.headers["User-Agent"], request.transport))
        if request.headers["Authorization"] not in valid:
            return web.json_response({"kind": "Status", "code": 401, "reason": "Unauthorized"}, status=401)
        return web.json_response({"kind": "ConfigMap", "metadata": {"name": "x"}})

    async with serving(handle) as url:
        config = ClientConfig(server=url, token="own", cert_file="never-read.crt", key_file="x", user_agent="manager")
        own = Client(config)
        own.create = Granting("a", "b").create
        clients = ServiceAccountClients(own, clock=VirtualClock())
        await clients.client("a").get(CONFIGMAPS, "x", "default")
        await clients.client("b").get(CONFIGMAPS, "x", "default")
        assert clients.client("b") is clients.client("b")
        valid.remove("Bearer b-2")  # the account was deleted and made again
        await clients.client("b").get(CONFIGMAPS, "x", "default")
        assert [(token, agent) for token, agent, _ in asked] == [
            ("Bearer a-1", "manager/a"),
            ("Bearer b-2", "manager/b"),
            ("Bearer b-2", "manager/b"),
            ("Bearer b-3", "manager/b"),
        ]
        assert len({id(transport) for _, _, transport in asked}) == 1
        await clients.aclose()
        await own.close()

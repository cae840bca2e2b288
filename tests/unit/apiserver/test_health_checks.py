"""kubernetes.io/docs/reference/using-api/health-checks"""

from __future__ import annotations

from timonel.apiserver.health import Health

HEALTH = Health(
    {"readyz": {"ping": lambda: "", "etcd": lambda: "the file /x is damaged"}, "livez": {"ping": lambda: ""}}
)


def answer(path, verbose=False, *exclude):
    return HEALTH.answer(path, verbose=verbose, exclude=frozenset(exclude))


def test_all_is_well():
    assert answer("/livez") == (200, "ok")
    assert answer("/livez", True) == (200, "[+]ping ok\nlivez check passed\n")


def test_a_failed_check_is_listed_without_its_reason():
    assert answer("/readyz") == (500, "[+]ping ok\n[-]etcd failed: reason withheld\nreadyz check failed\n")


def test_one_check_by_path():
    assert answer("/readyz/ping") == (200, "ok")
    assert answer("/readyz/etcd")[0] == 500
    assert answer("/readyz/none") is None
    assert answer("/other") is None


def test_checks_can_be_left_out():
    assert answer("/readyz", False, "etcd") == (200, "ok")
    _, text = answer("/readyz", True, "etcd", "nothing")
    assert "[+]etcd excluded: ok\n" in text
    assert 'cannot be excluded: no matches for "nothing"' in text

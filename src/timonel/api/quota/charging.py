"""Whether a write fits into the quotas of its namespace, and what it adds to each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from timonel.api.objects import Object, name_of
from timonel.api.quota.amounts import (
    Amounts,
    add,
    only,
    plus,
    positive,
    rest,
    spell,
    spell_names,
    value_of,
)
from timonel.api.quota.evaluator import Evaluator, Surroundings, is_in_scopes


class QuotaExceeded(Exception):
    """The message says which quota, what was asked for, what is used and what the limit is; without the object."""


@dataclass(frozen=True, slots=True)
class Change:
    """A write that `evaluator` handles."""

    evaluator: Evaluator
    operation: str
    subresource: str
    new: Object
    old: Object | None


@dataclass(slots=True)
class Account:
    """One quota and what is used of it, changes of this moment included."""

    quota: Object
    hard: Amounts
    used: Amounts

    @classmethod
    def of(cls, quota: Object) -> Account:
        status = quota.get("status") or {}
        return cls(quota, status.get("hard") or {}, dict(status.get("used") or {}))

    @property
    def name(self) -> str:
        return name_of(self.quota)

    def add(self, amounts: Amounts) -> None:
        add(self.used, amounts)


def charges(accounts: Sequence[Account], change: Change, around: Surroundings) -> dict[str, Amounts]:
    """What to add to the use of each quota, by the quota's name; nothing is changed here. Raises QuotaExceeded."""
    evaluator = change.evaluator
    concerned = [account for account in accounts if _concerns(account, change, around)]
    if not concerned:
        return {}
    usage = evaluator.usage(change.new, around)
    if negative := [name for name, amount in usage.items() if value_of(amount) < 0]:
        raise QuotaExceeded(f"quota usage is negative for resource(s): {spell_names(negative)}")
    difference = rest(usage, evaluator.usage(change.old, around)) if change.old is not None else usage
    found: dict[str, Amounts] = {}
    for account in concerned:
        counted = change.old is not None and is_in_scopes(evaluator, account.quota, change.old)
        wanted = only(positive(difference if counted else usage), account.hard.keys())
        if not wanted:
            continue
        # A status tells what has happened, which no quota can undo.
        if change.subresource != "status":
            _check(account, wanted)
        found[account.name] = wanted
    return found


def _concerns(account: Account, change: Change, around: Surroundings) -> bool:
    names = change.evaluator.matching(account.hard, around)
    if not names or not is_in_scopes(change.evaluator, account.quota, change.new):
        return False
    if why := change.evaluator.missing(names, change.new):
        raise QuotaExceeded(f"failed quota: {account.name}: {why}")
    if not names <= account.used.keys():
        raise QuotaExceeded(f"status unknown for quota: {account.name}, resources: {spell_names(names)}")
    return True


def _check(account: Account, wanted: Amounts) -> None:
    exceeded = {
        name
        for name, amount in wanted.items()
        if value_of(plus(account.used.get(name, "0"), amount)) > value_of(account.hard[name])
    }
    if exceeded:
        requested, used, hard = (only(amounts, exceeded) for amounts in (wanted, account.used, account.hard))
        raise QuotaExceeded(
            f"exceeded quota: {account.name}, requested: {spell(requested)}, used: {spell(used)},"
            f" limited: {spell(hard)}"
        )

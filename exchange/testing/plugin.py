"""The pytest plugin: fixtures `oracle` and `venue`, and the margin table of every account when a test fails.

Nothing of the venue is imported until a test asks for a fixture.
"""

from collections.abc import Callable, Generator
from typing import TYPE_CHECKING, Any, Protocol

import pytest

if TYPE_CHECKING:
    from zerodebt.exchange.testing.account import Account
    from zerodebt.exchange.testing.market import RunningVenue


class HasTable(Protocol):
    """What can show where an account or several stand."""

    def table(self) -> str: ...


SECTION = "zerodebt: margin"
_SHOWN = pytest.StashKey[list[HasTable]]()


def _shown(item: pytest.Item) -> list[HasTable]:
    return item.stash.setdefault(_SHOWN, [])


def _beside(request: pytest.FixtureRequest, venue: str) -> str:
    """A rulebook that is a file is looked for beside the test."""
    return str(request.path.parent / venue) if venue.endswith(".toml") else venue


@pytest.fixture
def oracle(request: pytest.FixtureRequest) -> "Callable[..., Account]":
    """Make an account to ask about: `oracle("hyperliquid", balances=..., positions=..., prices=...)`.

    See `zerodebt.exchange.testing.account.account` for its arguments and `Account` for the questions.
    """
    from zerodebt.exchange.testing.account import account

    def make(venue: str, *arguments: Any, **fields: Any) -> "Account":
        made = account(_beside(request, venue), *arguments, **fields)
        _shown(request.node).append(made)
        return made

    return make


@pytest.fixture
def venue(request: pytest.FixtureRequest) -> "Callable[..., RunningVenue]":
    """Make a running venue: `venue("hyperliquid", prices={"BTC": "118000"})`.

    See `zerodebt.exchange.testing.market.RunningVenue`.
    """
    from zerodebt.exchange.testing.market import RunningVenue

    def make(venue: str, *arguments: Any, **fields: Any) -> "RunningVenue":
        made = RunningVenue(_beside(request, venue), *arguments, **fields)
        _shown(request.node).append(made)
        return made

    return make


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    tables = [shown.table() for shown in _shown(item)] if report.failed else []
    if tables:
        report.sections.append((SECTION, "\n\n".join(tables)))
    return report

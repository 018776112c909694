"""Retail brokers run through the venue: ESMA's close-out and protection, and a broker with recourse.

The rules are published, the figures our own. What a client owes is a receivable beside an account that the
broker's financier has brought back to zero, so the vector's negative balance is one less the other.
"""

from pathlib import Path
from typing import Any

from tests.golden.published import vectors
from tests.venues import USD, Desk, future, of
from zerodebt.exchange.audit import audit
from zerodebt.exchange.commands import BUY, SELL, Deposit
from zerodebt.exchange.events import HOUSE, LiquidationStarted
from zerodebt.exchange.instruments import initial_atoms, margin_table
from zerodebt.exchange.rules import VenueRules, profile_table, venue_rules

FOLDER = Path(__file__).parent


def broker(name: str) -> VenueRules:
    return venue_rules(profile_table(name) | {"settle_asset": "USDC"})


@vectors("retail_fx_margin_requirement")
def test_margin_requirement(vector: Any) -> None:
    given = vector["inputs"]
    leverage = int(given["max_leverage"])
    table = margin_table(future(leverage=leverage))
    required = initial_atoms(table, int(given["notional"]) * USD, 1, leverage)
    assert required == int(vector["expected"]["initial_margin"]) * USD


@vectors("retail_fx_liquidation_trigger")
def test_close_out_at_half_of_the_required_margin(vector: Any) -> None:
    given = vector["inputs"]
    (position,) = given["positions"]
    # a thousand lots are worth the notional at the mark; a tick is a thousandth
    contract = future(
        leverage=int(position["leverage"]),
        tick_decimals=3,
        tick_value_atoms=USD // 1000,
        price_max_ticks=200_000,
    )
    mark = int(position["notional"])
    entry = mark - int(position["pnl"])
    d = Desk(broker("retail_protected"), (contract,), index=(mark,))
    client, other = d.open(int(given["balance"]), 10**6)
    d.index(entry)
    d.trade(client, other, 1000, entry)
    events = d.index(mark)
    assert d.state.markets[0].value_atoms(1000) == int(position["notional"]) * USD
    assert bool(of(events, LiquidationStarted)) is vector["expected"]["close_out"]
    assert audit(d.batches).findings == ()


def after_gap(rules: VenueRules, balance: int, profit: int) -> tuple[Desk, int]:
    """A long of 100 lots, and the price gaps down by what makes the profit; one order takes the rest."""
    d = Desk(rules, (future(leverage=30),))
    d.ok(Deposit(0, HOUSE, (10**6 * USD,)))
    d.index(1000)
    client, other = d.open(balance, 10**7)
    d.trade(client, other, 100, 1000)
    price = 1000 + profit // 100
    d.order(other, BUY, 100, price)
    d.index(price)
    assert not d.lots(client)
    return d, client


@vectors("retail_fx_negative_balance")
def test_negative_balance(vector: Any) -> None:
    given, expected = vector["inputs"], vector["expected"]
    name = "retail_protected" if given["negative_balance_protection"] else "retail_broker"
    d, client = after_gap(broker(name), int(given["balance"]), int(given["pnl_after_gap"]))
    owed = d.state.receivables.get(client, 0)
    assert d.cash(client) - owed == int(expected["client_balance"]) * USD
    assert 10**6 * USD - d.cash(HOUSE) == int(expected["broker_loss"]) * USD
    assert owed == int(expected["client_debt"]) * USD
    assert audit(d.batches).verdict == "RECOURSE"


def test_with_protection_the_broker_bears_the_same_gap() -> None:
    """The other half of the vector's rule, in its figures: 4,000 less 15,000."""
    d, client = after_gap(broker("retail_protected"), 4000, -15000)
    assert d.cash(client) == 0
    assert d.state.receivables == {}
    assert 10**6 * USD - d.cash(HOUSE) == 11_000 * USD
    report = audit(d.batches)
    assert (report.verdict, report.findings) == ("HELD", ())


def test_a_client_without_a_position_loses_nothing_in_a_gap() -> None:
    d = Desk(broker("retail_protected"), (future(leverage=30),), index=(1000,))
    client, other, taker = d.open(4000, 10**6, 10**6)
    d.order(other, SELL, 10, 1000)
    d.order(taker, BUY, 10, 1000)
    d.index(500)
    assert d.cash(client) == 4000 * USD

"""Figures of a cleared futures house, run through the venue: daily settlement, calls, default waterfall.

Calls are published worked examples, whose texts differ in where they call back to. Of the waterfall the rule
is published, the figures are our own. Its money is in millions: 1 million USD is 10^8 atoms of a cent.
"""

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tests.venues import USD, Desk, future, of
from zerodebt.exchange.audit import audit
from zerodebt.exchange.commands import AuctionBid, Contribute, Deposit, HoldAuction, SettleVariation
from zerodebt.exchange.events import HOUSE, DeficitClosed, LayerDrawn, MarginCalled
from zerodebt.exchange.margin import initial_at_mark
from zerodebt.exchange.rules import VenueRules, profile_table, venue_rules
from zerodebt.exchange.units import HOUR_NS

FOLDER = Path(__file__).parent
MILLION = 100
"""In dollars of a desk, which have 10^6 atoms."""
LAYERS = {
    "defaulter_guaranty_fund": "defaulter_contribution",
    "ccp_contribution": "house_capital",
    "non_defaulter_guaranty_fund": "contributions",
    "assessments": "assessments",
}


def case(topic: str, name: str) -> Any:
    found = json.loads((FOLDER / f"cme_{topic}.json").read_text(encoding="utf-8"))
    return next(vector for vector in found if vector["id"] == name)


def ccp(**settlement: Any) -> VenueRules:
    table = profile_table("ccp") | {"settle_asset": "USDC"}
    table["settlement"] = table["settlement"] | settlement
    return venue_rules(table)


def test_calls_back_to_initial() -> None:
    vector = case("variation_margin", "cme-vm-03")
    given, expected = vector["inputs"], vector["expected"]
    contract = future(
        leverage=1000,
        initial_atoms_per_lot=int(given["initial_margin"]) * USD,
        margin_floor_atoms_per_lot=int(given["maintenance_margin"]) * USD,
    )
    d = Desk(ccp(), (contract,), index=(int(given["entry"]),))
    long, short = d.open(int(given["initial_balance"]), 10_000)
    d.trade(long, short, int(given["units"]), int(given["entry"]))
    balances, calls = [], []
    for price in given["settlements"]:
        d.index(int(price))
        events = d.ok(SettleVariation(0, int(price)))
        balances.append(d.cash(long))
        calls.append(sum(call.called_atoms for call in of(events, MarginCalled)))
        if calls[-1]:
            d.ok(Deposit(0, long, (calls[-1],)))
    assert balances == [int(usd) * USD for usd in expected["balances_before_call"]]
    assert calls == [int(usd) * USD for usd in expected["calls"]]
    assert d.cash(long) == int(expected["final_balance"]) * USD
    assert not d.state.calls
    assert audit(d.batches).findings == ()


def test_price_that_triggers_a_call() -> None:
    vector = case("variation_margin", "cme-vm-05")
    given = vector["inputs"]
    units, entry = int(given["units"]), int(given["entry"])
    # The example's margins are for all units; a tenth of a dollar is a tick.
    contract = future(
        leverage=1000,
        tick_decimals=1,
        tick_value_atoms=USD // 10,
        initial_atoms_per_lot=int(given["initial_margin"]) * USD // units,
        margin_floor_atoms_per_lot=int(given["maintenance_margin"]) * USD // units,
    )
    trigger_ticks = 10 * int(vector["expected"]["trigger_price"])
    d = Desk(ccp(), (contract,), index=(10 * entry,))
    long, short = d.open(int(given["initial_margin"]), 10_000)
    d.trade(long, short, units, 10 * entry)
    d.index(trigger_ticks)
    assert not of(d.ok(SettleVariation(0, trigger_ticks)), MarginCalled)
    assert d.equity(long) == d.requirement(long)
    d.index(trigger_ticks - 1)
    assert of(d.ok(SettleVariation(0, trigger_ticks - 1)), MarginCalled)
    assert audit(d.batches).findings == ()


@pytest.mark.parametrize("call_to", ["maintenance", "initial"])
def test_calls_differ_by_where_they_call_back_to(call_to: str) -> None:
    vector = case("variation_margin", "cme-vm-06")
    given, expected = vector["inputs"], vector["expected"]
    contracts = int(given["contracts"])
    contract = future(
        leverage=1000,
        tick_value_atoms=int(Decimal(given["tick_value"]) * USD),
        price_min_ticks=-1000,
        price_max_ticks=1000,
        initial_atoms_per_lot=int(given["initial_margin"]) * USD,
        margin_floor_atoms_per_lot=int(given["maintenance_margin"]) * USD,
    )
    d = Desk(ccp(call_to=call_to), (contract,), index=(100,))
    long, short = d.open(int(expected["initial"]), 10**7)
    d.trade(long, short, contracts, 100)
    market = d.state.markets[0]
    assert initial_at_mark(d.state, market, contracts, 1000) == int(expected["initial"]) * USD
    assert d.requirement(long) == int(expected["maintenance"]) * USD
    before = d.cash(long)
    d.index(100 - int(given["ticks"]))
    (call,) = of(d.ok(SettleVariation(0, 100 - int(given["ticks"]))), MarginCalled)
    assert before - d.cash(long) == int(expected["loss"]) * USD
    assert d.cash(long) == int(expected["balance"]) * USD
    assert call.called_atoms == int(expected[f"vm_to_{call_to}"]) * USD
    assert audit(d.batches).findings == ()


@pytest.mark.parametrize("name", ["cme-wf-01", "cme-wf-04", "cme-wf-05"])
def test_default_waterfall(name: str) -> None:
    """A short of ten lots loses what the vector says; the layers are real balances of members and house."""
    vector = case("default_waterfall", name)
    loss = int(vector["inputs"]["loss"])
    layers = {layer: int(amount) for layer, amount in vector["inputs"]["layers"]}
    margin = layers["defaulter_margin"]
    contract = future(
        leverage=1000,
        initial_atoms_per_lot=margin * MILLION * USD // 10,
        margin_floor_atoms_per_lot=margin * MILLION * USD // 10,
    )
    d = Desk(ccp(), (contract,), index=(100,))
    d.ok(Deposit(0, HOUSE, (10**6 * USD,)))
    own = layers["defaulter_guaranty_fund"]
    member, *others = d.open((margin + own) * MILLION, 10**6, 10**6)
    d.ok(Contribute(member, own * MILLION * USD))
    pool = layers["non_defaulter_guaranty_fund"]
    for account, part in zip(others, (pool // 4, pool - pool // 4), strict=True):
        d.ok(Contribute(account, part * MILLION * USD))
    d.trade(others[0], member, 10, 100)
    price = 100 + loss * MILLION // 10
    d.index(price)
    d.ok(SettleVariation(0, price))
    d.tick(HOUR_NS)
    events = d.ok(HoldAuction(member, (0,), (AuctionBid(others[1], (price,)),)))
    used = {"defaulter_margin": margin * MILLION * USD - d.cash(member)}
    drawn = {e.layer: sum(atoms for _, atoms in e.shares) for e in of(events, LayerDrawn)}
    used |= {layer: drawn.get(ours, 0) for layer, ours in LAYERS.items()}  # type: ignore[call-overload]
    assert used == {layer: int(amount) * MILLION * USD for layer, amount in vector["expected"]["used"]}
    left = sum(closed.residual_atoms for closed in of(events, DeficitClosed))
    assert left == int(vector["expected"]["uncovered"]) * MILLION * USD
    assert audit(d.batches).findings == ()


def test_cover_two() -> None:
    """Each member's position loses what the vector says beyond its margin when the price falls by 100."""
    vector = case("default_waterfall", "cme-cover2-01")
    beyond = {name: int(usd) for name, usd in vector["inputs"]["stress_loss_over_margin"].items()}
    contract = future(
        leverage=1000,
        initial_atoms_per_lot=90 * USD,
        margin_floor_atoms_per_lot=45 * USD,
        price_max_ticks=1000,
    )
    d = Desk(ccp(), (contract,), index=(200,))
    *members, short = d.open(*(10_000 for _ in beyond), 10_000)
    for member, loss in zip(members, beyond.values(), strict=True):
        d.ok(Contribute(member, int(vector["inputs"]["fund"]) * USD // len(members)))
        if loss:
            # a lot loses 100 and has 90 of margin
            d.trade(member, short, loss // 10, 200)
    held, required = d.venue.view.default_fund((-100,))
    assert held == int(vector["inputs"]["fund"]) * USD
    assert required == int(vector["expected"]["required_fund"]) * USD
    assert (held >= required) is vector["expected"]["sufficient"]

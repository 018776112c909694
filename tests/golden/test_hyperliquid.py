"""Published and third-party figures of Hyperliquid, in the units of the venue.

Most positions come from real accounts as the exchange reported them; stages, backstop and deleveraging from a
third-party parity suite, whose reading of the open questions is the profile's.
"""

from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from tests.golden.published import load, vectors
from tests.venues import USD, Desk, hyperliquid, of, perpetual
from zerodebt.exchange.commands import LoadPositions, SetBackstop
from zerodebt.exchange.events import DeficitOpened, Deleveraged, LiquidationStarted, StagePaid
from zerodebt.exchange.instruments import (
    Instrument,
    Tier,
    initial_atoms,
    maintenance_atoms,
    margin_table,
    order_step_ticks,
)
from zerodebt.exchange.margin import Risk
from zerodebt.exchange.units import SECOND_NS
from zerodebt.exchange.waterfall.adl import Candidate, score_ppb

FOLDER = Path(__file__).parent
RULES = hyperliquid(
    fees={"maker_ppb": 0, "taker_ppb": 0}, orders={"value_min_atoms": 0}, mark={"formula": "index"}
)
RICH = 10_000_000


def tiers_of(rows: list[Any]) -> tuple[Tier, ...]:
    return tuple(Tier(int(row["lower_usd"]) * USD, int(row["max_leverage"])) for row in rows)


def atoms(usd: str) -> int:
    exact = Decimal(usd) * USD
    assert exact == int(exact), usd
    return int(exact)


@vectors("hyperliquid_tier_deduction")
def test_tier_table(vector: Any) -> None:
    table = margin_table(perpetual(tiers=tiers_of(vector["inputs"]["tiers"])))
    for n, row in enumerate(vector["expected"]["tiers"]):
        rate = Fraction(table.numerators[n], table.denominator)
        deduction = Fraction(table.deductions[n], table.denominator * USD)
        assert abs(rate - Fraction(row["maintenance_rate"])) < Fraction(1, 10**9)
        assert abs(deduction - Fraction(row["deduction_usd"])) < Fraction(1, 10**9)


@vectors("hyperliquid_margin_requirement")
def test_margin_requirement(vector: Any) -> None:
    given, expected = vector["inputs"], vector["expected"]
    notional = int(given["notional_usd"]) * USD
    tiers = tiers_of(given["tiers"]) if "tiers" in given else (Tier(0, int(given["max_leverage"])),)
    instrument = perpetual(tiers=tiers)
    required = maintenance_atoms(margin_table(instrument), notional, 1)
    assert required == atoms(expected["maintenance_margin_usd"])
    if "initial_margin_usd" in expected:
        table = margin_table(instrument)
        initial = initial_atoms(table, notional, 1, int(given["chosen_leverage"]))
        assert initial == atoms(expected["initial_margin_usd"])


@vectors("hyperliquid_price_rule")
def test_price_rule(vector: Any) -> None:
    """Off the finest grid is as good as refused: such a price has no ticks."""
    decimals = 6 - int(vector["inputs"]["sz_decimals"])
    scaled = Decimal(vector["inputs"]["price"]) * 10**decimals
    valid = scaled == int(scaled)
    if valid:
        instrument = perpetual(significant_figures=5, tick_decimals=decimals)
        valid = int(scaled) % order_step_ticks(instrument, int(scaled)) == 0
    assert valid is vector["expected"]["valid"]


@vectors("hyperliquid_liquidation_trigger")
def test_stage_of_an_account(vector: Any) -> None:
    given, expected = vector["inputs"], vector["expected"]
    assert Fraction(given["mm_rate"]) == Fraction(1, 40)
    desk = loaded(
        [(int(p["size"]), int(p["entry"])) for p in given["positions"]],
        int(given["balance"]),
        int(given["mark"]),
    )
    risk = Risk(atoms(expected["account_value"]), atoms(expected["maintenance_margin"]))
    assert (desk.equity(16), desk.requirement(16)) == (risk.equity_atoms, risk.maintenance_atoms)
    below = RULES.liquidation.backstop_below_ppb
    stage = "healthy"
    if risk.is_liquidatable:
        stage = "adl" if risk.is_bankrupt else "backstop" if risk.is_below(below) else "market_liquidation"
    assert stage == expected["stage"]
    assert ((16, 0) in desk.state.in_liquidation) == (stage != "healthy")


def loaded(positions: list[tuple[int, int]], balance: int, mark: int, vault: int = 0) -> Desk:
    """Account 16 with these positions, one an instrument, against a rich account; no book."""
    instruments: tuple[Instrument, ...] = tuple(perpetual(f"P{n}") for n in range(len(positions)))
    desk = Desk(RULES, instruments)
    desk.open(balance, RICH)
    if vault:
        (backstop,) = desk.open(vault, role="vault")
        desk.ok(SetBackstop(backstop, tuple(range(len(positions)))))
    for n, (size, entry) in enumerate(positions):
        desk.ok(LoadPositions(n, entry, (16, 17), (size, -size), (entry, entry), (1, 1), (0, 0)))
    desk.index(*[mark] * len(positions))
    return desk


@vectors("hyperliquid_backstop")
def test_backstop_takes_position_and_margin(vector: Any) -> None:
    given, expected = vector["inputs"], vector["expected"]["vault"]
    position = given["positions"][0]
    own = 1_000_000
    desk = loaded(
        [(int(position["size"]), int(position["entry"]))], int(given["balance"]), int(given["mark"]), own
    )
    vault = 18
    assert desk.lots(vault) == int(expected["position"])
    assert desk.state.accounts.cost.cells[0][vault] == desk.lots(vault) * int(expected["entry_price"]) * USD
    assert desk.cash(vault) == (own + int(expected["margin_received"])) * USD
    assert desk.cash(16) == int(vector["expected"]["trader_balance"])


@pytest.mark.parametrize(
    "vector",
    [v for v in load("hyperliquid_adl_ranking") if "score" in v["expected"]],
    ids=lambda v: str(v["id"]),
)
def test_ranking_score(vector: Any) -> None:
    given = vector["inputs"]
    size, entry, mark = int(given["size"]), int(given["entry"]), int(given["mark"])
    profit = size * (mark - entry)
    equity = int(given["balance"]) + profit
    candidate = Candidate(16, 0, size, abs(size * mark), abs(size * entry), profit, equity, 0, 0)
    score = Fraction(vector["expected"]["score"])
    assert 0 <= score - Fraction(score_ppb("hyperliquid", candidate), 10**9) < Fraction(1, 10**9)


@pytest.mark.spec("WFALL-03")
def test_winners_are_taken_by_rank_and_the_vault_bears_the_rest() -> None:
    """hl-adl-02 at the mark: 4 lots at 1000 with 200; at 900 the account misses 200, which the vault pays."""
    (vector,) = [v for v in load("hyperliquid_adl_ranking") if v["id"] == "hl-adl-02"]
    given, expected = vector["inputs"], vector["expected"]
    desk = Desk(hyperliquid(mark={"formula": "index"}, adl={"price": "mark"}), (perpetual(),))
    target, first, second = desk.open(int(given["target"]["balance"]), 10_000, 1000)
    (vault,) = desk.open(RICH, role="vault")
    (other,) = desk.open(RICH)
    desk.ok(SetBackstop(vault, (0,)))
    desk.ok(LoadPositions(0, 1000, (target, first), (4, -4), (1000, 1000), (1, 1), (0, 0)))
    desk.ok(LoadPositions(0, 1100, (second, other), (-3, 3), (1100, 1100), (1, 1), (0, 0)))
    events = desk.index(int(given["mark"]))
    names = {"S1": first, "S2": second}
    taken = of(events, Deleveraged)
    assert [(e.winner, -e.lots) for e in taken] == [(names[n], int(lots)) for n, lots in expected["fills"]]
    assert {e.price_ticks for e in taken} == {int(given["close_price"])}
    assert desk.equity(first) == (10_000 + 400) * USD
    assert desk.cash(second) == int(expected["balances"]["S2"]) * USD
    (opened,) = of(events, DeficitOpened)
    assert opened.atoms == -int(expected["target_balance"]) * USD
    assert [(e.stage, e.payer, e.atoms) for e in of(events, StagePaid)] == [("backstop", vault, opened.atoms)]


@vectors("hyperliquid_adl_price")
def test_vault_closes_at_its_bankruptcy_price(vector: Any) -> None:
    """A vault with 50 that took 10 lots at 975 is closed at 970 when the mark is 900."""
    given, expected = vector["inputs"], vector["expected"]
    desk = Desk(RULES, (perpetual(),))
    (vault,) = desk.open(int(given["target"]["balance"]), role="vault")
    (winner,) = desk.open(1_000_000)
    desk.ok(SetBackstop(vault, (0,)))
    size, entry = int(given["target"]["size"]), int(given["target"]["entry"])
    desk.ok(LoadPositions(0, entry, (vault, winner), (size, -size), (entry, 1000), (1, 1), (0, 0)))
    desk.state.accounts.cost.cells[0][winner] = -size * 1000 * USD
    desk.state.ledger.post("fill", [(winner, 0, 0)])
    desk.state.accounts.balances.cells[2][7] += size * (1000 - entry) * USD
    desk.state.accounts.balances.cells[0][0] -= size * (1000 - entry) * USD
    events = desk.index(int(given["mark"]))
    assert [(e.winner, -e.lots, e.price_ticks) for e in of(events, Deleveraged)] == [
        (winner, size, int(given["close_price"]))
    ]
    assert desk.cash(winner) == int(expected["balances"]["S"]) * USD
    assert desk.equity(vault) == int(expected["target_balance"])


SEQUENCES = {v["id"]: v for v in load("hyperliquid_partial_liquidation") if "seq" in v["id"]}


def forced_steps(sizes: list[str], balance: str) -> tuple[Desk, int, int]:
    """Longs entered at 1000 in as many markets, each at 1/40 maintenance: (desk, account, street)."""
    desk = Desk(RULES, tuple(perpetual(f"M{n}") for n in range(len(sizes))))
    account, street = desk.open(int(balance), 10**7)
    for n, size in enumerate(sizes):
        desk.ok(
            LoadPositions(n, 1000, (account, street), (int(size), -int(size)), (1000, 1000), (1, 1), (0, 0))
        )
    desk.index(*[1000] * len(sizes), later_ns=0)
    return desk, account, street


def bid(desk: Desk, street: int, price: str, sizes: list[str]) -> None:
    for n, size in enumerate(sizes):
        desk.order(street, 1, int(size), int(price), instrument=n)


def left(desk: Desk, account: int) -> list[str]:
    return [str(desk.lots(account, n)) for n in range(len(desk.instruments))]


def test_account_that_is_healthy_again_is_left_alone() -> None:
    """hl-seq-02"""
    given, expected = SEQUENCES["hl-seq-02"]["inputs"], SEQUENCES["hl-seq-02"]["expected"]
    desk, account, _ = forced_steps([given["size"]], given["balance"])
    assert not of(desk.index(int(given["mark"])), LiquidationStarted)
    assert desk.equity(account) == atoms(expected["account_value"])
    assert desk.requirement(account) == atoms(expected["maintenance_margin"])


@pytest.mark.spec("LIQ-06")
def test_all_that_is_left_is_sent_while_the_cooldown_runs() -> None:
    """hl-seq-03, and hl-seq-04 ten seconds later"""
    first, second = SEQUENCES["hl-seq-03"], SEQUENCES["hl-seq-04"]
    desk, account, street = forced_steps([first["inputs"]["size"]], first["inputs"]["balance"])
    for vector, later in ((first, SECOND_NS), (second, 10 * SECOND_NS)):
        ((price, size),) = vector["inputs"]["fills"]
        bid(desk, street, price, [size])
        desk.index(int(vector["inputs"]["mark"]), later_ns=later)
        assert left(desk, account) == [vector["expected"]["size"]]
        assert desk.cash(account) == atoms(vector["expected"]["balance"])


@pytest.mark.spec("LIQ-06")
def test_each_position_by_its_own_share_and_then_whole() -> None:
    """hl-seq-06, and hl-seq-08 ten seconds later with books for half of what is left; the mark is 990."""
    first, second = SEQUENCES["hl-seq-06"], SEQUENCES["hl-seq-08"]
    given, expected = first["inputs"], first["expected"]
    desk, account, street = forced_steps(given["sizes"], given["balance"])
    bid(desk, street, given["fill_price"], given["filled"])
    desk.index(*[990] * len(given["sizes"]))
    assert left(desk, account) == expected["left"]
    assert desk.cash(account) == atoms(expected["balance"])
    given, expected = second["inputs"], second["expected"]
    bid(desk, street, given["fill_price"], given["filled"])
    desk.index(*[990] * len(desk.instruments), later_ns=10 * SECOND_NS)
    assert left(desk, account) == [*expected["left"], "0"]
    assert desk.cash(account) == atoms(expected["balance"])


@pytest.mark.spec("LIQ-06")
def test_forced_orders_end_as_soon_as_the_account_is_healthy() -> None:
    """hl-seq-07: of the seven positions of hl-seq-06 the two largest are enough."""
    given, expected = SEQUENCES["hl-seq-07"]["inputs"], SEQUENCES["hl-seq-07"]["expected"]
    sizes = SEQUENCES["hl-seq-06"]["inputs"]["sizes"]
    desk, account, street = forced_steps(sizes, given["balance"])
    bid(desk, street, given["fill_price"], sizes)
    desk.index(*[990] * len(sizes))
    assert left(desk, account) == expected["left"] + sizes[2:]
    assert desk.cash(account) == atoms(expected["balance"])


def test_parity_suite_is_whole() -> None:
    """Every file of the venue is read by a test, here or beside the rule that it is about."""
    names = {path.stem.removeprefix("hyperliquid_") for path in FOLDER.glob("hyperliquid_*.json")}
    here = Path(__file__).read_text("utf-8")
    beside = "".join(
        (FOLDER.parent / f"{name}.py").read_text("utf-8")
        for name in (
            "exchange/test_marks",
            "exchange/test_funding",
            "exchange/test_liquidation",
            "golden/test_prices_of_liquidation",
        )
    )
    assert [name for name in sorted(names) if name not in here and name not in beside] == []

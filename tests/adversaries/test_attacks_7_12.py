"""What bounds the attacks ATK-07 to ATK-12, one rule at a time, and what the incidents cost."""

import pytest
from msgspec import structs

from zerodebt.agents.adversaries import Attack, Floor
from zerodebt.agents.adversaries.forced_exit import sells_in_the_book
from zerodebt.agents.world import Steps
from zerodebt.exchange.commands import BUY, SELL, CancelAll
from zerodebt.exchange.units import HOUR_NS
from zerodebt.scenarios.attacks import On, Overrides, Trial, attacks, play

USD = 10**6


def agreed(attack: Attack, on: On, overrides: Overrides = ()) -> Trial:
    """A playing that the audit agrees with."""
    trial = play(attack, on, overrides)
    assert trial.disagreements == ()
    return trial


@pytest.mark.parametrize(
    ("attack_id", "without"),
    [
        pytest.param("ATK-08", ("venue.funding.sample_ns", HOUR_NS), id="one sample an hour"),
        pytest.param("ATK-12", ("venue.adl.plan", "before"), id="planned before the need"),
    ],
)
def test_without_the_named_rule_our_venue_falls(attack_id: str, without: tuple[str, object]) -> None:
    attack = attacks()[attack_id]
    fallen = agreed(attack, "ours", [without]).outcome
    assert fallen.gain_atoms == play(attack, "weak").outcome.gain_atoms


@pytest.mark.spec("ATK-07", kind="X")
@pytest.mark.parametrize(("on", "left"), [("weak", 300 - 74), ("ours", 0)])
def test_no_position_is_too_small_to_be_liquidated(on: On, left: int) -> None:
    """On the weak venue the fund's 500 USD hold 74 positions of 9 coins at 0.75, and the rest stays."""
    attack = attacks()["ATK-07"]
    dust_left = []

    def watched(floor: Floor) -> Steps:
        yield from attack.steps(floor)
        dust = [party.number for party in floor.parties if party.name.startswith("dust")]
        dust_left.append(sum(floor.view.position_lots(0, account) > 0 for account in dust))

    agreed(structs.replace(attack, steps=watched), on)
    assert dust_left == [left]


@pytest.mark.spec("ATK-08", "FUND-01", kind="X")
def test_both_sides_of_one_owner_pay_each_other_and_their_fees() -> None:
    """At any rate: his bid 30 % over the price makes the one sample of the hour."""
    attack = attacks()["ATK-08"]

    def alone(floor: Floor) -> Steps:
        long, short = (floor.open(name, 200_000, attacker=True) for name in ("long", "short"))
        floor.index(10_000)
        yield floor.pause(3_600)
        floor.index(10_000)
        yield floor.pause(3_599)
        floor.order(short, SELL, 1_000_000, 10_000)
        floor.order(long, BUY, 1_000_000, 10_000, tif="fok")
        floor.order(long, BUY, 20_000, 13_000)
        yield floor.pause(1)
        floor.index(10_000)
        floor.do(CancelAll(long))

    outcome = agreed(structs.replace(attack, steps=alone), "weak").outcome
    assert outcome.gain_atoms == -(450 + 150) * USD


@pytest.mark.spec("ATK-09", "WFALL-06", kind="X")
def test_where_nobody_pays_a_default_the_first_to_leave_get_their_share_of_custody_in_all_their_parts() -> (
    None
):
    """Without deleveraging on ours, and withdrawals as they are: each of ten parts and what is left of it."""
    attack = attacks()["ATK-09"]
    nobody_pays = [
        ("venue.waterfall", ["book"]),
        ("venue.liquidation.price_limit", "none"),
        ("venue.liquidation.backstop_below_ppb", 0),
    ]
    shared = agreed(attack, "ours", nobody_pays)
    run = agreed(attack, "weak").outcome
    brought = (510_000 + 4 * 250_000) * USD
    custody = brought + (100_000 + 4_000_000 + 2_000_000) * USD
    claim, hole = run.gain_atoms + brought, run.lost_atoms["deficit"]
    share = claim * custody // (custody + hole)
    assert shared.verdict == "RESIDUAL"
    assert share - 100 <= shared.outcome.gain_atoms + brought <= share
    assert run.gain_atoms - shared.outcome.gain_atoms > 490_000 * USD


@pytest.mark.spec("ATK-10", kind="X")
def test_race_at_a_halt_costs_the_fees_of_the_two_accounts_and_nothing_more() -> None:
    ours = agreed(attacks()["ATK-10"], "ours").outcome
    assert ours.gain_atoms == -(450 + 150) * USD


@pytest.mark.spec("ATK-11", kind="X")
def test_forced_exit_costs_the_vault_what_it_did_and_under_todays_rules_next_to_nothing() -> None:
    """2025-03-12: the vault lost about 4 million USD, the trader was 1.8 million up before fees."""
    attack = attacks()["ATK-11"]
    weak, ours = agreed(attack, "weak").outcome, agreed(attack, "ours").outcome
    assert 3_000_000 * USD <= weak.lost_atoms["vault"] <= 5_000_000 * USD
    assert ours.lost_atoms["vault"] <= 500_000 * USD
    assert 1_800_000 * USD <= weak.gain_atoms - weak.lost_atoms["fees"] <= 2_200_000 * USD


@pytest.mark.spec("ATK-11", kind="X")
def test_forced_exit_gains_more_than_the_book_gives_on_the_weak_venue_alone() -> None:
    attack = attacks()["ATK-11"]
    in_the_book = structs.replace(attack, steps=sells_in_the_book)
    gains = {on: play(attack, on).outcome.gain_atoms for on in ("weak", "ours")}
    patient = {on: play(in_the_book, on).outcome.gain_atoms for on in ("weak", "ours")}
    assert patient["weak"] < 0 < gains["weak"]
    assert gains["ours"] < patient["ours"] < 0


@pytest.mark.spec("ATK-11", kind="X")
@pytest.mark.parametrize("rule", ["tiers", "transfer"])
def test_each_of_both_rules_alone_bounds_the_forced_exit(rule: str) -> None:
    attack = attacks()["ATK-11"]
    assert attack.weak_instruments is not None
    if rule == "tiers":
        trial = agreed(attack, "ours", [("venue.margin.transfer_min_ppb", 0)])
    else:
        trial = agreed(structs.replace(attack, instruments=attack.weak_instruments), "ours")
    assert trial.outcome.gain_atoms < 0


@pytest.mark.spec("ATK-12", kind="X")
def test_entering_again_at_the_mark_through_a_second_account_dodges_no_gap() -> None:
    """Ranks are by profit on entry, and the move that makes the debt counts for them: five pairs of fees."""
    attack = attacks()["ATK-12"]

    def steps(floor: Floor) -> Steps:
        holders, hedgers = floor.open("holders", 1_000_000), floor.open("hedgers", 600_000)
        loser, *dodgers = (floor.open(name, 60_000, attacker=True) for name in ("loser", "one", "other"))
        floor.index(10_000)
        for buyer, seller in ((holders, hedgers), (loser, dodgers[0])):
            floor.order(seller, SELL, 1_000_000, 10_000)
            floor.order(buyer, BUY, 1_000_000, 10_000, tif="fok")
        for ticks in (9_980, 9_960, 9_940, 9_920, 9_900):
            yield floor.pause(3)
            floor.index(ticks)
            floor.order(dodgers[1], SELL, 1_000_000, ticks)
            floor.order(dodgers[0], BUY, 1_000_000, ticks, tif="fok", reduce_only=True)
            dodgers.reverse()
        yield floor.pause(3)
        floor.index(7_900)

    outcome = agreed(structs.replace(attack, steps=steps), "ours").outcome
    passed_on = sum(ticks * 600 for ticks in (9_980, 9_960, 9_940, 9_920, 9_900)) * 100
    assert outcome.gain_atoms == -(450 + 150) * USD - passed_on
    assert outcome.refused == {}

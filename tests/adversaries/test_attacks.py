"""The economic attacks: what each gains on a venue that is built to fall to it, and on ours."""

import json
from pathlib import Path

import pytest
from msgspec import structs

from zerodebt.exchange.rules import profile_table
from zerodebt.scenarios.attacks import Overrides, attacks, judge, play
from zerodebt.scenarios.cli import BROKEN, OK, WRONG_CALL, call

USD = 10**6
PAGE = (Path(__file__).parents[2] / "docs" / "attacks.md").read_text(encoding="utf-8")
GAINS = {
    "ATK-01": (49_771_516_768_080, -230_860_763_485),
    "ATK-02": (14_460_439_738_440, 287_895_457_003),
    "ATK-03": (17_005_356_000_000, 161_986_050_000),
    "ATK-04": (1_434_951_285_230, 34_341_225_230),
    "ATK-05": (5_343_000_000, 5_610_550),
    "ATK-05b": (99_100_000_000, 44_600_000_000),
    "ATK-06": (2_332_379_000_000, -184_321_000_000),
    "ATK-07": (229_320_000, -248_640_000),
    "ATK-08": (34_458_789_600, -2_217_710_400),
    "ATK-09": (1_476_896_400_000, -6_000_000_000),
    "ATK-10": (494_996_800_000, -600_000_000),
    "ATK-11": (1_427_958_929_120, -15_230_000_000_000),
    "ATK-12": (201_398_944_734, -600_036_750),
}
"""Attack -> gain in atoms on the weak venue and on ours."""


@pytest.mark.parametrize(
    "attack_id",
    [pytest.param(attack_id, marks=pytest.mark.spec(attack_id[:6], kind="X")) for attack_id in sorted(GAINS)],
)
def test_attack_gains_on_the_weak_venue_and_is_bounded_on_ours(attack_id: str) -> None:
    verdict = judge(attacks()[attack_id])
    weak, ours = verdict.weak.outcome, verdict.ours.outcome
    assert verdict.weak.disagreements == ()
    assert verdict.ours.disagreements == ()
    assert weak.gain_atoms > 0
    assert weak.gain_atoms > verdict.attack.allowed_atoms
    assert ours.gain_atoms <= verdict.attack.allowed_atoms
    assert (weak.gain_atoms, ours.gain_atoms) == GAINS[attack_id]
    assert sum(weak.lost_atoms.values()) == weak.gain_atoms
    assert sum(ours.lost_atoms.values()) == ours.gain_atoms


def test_every_attack_has_its_numbers_here() -> None:
    assert sorted(GAINS) == sorted(attacks())


@pytest.mark.parametrize("attack_id", sorted(GAINS))
def test_page_shows_both_gains_and_the_bound(attack_id: str) -> None:
    atoms = (*GAINS[attack_id], attacks()[attack_id].allowed_atoms)
    weak, ours, allowed = (f"{int(amount / USD):,}" for amount in atoms)
    assert f"| {attack_id} | {weak} | {ours} | {allowed} |" in PAGE


@pytest.mark.parametrize(
    ("attack_id", "without", "least_usd"),
    [
        pytest.param(
            "ATK-01", [("venue.mark.band_ppb", 0)], 2_000_000, id="the mark alone, held up for minutes"
        ),
        pytest.param(
            "ATK-02",
            [("venue.liquidation.backstop_notional_max_atoms", 10**15)],
            14_000_000,
            id="the vault takes all",
        ),
        pytest.param(
            "ATK-04",
            [("venue.orders.band.formula", "none"), ("venue.orders.market_slippage_ppb", 0)],
            500_000,
            id="stops go to any price",
        ),
        pytest.param(
            "ATK-05", [("venue.fees.taker_ppb", 0), ("venue.fees.maker_ppb", 0)], 5_000, id="no fee"
        ),
        pytest.param(
            "ATK-06",
            [("venue.liquidation.insurance_lost_max_atoms", 10**12)],
            150_000,
            id="the fund tops up every fillable price",
        ),
    ],
)
def test_the_named_rule_is_what_bounds_the_gain(attack_id: str, without: Overrides, least_usd: int) -> None:
    attack = attacks()[attack_id]
    trial = play(attack, "ours", without)
    assert trial.disagreements == ()
    assert trial.outcome.gain_atoms > max(least_usd * USD, attack.allowed_atoms)


@pytest.mark.spec("ATK-03", kind="X")
def test_initial_rate_that_rises_with_open_interest_is_what_bounds_the_gain() -> None:
    attack = attacks()["ATK-03"]
    assert attack.weak_instruments is not None
    trial = play(structs.replace(attack, instruments=attack.weak_instruments), "ours")
    assert trial.outcome.gain_atoms > 10 * attack.allowed_atoms


@pytest.mark.spec("ATK-02", kind="X")
def test_squeeze_gains_nothing_where_the_index_has_eight_sources() -> None:
    """He moves three of them with a quarter of the weight, and two of five perpetuals elsewhere."""
    shipped = profile_table("hyperliquid")["sources"]
    trial = play(attacks()["ATK-02"], "ours", [("venue.sources", shipped)])
    assert trial.disagreements == ()
    assert trial.outcome.gain_atoms < 0
    assert set(trial.outcome.lost_atoms) == {"fees"}


@pytest.mark.spec("ATK-06", kind="X")
def test_flood_is_refused_beyond_the_open_orders_of_an_account() -> None:
    ours = play(attacks()["ATK-06"], "ours")
    assert ours.outcome.refused["TOO_MANY_ORDERS"] == 3_000 - 1_000


@pytest.mark.spec("ATK-01", kind="X")
def test_attack_is_the_same_every_time() -> None:
    attack = attacks()["ATK-01"]
    assert play(attack, "ours") == play(attack, "ours")


def test_command_prints_both_gains_and_what_bounds_them(capsys: pytest.CaptureFixture[str]) -> None:
    assert call(["attack", "ATK-02"]) == OK
    line = capsys.readouterr().out.splitlines()[1]
    assert line.startswith("ATK-02")
    assert "held" in line
    assert "backstop_notional_max_atoms" in line


def test_command_says_when_a_changed_venue_falls(capsys: pytest.CaptureFixture[str]) -> None:
    assert call(["attack", "ATK-01", "--set", "venue.mark.band_ppb=0", "--json"]) == BROKEN
    (row,) = json.loads(capsys.readouterr().out)
    assert row["ours"]["outcome"]["gain_atoms"] > row["allowed_atoms"]
    assert row["is_bounded"] is False


def test_unknown_attack_is_one_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    assert call(["attack", "ATK-99"]) == WRONG_CALL
    assert "found ATK-99, allowed are ATK-01" in capsys.readouterr().err

"""The economic attacks: what each gains on a venue that is built to fall to it, and on ours."""

import pytest

from zerodebt.scenarios.attacks import attacks, judge

USD = 10**6
GAINS = {
    "ATK-01": (49_771_516_768_080, -230_860_763_485),
    "ATK-07": (229_320_000, -248_640_000),
    "ATK-08": (34_458_789_600, -2_217_710_400),
    "ATK-09": (1_476_896_400_000, -6_000_000_000),
    "ATK-10": (98_519_360_000, -600_000_000),
    "ATK-11": (1_427_958_929_120, -15_230_000_000_000),
    "ATK-12": (201_398_944_734, -600_036_750),
}
"""Attack -> gain in atoms on the weak venue and on ours."""


@pytest.mark.parametrize(
    "attack_id",
    [pytest.param(attack_id, marks=pytest.mark.spec(attack_id)) for attack_id in sorted(GAINS)],
)
def test_attack_gains_on_the_weak_venue_and_is_bounded_on_ours(attack_id: str) -> None:
    verdict = judge(attacks()[attack_id])
    weak, ours = verdict.weak.outcome, verdict.ours.outcome
    assert verdict.weak.disagreements == ()
    assert verdict.ours.disagreements == ()
    assert weak.gain_atoms > 0
    assert ours.gain_atoms <= verdict.attack.allowed_atoms
    assert (weak.gain_atoms, ours.gain_atoms) == GAINS[attack_id]


def test_every_attack_has_its_numbers_here() -> None:
    assert sorted(GAINS) == sorted(attacks())

"""The scenario nasdaq-2018-09-10 on the venue: what each layer paid, in millions of EUR."""

from collections.abc import Mapping

from zerodebt.scenarios import runner

MILLION = 1_000_000


def measure(seed: int, *, scenario: str) -> Mapping[str, float]:
    metrics = runner.run(scenario, seed=seed).summary["metrics"]
    paid = metrics["fund_contributions_eur"]
    return {
        "loss": metrics["deficits_opened_eur"] / MILLION,
        "house_capital": metrics["fund_house_capital_eur"] / MILLION,
        "contributions": paid / MILLION,
        "fund": (metrics["default_fund_end_eur"] + paid) / MILLION,
        "residual": metrics["residual_eur"] / MILLION,
    }

"""Reading published figures: whole files as they are, decimals into the venue's integers."""

import json
from collections.abc import Callable, Container
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from zerodebt.exchange.assets import Asset
from zerodebt.exchange.decimals import round_to_units, to_units
from zerodebt.exchange.instruments import Instrument, Tier
from zerodebt.exchange.oracle import Position, Situation
from zerodebt.exchange.rules import VenueRules, venue_rules
from zerodebt.exchange.units import PPB

FOLDER = Path(__file__).parent


def load(name: str) -> list[Any]:
    found: list[Any] = json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))
    return found


def vectors(
    *names: str, without: Container[str] = (), where: Callable[[Any], bool] = lambda _: True
) -> pytest.MarkDecorator:
    """The vectors of these files that fit `where`, but the ones named: docs/venues.md lists those."""
    found = [v for name in names for v in load(name) if v["id"] not in without and where(v)]
    assert found, names
    return pytest.mark.parametrize("vector", found, ids=lambda v: str(v["id"]))


def units(text: str, decimals: int) -> int:
    """Exact: a figure off the grid stops the test."""
    return to_units(Decimal(text), decimals)


def ppb(rate: str) -> int:
    return units(rate, 9)


def within(found: Fraction, expected: str, vector: Any) -> bool:
    return abs(found - Fraction(expected)) <= Fraction(vector["tolerance"]["abs"])


def places(*texts: str) -> int:
    """Decimals that it takes to write all of these."""
    return max(len(text.partition(".")[2]) for text in texts)


def flat(maintenance: str, initial: str | None = None, leverage: int = 0) -> tuple[Tier, ...]:
    """One tier. Where a vector says nothing of initial margin the whole value is asked for."""
    return (Tier(0, leverage, ppb(maintenance), PPB if initial is None else ppb(initial)),)


def brackets(rows: list[Any], cap: str, rate: str, decimals: int) -> tuple[Tier, ...]:
    """Tiers of a table that names each tier's upper bound."""
    bounds = ["0"] + [row[cap] for row in rows[:-1]]
    return tuple(
        Tier(units(bound, decimals), 0, ppb(row[rate]), PPB) for bound, row in zip(bounds, rows, strict=True)
    )


def second_of_two(rate: str, amount: str, decimals: int) -> tuple[Tier, ...]:
    """Two tiers of which the second has this rate and this deduction; the first has half of the rate."""
    if not Fraction(amount):
        return flat(rate)
    lower = Decimal(amount) * 2 / Decimal(rate)
    return Tier(0, 0, ppb(rate) // 2, PPB), Tier(to_units(lower, decimals), 0, ppb(rate), PPB)


class Contract:
    """One contract for one test: `size` and prices in decimals, money with `decimals` places."""

    def __init__(
        self,
        *,
        tick: int,
        lot: int,
        tiers: tuple[Tier, ...],
        decimals: int | None = None,
        face: str | None = None,
        price_max: int = 10**6,
        size_max: str = "1000",
        fees: dict[str, int] | None = None,
        liquidation: dict[str, Any] | None = None,
        waterfall: tuple[str, ...] = ("book", "insurance"),
        **changes: Any,
    ) -> None:
        self.tick, self.lot = tick, lot
        self.decimals = tick + lot if decimals is None else decimals
        value = 10 ** (self.decimals - tick - lot)
        if face is not None:
            value = units(face, self.decimals + tick - lot)
        self.instrument = Instrument(
            "P",
            "perpetual",
            settle_asset=0,
            tick_decimals=tick,
            lot_decimals=lot,
            tick_value_atoms=value,
            price_min_ticks=1,
            price_max_ticks=price_max * 10**tick,
            size_max_lots=units(size_max, lot),
            open_interest_max_lots=units(size_max, lot),
            tiers=tiers,
            contract="linear" if face is None else "inverse",
            **changes,
        )
        self.rules = rules(waterfall, fees or {}, liquidation or {})

    def situation(
        self,
        size: str,
        entry: str,
        *,
        side: str = "long",
        mark: str | None = None,
        wallet: str = "0",
        margin: str | None = None,
        leverage: int = 0,
    ) -> Situation:
        """`margin` isolates the position; a figure finer than an atom is rounded to it."""
        isolated = None if margin is None else round_to_units(Decimal(margin), self.decimals)
        position = Position(
            instrument=0,
            lots=units(size, self.lot) * (1 if side == "long" else -1),
            entry_ticks=units(entry, self.tick),
            leverage=leverage,
            isolated_atoms=isolated,
        )
        atoms = round_to_units(Decimal(wallet), self.decimals)
        marks = (units(entry if mark is None else mark, self.tick),)
        assets = (Asset("USD", self.decimals),)
        return Situation(self.rules, assets, (self.instrument,), (atoms,), (position,), marks)

    def price(self, exact_ticks: Fraction) -> Fraction:
        return Fraction(exact_ticks, 10**self.tick)

    def money(self, atoms: int) -> Fraction:
        return Fraction(atoms, 10**self.decimals)


def rules(waterfall: tuple[str, ...], fees: dict[str, int], liquidation: dict[str, Any]) -> VenueRules:
    """Free of fees but those named; mark is index."""
    return venue_rules(
        {
            "name": "published",
            "valid_from": "2025-01-01",
            "source": "the vectors' own",
            "settle_asset": "USD",
            "promise": "zero_debt",
            "waterfall": list(waterfall),
            "sources": [{"name": "one", "weight": 1}],
            "mark": {"formula": "index"},
            "fees": fees,
            "liquidation": liquidation,
        }
    )

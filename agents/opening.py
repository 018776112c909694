"""What the opening of a world knows: the markets, their prices and what is to be held in them."""

from typing import Literal

import numpy as np
from msgspec import Struct

from zerodebt.agents.coins import base_symbol
from zerodebt.agents.feed import Waypoints
from zerodebt.agents.wealth import Floats
from zerodebt.exchange.instruments import Instrument
from zerodebt.exchange.units import Int64Array

CAPITAL_MAX_ATOMS = 2**60
Books = Literal["contracts", "spot", "second_spot"]
"""All contracts, the first spot book of every coin, or the second one of every coin that has it."""
YEAR_NS = 365 * 86_400 * 10**9

# Annualised volatility of the log price, before the day and not fitted to it [proposed].
ANNUAL_VOLATILITY = {"BTC": 0.40, "ETH": 0.65, "SOL": 0.80, "HYPE": 1.0, "AVAX": 1.0, "XRP": 1.0, "REST": 1.0}
ANNUAL_VOLATILITY_OTHER = 1.30


class Opening(Struct, frozen=True):
    """Markets at the start of a run.

    start_ticks           price of each instrument at the start
    open_interest_lots    sum of the long positions wanted in each instrument
    settle_asset          number of the asset that accounts deposit
    atoms_per_usd         atoms of that asset for one US dollar; sizes capitals and orders only
    news                  what each instrument is worth over time to those who know; none: nobody does
    """

    instruments: tuple[Instrument, ...]
    start_ticks: tuple[int, ...]
    open_interest_lots: tuple[int, ...]
    settle_asset: int
    atoms_per_usd: float
    seed: int
    news: tuple[Waypoints, ...] = ()

    @property
    def lot_value_atoms(self) -> Int64Array:
        """Value of one lot of each instrument at the start; of an instrument at or below zero: one tick's."""
        values = [
            max(1, price) * instrument.tick_value_atoms
            for price, instrument in zip(self.start_ticks, self.instruments, strict=True)
        ]
        return np.array(values, np.int64)

    @property
    def shares(self) -> Floats:
        """Each instrument's part of the whole open interest by value; equal parts where there is none."""
        value = self.lot_value_atoms * np.array(self.open_interest_lots, np.float64)
        whole = float(value.sum())
        return value / whole if whole else np.full(len(value), 1 / len(value))

    def shares_of(self, books: Books) -> Floats:
        """Part of each instrument among these books; for a spot book its coin's contracts count."""
        if books == "contracts":
            return self.shares
        place = 0 if books == "spot" else 1
        shares = np.zeros(len(self.instruments))
        for number, instrument in enumerate(self.instruments):
            own = self.spots_of(base_symbol(instrument.symbol))
            if instrument.kind != "spot" and len(own) > place:
                shares[own[place]] += self.shares[number]
        if not shares.any():
            raise ValueError(f"books: found {books!r}, no coin with a contract has such a book")
        normalised: Floats = shares / shares.sum()
        return normalised

    def spots_of(self, symbol: str) -> tuple[int, ...]:
        """Spot books of a coin."""
        return tuple(
            number
            for number, instrument in enumerate(self.instruments)
            if instrument.kind == "spot" and base_symbol(instrument.symbol) == symbol
        )

    @property
    def volatility(self) -> Floats:
        """Annualised volatility of each instrument."""
        by_symbol = (
            ANNUAL_VOLATILITY.get(base_symbol(i.symbol), ANNUAL_VOLATILITY_OTHER) for i in self.instruments
        )
        return np.array(list(by_symbol))

    def atoms_of(self, key: str, usd: float) -> int:
        """Capital in atoms, to the nearest; ValueError where the venue has no such number."""
        atoms = usd * self.atoms_per_usd
        if not atoms <= CAPITAL_MAX_ATOMS:
            raise ValueError(f"{key}: found {usd}, allowed is what {CAPITAL_MAX_ATOMS} atoms are worth")
        return round(atoms)

    def number_of(self, symbol: str) -> int | None:
        """Instrument whose symbol, or its part before a dash, is `symbol`."""
        for number, instrument in enumerate(self.instruments):
            if symbol in (instrument.symbol, base_symbol(instrument.symbol)):
                return number
        return None

"""Unleveraged clients of one contract, and the bank's counterparty upstream (F04, F10)."""

from typing import Annotated

import numpy as np
from msgspec import Meta, Struct

from zerodebt.agents.allocation import round_to_total
from zerodebt.agents.opening import Opening
from zerodebt.agents.population import Count, NotNegative, Positions, Usd, account_range
from zerodebt.agents.seeds import rng
from zerodebt.agents.wealth import lognormal_quantiles, midpoints, normal_quantiles
from zerodebt.agents.world import World
from zerodebt.exchange.commands import Command, Role
from zerodebt.exchange.units import Int64Array


class ClientParams(
    Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, tag="clients", tag_field="kind"
):
    """Longs of one instrument with margin of 100 %: they hold its whole open interest.

    instrument          symbol
    count               accounts; principals are lognormal by stratified quantiles around `principal_ln_sd`
    entry_ticks         mean entry price, weighted by lots, kept to the tick by rounding
    entry_sd_ticks      spread of the entry prices, normal by stratified quantiles
    isolated            margin of the position alone, or the whole account
    named_lots, named_entry_ticks   one more client, first of the accounts, exactly as given (0 lots: none)

    Principal = entry price times lots. What was lost before the start is gone from the deposit, which is the
    position's value at the start, at least one tick a lot.
    """

    name: str
    instrument: str
    count: Count
    entry_ticks: int
    principal_ln_sd: NotNegative = 1.5
    entry_sd_ticks: Annotated[int, Meta(ge=0)] = 0
    isolated: bool = True
    named_lots: Annotated[int, Meta(ge=0)] = 0
    named_entry_ticks: int = 0


class UpstreamParams(
    Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, tag="upstream", tag_field="kind"
):
    """One account with deep pockets that takes the other side of whatever the other populations hold."""

    name: str
    capital_usd: Usd


class Clients:
    """Buyers who hold and do nothing: their trading is halted when it matters."""

    role: Role = "customer"

    def __init__(self, params: ClientParams, opening: Opening, first_account: int) -> None:
        number = opening.number_of(params.instrument)
        if number is None:
            known = ", ".join(instrument.symbol for instrument in opening.instruments)
            raise ValueError(f"instrument: {params.instrument!r} is not traded, allowed are {known}")
        generator = rng(opening.seed, params.name)
        named = 1 if params.named_lots else 0
        total = opening.open_interest_lots[number] - params.named_lots
        if total < params.count:
            raise ValueError(f"count: {params.count} clients cannot share {total} lots")
        self.name = params.name
        self.params = params
        self.accounts = account_range(first_account, params.count + named)
        self.counters: dict[str, int] = {}
        sizes = generator.permutation(lognormal_quantiles(params.count, 1.0, params.principal_ln_sd))
        exact = 1 + (total - params.count) * sizes / sizes.sum()
        lots = round_to_total(exact, total)
        around = params.entry_sd_ticks * generator.permutation(normal_quantiles(midpoints(params.count)))
        entries = params.entry_ticks + np.rint(around - (around * lots).sum() / total).astype(np.int64)
        if named:
            lots = np.concatenate(([params.named_lots], lots))
            entries = np.concatenate(([params.named_entry_ticks], entries))
        shape = (len(opening.instruments), len(lots))
        instrument = opening.instruments[number]
        value = lots * (max(1, opening.start_ticks[number]) * instrument.tick_value_atoms)
        self.principal_atoms: Int64Array = lots * entries * instrument.tick_value_atoms
        self.deposits_atoms = value
        self.positions: Positions | None = Positions(
            np.zeros(shape, np.int64),
            np.zeros(shape, np.int64),
            np.ones(shape, np.int64),
            np.zeros(shape, np.int64),
        )
        self.positions.lots[number] = lots
        self.positions.entry_ticks[number] = entries
        if params.isolated:
            self.positions.isolated_atoms[number] = value

    def opening_commands(self) -> list[Command]:
        return []

    def start(self, world: World) -> None:
        """Nothing to do."""


class Upstream:
    """The other side, short what the others are long together.

    net_lots  signed sum of all other positions in each instrument
    """

    role: Role = "customer"

    def __init__(
        self, params: UpstreamParams, opening: Opening, first_account: int, net_lots: Int64Array
    ) -> None:
        self.name = params.name
        self.params = params
        self.accounts = account_range(first_account, 1)
        self.deposits_atoms = np.array([opening.atoms_of("capital_usd", params.capital_usd)], np.int64)
        self.counters: dict[str, int] = {}
        column = (len(opening.instruments), 1)
        entries = np.array(opening.start_ticks, np.int64).reshape(column)
        self.positions: Positions | None = Positions(
            -net_lots.reshape(column), entries, np.ones(column, np.int64), np.zeros(column, np.int64)
        )

    def opening_commands(self) -> list[Command]:
        return []

    def start(self, world: World) -> None:
        """Nothing to do."""

"""Accounts known one by one: members of a clearing house (C12, V58), or the one client of a report (F10)."""

from typing import Annotated

import numpy as np
from msgspec import Meta, Struct

from zerodebt.agents.opening import Opening
from zerodebt.agents.population import Positions, account_range
from zerodebt.agents.world import World
from zerodebt.exchange.commands import Command, Contribute, Role
from zerodebt.exchange.instruments import largest_leverage

Atoms = Annotated[int, Meta(ge=0, le=2**60)]
Whole = Annotated[int, Meta(ge=-(2**60), le=2**60)]


class Member(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One account, in atoms of the settlement asset, signed lots and ticks.

    contribution_atoms  what of the deposit it pays into the default fund before the start
    lots, entry_ticks   by symbol; a position without an entry has the price of the start as its own
    """

    name: str
    deposit_atoms: Atoms
    contribution_atoms: Atoms = 0
    lots: dict[str, Whole] = {}
    entry_ticks: dict[str, Whole] = {}


class MemberParams(
    Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, tag="members", tag_field="kind"
):
    """Accounts exactly as given. They hold and do nothing; what the operator does with them is scheduled."""

    name: str
    members: Annotated[tuple[Member, ...], Meta(min_length=1)]


class Members:
    """The accounts of a `MemberParams`, each at the largest leverage of its instruments."""

    role: Role = "customer"

    def __init__(self, params: MemberParams, opening: Opening, first_account: int) -> None:
        self.name = params.name
        self.params = params
        self.accounts = account_range(first_account, len(params.members))
        self.deposits_atoms = np.array([m.deposit_atoms for m in params.members], np.int64)
        self.counters: dict[str, int] = {}
        shape = (len(opening.instruments), len(params.members))
        leverage = np.array(
            [largest_leverage(i.tiers[0]) if i.tiers else 1 for i in opening.instruments], np.int64
        )
        self.positions: Positions | None = Positions(
            np.zeros(shape, np.int64),
            np.array(opening.start_ticks, np.int64).repeat(shape[1]).reshape(shape),
            leverage.repeat(shape[1]).reshape(shape),
            np.zeros(shape, np.int64),
        )
        known = [instrument.symbol for instrument in opening.instruments]
        for k, member in enumerate(params.members):
            if member.contribution_atoms > member.deposit_atoms:
                raise ValueError(
                    f"{member.name}: contributes {member.contribution_atoms} "
                    f"of {member.deposit_atoms} deposited"
                )
            for symbol in [*member.lots, *member.entry_ticks]:
                if symbol not in known:
                    raise ValueError(f"{member.name}: {symbol!r} is not traded, allowed are {known}")
            for symbol, lots in member.lots.items():
                self.positions.lots[known.index(symbol), k] = lots
            for symbol, ticks in member.entry_ticks.items():
                self.positions.entry_ticks[known.index(symbol), k] = ticks

    def opening_commands(self) -> list[Command]:
        rows = zip(self.accounts.tolist(), self.params.members, strict=True)
        return [Contribute(account, m.contribution_atoms) for account, m in rows if m.contribution_atoms]

    def start(self, world: World) -> None:
        """Nothing to do."""

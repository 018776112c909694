"""A backstop vault: takes over what the book did not, and trades it out (C5)."""

import numpy as np
from msgspec import Struct

from zerodebt.agents.coins import on_step
from zerodebt.agents.opening import Opening
from zerodebt.agents.population import (
    MILLISECOND_NS,
    NotNegative,
    Positions,
    Positive,
    Usd,
    WakeSeconds,
    account_range,
    count_rejections,
    to_ns,
)
from zerodebt.agents.world import World
from zerodebt.exchange.commands import BUY, SELL, Command, PlaceOrder, Role, SetBackstop, Side
from zerodebt.exchange.events import Batch


class VaultParams(
    Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, tag="vault", tag_field="kind"
):
    """One vault account.

    instruments        symbols that it backs
    capital_usd        what it brings before the start
    half_life_s        of the inventory, traded out exponentially [C5: 1-10 min]
    band_bp            an order goes at most this far through the mark
    wake_s, latency_ms how often it sends a slice, and its latency
    """

    name: str
    instruments: tuple[str, ...]
    capital_usd: Usd
    half_life_s: Positive = 180.0
    band_bp: NotNegative = 50.0
    wake_s: WakeSeconds = 5.0
    latency_ms: NotNegative = 100.0


class Vault:
    """Sends a reduce-only slice of each inventory towards zero at every wake."""

    role: Role = "vault"

    def __init__(self, params: VaultParams, opening: Opening, first_account: int) -> None:
        numbers = [opening.number_of(symbol) for symbol in params.instruments]
        unknown = [s for s, n in zip(params.instruments, numbers, strict=True) if n is None]
        if unknown:
            known = ", ".join(instrument.symbol for instrument in opening.instruments)
            raise ValueError(f"instruments: {unknown[0]!r} is not traded, allowed are {known}")
        self.name = params.name
        self.params = params
        self.accounts = account_range(first_account, 1)
        self.deposits_atoms = np.array([opening.atoms_of("capital_usd", params.capital_usd)], np.int64)
        self.positions: Positions | None = None
        self.counters = dict.fromkeys(("orders", "rejected"), 0)
        self._account = first_account
        self._numbers = tuple(n for n in numbers if n is not None)
        self._opening = opening
        self._slice = 1 - 2 ** (-params.wake_s / params.half_life_s)
        self._latency_ns = round(params.latency_ms * MILLISECOND_NS)

    def opening_commands(self) -> list[Command]:
        return [SetBackstop(self._account, self._numbers)]

    def start(self, world: World) -> None:
        world.every(to_ns(self.params.wake_s), lambda: self._wake(world), to_ns(self.params.wake_s))

    def _wake(self, world: World) -> None:
        commands = []
        for number in self._numbers:
            held = world.view.position_lots(number, self._account)
            mark = world.view.mark_ticks(number)
            if not held or mark is None or world.view.best_ticks(number, 1 if held > 0 else -1) is None:
                continue
            side: Side = SELL if held > 0 else BUY
            instrument = self._opening.instruments[number]
            size_lots = max(1, round(abs(held) * self._slice))
            minimum = round(
                20 * self._opening.atoms_per_usd / max(1, abs(mark) * instrument.tick_value_atoms)
            )
            size_lots = min(abs(held), max(size_lots, minimum), instrument.size_max_lots)
            price = on_step(instrument, round(mark + side * abs(mark) * self.params.band_bp / 10_000), side)
            commands.append(
                PlaceOrder(self._account, number, side, size_lots, price, "ioc", reduce_only=True)
            )
        self.counters["orders"] += len(commands)
        world.submit(commands, self._latency_ns, self._heard)

    def _heard(self, batch: Batch) -> None:
        count_rejections(self.counters, batch)

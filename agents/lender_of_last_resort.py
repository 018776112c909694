"""A lender of last resort for coins: the switch of F11 and F85 (C13). Off unless a scenario has it.

It buys senior coins at a haircut below their median price of the last days, while the book is nearly empty.
"""

import numpy as np
from msgspec import Struct

from zerodebt.agents.coins import limit_order
from zerodebt.agents.opening import Opening
from zerodebt.agents.population import Count, NotNegative, Share, Usd, WakeOverMonths, to_ns
from zerodebt.agents.spot_holders import SpotHolders
from zerodebt.agents.world import World
from zerodebt.exchange.commands import BUY, CancelAll, Command


class LenderParams(
    Struct,
    frozen=True,
    forbid_unknown_fields=True,
    kw_only=True,
    tag="last_lender",
    tag_field="kind",
):
    """One account with new money.

    coins         symbols of tier 1
    capital_usd   in all; C13 caps it at 5 % of market value, which the scenario works out
    haircut       below the median price since the start [C13: .2]
    depth_share   it bids while the bids in the book are worth less than this part of their median [C13: .1]
    memory        wakes that the medians look back [ours]
    """

    name: str
    coins: tuple[str, ...]
    capital_usd: Usd = 10_000_000.0
    haircut: Share = 0.2
    depth_share: Share = 0.1
    memory: Count = 1_000
    wake_s: WakeOverMonths = 600.0
    latency_ms: NotNegative = 50.0


class LenderOfLastResort(SpotHolders):
    """Looks at the bids of every coin of its list."""

    def __init__(self, params: LenderParams, opening: Opening, first_account: int) -> None:
        super().__init__(params.name, 1, opening, first_account, params.latency_ms)
        self.params = params
        self.endow(np.array([params.capital_usd]), np.zeros((len(self.coins), 1)))
        self.counters |= {"bids": 0}
        self._own = [k for k, coin in enumerate(self.coins) if coin.symbol in params.coins]
        if not self._own:
            known = ", ".join(coin.symbol for coin in self.coins)
            raise ValueError(f"coins: found {', '.join(params.coins)}, allowed are {known}")
        self._seen: dict[int, list[tuple[float, float]]] = {k: [] for k in self._own}

    def start(self, world: World) -> None:
        step_ns = to_ns(self.params.wake_s)
        world.every(step_ns, lambda: self._wake(world), step_ns // 10)

    def _wake(self, world: World) -> None:
        account = int(self.accounts[0])
        for k in self._own:
            spot = self.coins[k].spot
            price = world.view.index_ticks(spot)
            if price is None:
                continue
            own = sum(lots for _, side, _, lots in world.view.orders(account, spot) if side == BUY)
            depth = float(sum(lots for _, lots in world.view.depth(spot, BUY)) - own)
            seen = self._seen[k]
            seen.append((float(price), depth))
            del seen[: -self.params.memory]
            usual_price, usual_depth = np.median(np.array(seen), axis=0).tolist()
            commands: list[Command] = [CancelAll(account, spot)]
            if depth < self.params.depth_share * usual_depth:
                bid = usual_price * (1 - self.params.haircut)
                cash = int(world.view.wallets((account,))[0]) / len(self._own)
                instrument = self.opening.instruments[spot]
                lots = int(0.99 * cash / (bid * instrument.tick_value_atoms))
                if lots:
                    self.counters["bids"] += 1
                    commands.append(limit_order(instrument, account, spot, lots, bid))
            if own or len(commands) > 1:
                world.submit(commands, self.latencies[0], self.heard)

"""Whom deleveraging asks first."""

from zerodebt.exchange.audit.arithmetic import PPB
from zerodebt.exchange.audit.holdings import Holdings
from zerodebt.exchange.audit.markets import Market
from zerodebt.exchange.events import FIRST_ACCOUNT
from zerodebt.exchange.rules import VenueRules

SCORE_MAX = 2**63 - 1


class Rankings:
    """The rankings of this command by instrument and side, each frozen when it was first asked for."""

    def __init__(self, rules: VenueRules, holdings: Holdings) -> None:
        self._rules = rules
        self._holdings = holdings
        self._frozen: dict[tuple[int, int], list[tuple[int, int, int]]] = {}

    def of(self, instrument: int, sign: int) -> list[tuple[int, int, int]]:
        """(-score, account, pocket) of one side of an instrument, the highest score first."""
        return self._frozen[instrument, sign]

    def is_frozen(self, instrument: int, sign: int) -> bool:
        return (instrument, sign) in self._frozen

    def freeze(self, market: Market, sign: int) -> None:
        if (market.number, sign) not in self._frozen:
            self._frozen[market.number, sign] = self._ranked(market, sign)

    def rest(self) -> None:
        self._frozen.clear()

    def _ranked(self, market: Market, sign: int) -> list[tuple[int, int, int]]:
        """The profitable positions of one side; equal scores go by account number."""
        holdings = self._holdings
        value = holdings.lot_values[market.number] or 0
        is_binance = self._rules.adl.score == "binance"
        ranked: list[tuple[int, int, int]] = []
        for account, (lots, _, entry) in market.holders.items():
            profit = lots * value - entry
            if profit <= 0 or lots * sign <= 0 or account < FIRST_ACCOUNT:
                continue
            pocket = market.pocket if account in market.isolated else holdings.settle
            wallet = holdings.balances[pocket][account]
            equity = holdings.equity(account, pocket)
            if equity <= 0:
                continue
            if is_binance:
                if wallet + profit <= 0:
                    continue
                required = holdings.risk(account, pocket)[1]
                score = profit * required * PPB // (max(1, wallet) * (wallet + profit))
            else:
                score = abs(lots * value) * profit * PPB // (equity * max(1, abs(entry)))
            if score > 0:
                ranked.append((-min(score, SCORE_MAX), account, pocket))
        ranked.sort()
        return ranked

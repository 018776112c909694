"""Whom deleveraging asks first."""

from zerodebt.exchange.audit.forms.adl import Winner, score_ppb
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
        ranked: list[tuple[int, int, int]] = []
        for account, (lots, _, entry) in market.holders.items():
            if lots * sign <= 0 or account < FIRST_ACCOUNT:
                continue
            value = self._holdings.value(market, lots)
            if value <= entry:
                continue
            pocket = self._holdings.pocket_of(account, market)
            winner = self._winner(account, pocket, value, entry)
            score = score_ppb(self._rules.adl, winner) if winner.equity_atoms > 0 else 0
            if score > 0:
                ranked.append((-min(score, SCORE_MAX), account, pocket))
        ranked.sort()
        return ranked

    def _winner(self, account: int, pocket: int, value: int, entry: int) -> Winner:
        holdings = self._holdings
        return Winner(
            value_atoms=value,
            entry_atoms=entry,
            profit_atoms=value - entry,
            wallet_atoms=holdings.balances[pocket][account],
            equity_atoms=holdings.equity(account, pocket),
            maintenance_atoms=lambda: holdings.risk(account, pocket)[1],
        )

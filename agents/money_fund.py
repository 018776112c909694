"""A money-market fund as its holder meets it: cut-off, days to pay, holidays, gate, spread of the yen.

Rows F54, F56, V76. A Japanese broker's fund in dollars takes orders on business days until 14:00 Tokyo time
and pays on the next business day; yen are bought and sold 20 sen from the middle. Source: Matsui
Securities, rules of its US dollar money-market fund.
"""

from dataclasses import dataclass
from datetime import date, datetime, time, timedelta, timezone

TOKYO = timezone(timedelta(hours=9), "JST")
SPREAD_YEN = 0.20
"""Yen for a dollar, to either side of the middle."""
DAYS_SHUT_MAX = 60
SATURDAY = 5


@dataclass(frozen=True, kw_only=True)
class MoneyFund:
    """lag_days    business days from the day that takes the order to the day that pays
    cut_off     later orders belong to the next business day; Tokyo time
    pays_at     when on that day cash is there; ours, the start of business
    gate_days   business days that a closed gate adds (F56)
    """

    lag_days: int = 1
    cut_off: time = time(14)
    pays_at: time = time(9)
    gate_days: int = 0
    holidays: frozenset[date] = frozenset()

    def is_business_day(self, day: date) -> bool:
        return day.weekday() < SATURDAY and day not in self.holidays

    def business_day_from(self, day: date) -> date:
        """`day` or the first business day after it."""
        for days in range(DAYS_SHUT_MAX):
            if self.is_business_day(day + timedelta(days)):
                return day + timedelta(days)
        raise ValueError(f"no business day within {DAYS_SHUT_MAX} days from {day}")

    def business_days_after(self, day: date, days: int) -> date:
        for _ in range(days):
            day = self.business_day_from(day + timedelta(1))
        return day

    def cash_at(self, ordered: datetime) -> datetime:
        """When the cash of a sale ordered at `ordered` is there. Never before the order."""
        local = ordered.astimezone(TOKYO)
        taken = self.business_day_from(local.date())
        is_late = taken == local.date() and local.time() >= self.cut_off
        if is_late:
            taken = self.business_days_after(taken, 1)
        paid = datetime.combine(
            self.business_days_after(taken, self.lag_days + self.gate_days), self.pays_at, TOKYO
        )
        return max(paid, local)


def round_trip_share(yen_for_dollar: float, spread_yen: float = SPREAD_YEN) -> float:
    """Cost of buying dollars and selling them again, as a share of the middle (V76)."""
    return 2 * spread_yen / yen_for_dollar

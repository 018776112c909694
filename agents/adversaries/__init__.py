"""Traders who try to take what is not theirs: the economic attacks ATK-01 to ATK-12, one module each.

An attack is played twice by the same steps: on a venue that is built to fall to it, and on ours. What the
attacker's accounts gain together, at the fair price, is the measure of both.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from msgspec import Struct, field

from zerodebt.agents.world import Due, Steps, World
from zerodebt.exchange.commands import (
    BUY,
    SELL,
    CancelAll,
    Command,
    Deposit,
    MassQuote,
    Observation,
    OpenAccounts,
    PlaceOrder,
    Role,
    Side,
    UpdateIndex,
    Withdraw,
)
from zerodebt.exchange.events import (
    DEFAULT_FUND,
    DEFICIT,
    FEES,
    FINANCIER,
    HOUSE,
    HOUSE_ACCOUNT_NAMES,
    INSURANCE,
    ROUNDING,
    UNPAID,
    AccountsOpened,
    Event,
    OrderAccepted,
    Rejected,
    TriggerArmed,
)
from zerodebt.exchange.instruments import Instrument, Tier
from zerodebt.exchange.units import PPB, SECOND_NS

USD = 10**6
"""Atoms of the settlement asset in one of it; its number is 0."""
OURS: Mapping[str, Any] = {"mark": {"band_ppb": 50_000_000}}
"""What our venue adds to a shipped rulebook: the mark stays within 5 % of the index (MARK-04)."""
_OF_THE_HOUSE = (FEES, ROUNDING, INSURANCE, DEFICIT, HOUSE, FINANCIER, DEFAULT_FUND, UNPAID)


class Attack(Struct, frozen=True, kw_only=True):
    """One way to take money from others, and the two venues on which it is tried.

    does           what the attacker does
    incident       what was really seen, and `source` who published it under which title
    profile, ours  our venue: a shipped rulebook and what is added to it
    weak           what of that gives way so that it falls; `weakness` says it in words
    bound          the rules that bound the gain on our venue
    allowed_atoms  and the most that they let him gain there
    instruments    what is traded; `weak_instruments` where the weak venue has looser ones
    steps          plays the attack on a floor
    """

    id: str
    title: str
    does: str
    incident: str
    source: str
    weakness: str
    weak: Mapping[str, Any]
    bound: str
    allowed_atoms: int
    instruments: tuple[Instrument, ...]
    steps: "Callable[[Floor], Steps]"
    weak_instruments: tuple[Instrument, ...] | None = None
    profile: str = "hyperliquid"
    ours: Mapping[str, Any] = field(default_factory=lambda: OURS)


class Party(Struct):
    """An account on the floor, and what it brought in and took out."""

    number: int
    name: str
    is_attacker: bool
    deposited_atoms: int = 0
    withdrawn_atoms: int = 0


class Outcome(Struct, frozen=True):
    """What an attack came to, in atoms at the fair prices; all gains sum to zero.

    gain_atoms   of the attacker's accounts together
    lost_atoms   by everybody else's name, negative where he gained; those who lost nothing are left out
    refused      what the venue refused, by reason
    """

    gain_atoms: int
    lost_atoms: dict[str, int]
    refused: dict[str, int]


class Floor:
    """A small market around an attacker: opens accounts, sends commands, publishes prices, keeps the score.

    sources  names of the rulebook's index sources, in their order
    """

    def __init__(self, world: World, sources: Sequence[str]) -> None:
        self.world = world
        self.view = world.view
        self.parties: list[Party] = []
        self.fair_ticks: tuple[int, ...] = ()
        self.refused: Counter[str] = Counter()
        self._sources = sources
        self._endowed_atoms = 0

    # Money

    def open(self, name: str, usd: int, *, attacker: bool = False, role: Role = "customer") -> int:
        """A new account with this much of the settlement asset; its number."""
        opened = self.do(OpenAccounts(1, role))[0]
        assert isinstance(opened, AccountsOpened), opened
        self.parties.append(Party(opened.first_account, name, attacker))
        if usd:
            self.bring(opened.first_account, usd * USD)
        return opened.first_account

    def bring(self, account: int, atoms: int) -> None:
        """Money from outside."""
        self._party(account).deposited_atoms += atoms
        self.do(Deposit(0, account, (atoms,)))

    def endow(self, usd: int) -> None:
        """Money of the insurance fund."""
        self._endowed_atoms += usd * USD
        self.do(Deposit(0, INSURANCE, (usd * USD,)))

    def withdraw(self, account: int, atoms: int | None = None) -> int:
        """Take this much out, or all that may leave; what did leave."""
        wanted = self.view.withdrawable_atoms(account) if atoms is None else atoms
        if not wanted or isinstance(self.do(Withdraw(account, 0, wanted))[0], Rejected):
            return 0
        self._party(account).withdrawn_atoms += wanted
        return wanted

    def _party(self, account: int) -> Party:
        (party,) = (party for party in self.parties if party.number == account)
        return party

    # Commands

    def do(self, command: Command) -> Sequence[Event]:
        """Apply a command now; a refusal is counted."""
        events = self.world.send(command)
        for event in events:
            if isinstance(event, Rejected):
                self.refused[event.reason.name] += 1
        return events

    def order(
        self,
        account: int,
        side: Side,
        lots: int,
        price: int | None = None,
        instrument: int = 0,
        **more: Any,
    ) -> int | None:
        """Place an order, at market without a price; its number, None where it is refused."""
        if price is None:
            more.setdefault("tif", "ioc")
        for event in self.do(PlaceOrder(account, instrument, side, lots, price, **more)):
            if isinstance(event, OrderAccepted | TriggerArmed):
                return event.order_id
        return None

    def quote(
        self,
        account: int,
        lots: int,
        *,
        share_ppb: int = 5_000_000,
        instrument: int = 0,
        around: int | None = None,
    ) -> None:
        """A maker's round: he takes whatever is beyond his price by more than his spread, and quotes.

        lots    at each of three levels a side, `share_ppb` of the price apart
        around  what he thinks the price is; None: the fair one
        """
        fair = self.fair_ticks[instrument] if around is None else around
        step = max(1, fair * share_ppb // PPB)
        self.do(CancelAll(account, instrument))
        for side in (BUY, SELL):
            other = self.view.best_ticks(instrument, -side)
            if other is not None and side * (fair - other) > step:
                self.order(account, side, 3 * lots, fair - side * step, instrument, tif="ioc")
        bids = tuple((fair - k * step, lots) for k in (1, 2, 3) if fair > k * step)
        asks = tuple((fair + k * step, lots) for k in (1, 2, 3))
        self.do(MassQuote(account, instrument, bids, asks))

    def index(self, *fair_ticks: int, pumped: Mapping[str, int] | None = None) -> Sequence[Event]:
        """Every source publishes the fair prices; of instrument 0 those named in `pumped` say theirs."""
        self.fair_ticks = fair_ticks
        now_ns = self.world.now_ns
        said = pumped or {}
        seen = tuple(
            Observation(n, source, said.get(name, ticks) if n == 0 else ticks, now_ns)
            for n, ticks in enumerate(fair_ticks)
            for source, name in enumerate(self._sources)
        )
        return self.do(UpdateIndex(seen))

    def pause(self, seconds: float) -> Due:
        """Time passes; to be yielded."""
        return self.world.sleep(int(seconds * SECOND_NS))

    # The score

    def worth_atoms(self, account: int) -> int:
        """Equity of an account with its positions at the fair price."""
        worth = int(self.view.equities((account,))[0])
        for n, instrument in enumerate(self.view.instruments):
            lots, mark = self.view.position_lots(n, account), self.view.mark_ticks(n)
            if lots:
                assert mark is not None
                worth += lots * (self.fair_ticks[n] - mark) * instrument.tick_value_atoms
        return worth

    def gain_atoms(self, party: Party) -> int:
        return self.worth_atoms(party.number) + party.withdrawn_atoms - party.deposited_atoms

    def outcome(self) -> Outcome:
        gains: Counter[str] = Counter()
        for party in self.parties:
            gains["attacker" if party.is_attacker else party.name] += self.gain_atoms(party)
        for account in _OF_THE_HOUSE:
            gains[HOUSE_ACCOUNT_NAMES[account]] += self.worth_atoms(account)
        gains[HOUSE_ACCOUNT_NAMES[INSURANCE]] -= self._endowed_atoms
        assert sum(gains.values()) == 0, f"gains do not sum to zero: {gains}"
        attacker = gains.pop("attacker")
        return Outcome(attacker, {name: -gain for name, gain in gains.items() if gain}, dict(self.refused))


def perpetual(symbol: str, leverage_max: int, *, tick_decimals: int = 4, **changes: Any) -> Instrument:
    """A linear perpetual of whole coins, with one tier."""
    values: dict[str, Any] = {
        "symbol": symbol,
        "kind": "perpetual",
        "settle_asset": 0,
        "tick_decimals": tick_decimals,
        "lot_decimals": 0,
        "tick_value_atoms": USD // 10**tick_decimals,
        "price_min_ticks": 1,
        "price_max_ticks": 10**6,
        "size_max_lots": 10**9,
        "open_interest_max_lots": 10**9,
        "tiers": (Tier(0, leverage_max),),
    }
    return Instrument(**(values | changes))

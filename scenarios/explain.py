"""Why an account was liquidated or deleveraged: its numbers, line by line, from the events alone."""

from collections.abc import Iterable, Iterator

from msgspec import Struct

from zerodebt.exchange import events as ev
from zerodebt.exchange.commands import BUY
from zerodebt.exchange.events import Batch, Event, Opened
from zerodebt.exchange.instruments import value_atoms
from zerodebt.exchange.position import apply_fill
from zerodebt.scenarios.orders import EventLines
from zerodebt.scenarios.quantities import CallError, DataError, utc

_TOLD_BY_OTHER_EVENTS = (
    "fill",
    "takeover",
    "deleverage",
    "settlement",
    "rounding",
    "isolate",
    "variation",
    "auction",
)


class Line(Struct, frozen=True):
    """One fact with its time. `what` is a short name of the step, `text` its numbers."""

    seq: int
    at: str
    what: str
    text: str


class Explanation(Struct, frozen=True):
    account: int
    lines: tuple[Line, ...]
    was_liquidated: bool
    was_deleveraged: bool
    other_trades: int


def explain(batches: Iterable[Batch], account: int) -> Explanation:
    """Read a run's events once. Raises CallError when the run has no such account."""
    reader: _Reader | None = None
    for batch in batches:
        if reader is None:
            opened = batch.events[0] if batch.events else None
            if not isinstance(opened, Opened):
                raise DataError("events.bin: the first entry is not the opening of a run")
            reader = _Reader(opened, account)
        for event in batch.events:
            for what, text in reader.read(event):
                reader.lines.append(Line(batch.seq, utc(batch.time_ns), what, text))
    if reader is None or account >= reader.accounts or not reader.is_customer:
        known = f"{ev.FIRST_ACCOUNT}..{reader.accounts - 1}" if reader and reader.accounts else "none"
        raise CallError(f"account {account} is not in the run, allowed are {known}")
    return Explanation(
        account, tuple(reader.lines), reader.was_liquidated, reader.was_deleveraged, reader.other_trades
    )


class _Reader:
    """Follows one account: positions, costs, wallet, the marks; and who did what to it."""

    def __init__(self, opened: Opened, account: int) -> None:
        settle = [asset.symbol for asset in opened.assets].index(opened.rules.settle_asset)
        self._texts = EventLines(opened.assets, opened.instruments, settle)
        self._assets = opened.assets
        self._instruments = opened.instruments
        self._settle = settle
        self._account = account
        # By slot: the net position or long leg of each instrument, then its short leg in hedge mode.
        slots = 2 * len(opened.instruments)
        self._lots = [0] * slots
        self._cost = [0] * slots
        self._entry = [0] * slots
        self._is_hedged = False
        self._closing: set[int] = set()
        self._mark: list[int | None] = [None] * len(opened.instruments)
        self._balances: dict[int, int] = {}
        self._isolated = [False] * slots
        self._deficits: dict[int, str] = {}
        self._in_liquidation: set[int] = set()
        self._forced: set[int] = set()
        self.lines: list[Line] = []
        self.accounts = 0
        self.is_customer = account >= ev.FIRST_ACCOUNT
        self.was_liquidated = False
        self.was_deleveraged = False
        self.other_trades = 0

    def read(self, event: Event) -> Iterator[tuple[str, str]]:
        me, texts = self._account, self._texts
        match event:
            case ev.Marked():
                self._mark[event.instrument] = event.mark_ticks
            case ev.AccountsOpened():
                self.accounts = max(self.accounts, event.first_account + event.count)
                if event.first_account <= me < event.first_account + event.count:
                    yield "opened", f"account {me}, {event.role}"
            case ev.Posted():
                yield from self._posted(event)
            case ev.LeverageSet(account=account) if account == me:
                for slot in self._slots(event.instrument):
                    self._isolated[slot] = event.mode == "isolated"
            case ev.PositionModeSet(account=account) if account == me:
                self._is_hedged = event.mode == "hedge"
                count = len(self._instruments)
                self._isolated[count:] = self._isolated[:count]
                yield "position mode", event.mode
            case ev.PositionsLoaded():
                yield from self._loaded(event)
            case ev.OrderAccepted(account=account) if account == me:
                if event.reduce_only:
                    self._closing.add(event.order_id)
                if event.forced:
                    yield self._forced_order(event)
            case ev.Filled() if me in (event.taker, event.maker):
                yield from self._filled(event)
            case ev.LiquidationStarted(account=account) if account == me:
                self.was_liquidated = True
                self._in_liquidation.add(event.pocket)
                text = (
                    f"equity {self._margin(event)} < "
                    f"requirement {self._money(event.maintenance_atoms)} "
                    f"({self._compartment(event.pocket)})"
                )
                yield "below maintenance", text
                yield from self._positions(event.pocket)
            case ev.LiquidationEnded(account=account) if account == me:
                self._in_liquidation.discard(event.pocket)
                text = (
                    f"left: equity {self._margin(event)}, requirement {self._money(event.maintenance_atoms)}"
                )
                yield "liquidation over", text
            case ev.StageArmed(account=account) if account == me:
                text = (
                    f"{event.because}: equity {self._margin(event)}, "
                    f"requirement {self._money(event.maintenance_atoms)}"
                )
                yield f"stage {event.stage}", text
            case ev.TakenOver() if me in (event.account, event.taker):
                yield from self._taken_over(event)
            case ev.DeficitOpened(account=account) if account == me:
                self._deficits[event.deficit_id] = self._assets[event.asset].symbol
                yield "deficit", f"{self._money(event.atoms)} below zero (deficit {event.deficit_id})"
            case ev.Deleveraged() if me in (event.account, event.winner):
                yield from self._deleveraged(event)
            case ev.StagePaid() if event.deficit_id in self._deficits:
                payer = self._texts.account(event.payer)
                text = f"{payer} paid {self._money(event.atoms)} (deficit {event.deficit_id})"
                yield f"stage {event.stage}", text
            case ev.StagePaid(payer=payer) if payer == me:
                yield f"stage {event.stage}", f"paid {self._money(event.atoms)} to deficit {event.deficit_id}"
            case ev.DeficitClosed() if event.deficit_id in self._deficits:
                left = self._money(event.residual_atoms)
                over = self._money(event.overcharge_atoms)
                text = f"left open {left}, taken beyond it {over} (deficit {event.deficit_id})"
                yield "deficit closed", text
            case ev.ReceivableBooked(account=account) if account == me:
                yield "receivable", f"the account owes {self._money(event.atoms)}"
            case ev.VariationSettled():
                yield from self._settled_for_the_day(event)
            case ev.MarginCalled(account=account) if account == me:
                text = (
                    f"{self._money(event.called_atoms)} until {utc(event.due_ns)}: equity "
                    f"{self._money(event.equity_atoms)} < requirement {self._money(event.maintenance_atoms)}"
                )
                yield "margin call", text
            case ev.MarginCallEnded(account=account) if account == me:
                equity, required = self._money(event.equity_atoms), self._money(event.required_atoms)
                yield "margin call over", f"equity {equity}, asked were {required}"
            case ev.DefaultDeclared(account=account) if account == me:
                yield "in default", f"{len(event.contributions)} members answer for it"
            case ev.AuctionHeld() if me in (event.account, event.winner):
                yield from self._auctioned(event)
            case ev.LayerDrawn() if event.deficit_id in self._deficits:
                whole = self._money(sum(atoms for _, atoms in event.shares))
                yield "default fund", f"{event.layer} bring {whole} (deficit {event.deficit_id})"
            case ev.LayerDrawn():
                for account, atoms in event.shares:
                    if account == me:
                        text = f"{event.layer}: {self._money(atoms)} for deficit {event.deficit_id}"
                        yield "default fund", text
            case ev.Settled():
                for slot in self._slots(event.instrument):
                    lots = self._lots[slot]
                    if not lots:
                        continue
                    price = texts.price(event.instrument, event.price_ticks)
                    profit = self._apply(slot, -lots, event.price_ticks)
                    size = texts.size(event.instrument, lots)
                    yield "settled", f"{size} {self._name(slot)} at {price}, result {self._money(profit)}"
            case _:
                pass

    def _forced_order(self, event: ev.OrderAccepted) -> tuple[str, str]:
        texts, n = self._texts, event.instrument
        self._forced.add(event.order_id)
        side = "buy" if event.side == BUY else "sell"
        price = event.price_ticks
        limit = "at any price" if price is None else f"limit {texts.price(n, price)}"
        is_spot = self._instruments[n].kind == "spot"
        name = self._symbol(n) if is_spot else self._name(self._slot(n, -event.side))
        return "forced order", f"{side} {texts.size(n, event.size_lots)} {name}, {limit}"

    def _slots(self, n: int) -> tuple[int, int]:
        return n, n + len(self._instruments)

    def _slot(self, n: int, sign: int) -> int:
        """What holds the position of this sign: in hedge mode there is one for each."""
        return self._slots(n)[sign < 0 and self._is_hedged]

    def _name(self, slot: int) -> str:
        """A position's instrument, and in hedge mode its leg."""
        short, n = divmod(slot, len(self._instruments))
        return f"{self._symbol(n)} {'short' if short else 'long'}" if self._is_hedged else self._symbol(n)

    def _posted(self, event: ev.Posted) -> Iterator[tuple[str, str]]:
        moved: dict[int, int] = {}
        for account, pocket, atoms in event.legs:
            if account == self._account:
                moved[pocket] = moved.get(pocket, 0) + atoms
        for pocket, atoms in moved.items():
            self._balances[pocket] = self._balances.get(pocket, 0) + atoms
        reason: str = event.reason
        if reason == "takeover" and all(account != ev.CLEARING for account, _, _ in event.legs):
            reason = "margin moved"
        if moved and reason not in _TOLD_BY_OTHER_EVENTS:
            parts = [
                f"{'+' if x >= 0 else ''}{self._money(x, p)} {self._pocket(p)}" for p, x in moved.items()
            ]
            yield reason, ", ".join(parts)

    def _loaded(self, event: ev.PositionsLoaded) -> Iterator[tuple[str, str]]:
        if self._account not in event.accounts:
            return
        texts, n = self._texts, event.instrument
        at = event.accounts.index(self._account)
        slot = self._slot(n, event.lots[at])
        self._apply(slot, event.lots[at], event.price_ticks)
        self._entry[slot] = value_atoms(self._instruments[n], event.entry_ticks[at], event.lots[at])
        self._isolated[slot] = event.isolated_atoms[at] > 0
        margin = f"isolated with {self._money(event.isolated_atoms[at])}" if self._isolated[slot] else "cross"
        text = (
            f"{texts.size(n, event.lots[at])} {self._name(slot)} at {texts.price(n, event.price_ticks)}, "
            f"once paid {texts.price(n, event.entry_ticks[at])}, leverage {event.leverage[at]}, {margin}"
        )
        yield "starts with", text

    def _filled(self, event: ev.Filled) -> Iterator[tuple[str, str]]:
        texts, n = self._texts, event.instrument
        as_taker = event.taker == self._account
        lots = event.size_lots * (event.taker_side if as_taker else -event.taker_side)
        order = event.taker_order if as_taker else event.maker_order
        is_spot = self._instruments[n].kind == "spot"
        slot = n if is_spot else self._slot(n, -lots if order in self._closing else lots)
        profit = 0 if is_spot else self._apply(slot, lots, event.price_ticks)
        if not (self._in_liquidation or order in self._forced):
            self.other_trades += 1
            return
        fee = event.taker_fee_atoms if as_taker else event.maker_fee_atoms
        text = (
            f"{texts.size(n, lots)} {self._symbol(n) if is_spot else self._name(slot)} "
            f"at {texts.price(n, event.price_ticks)} (mark {self._mark_text(n)}), "
            f"result {self._money(profit)}, fee {self._money(fee)}, left {texts.size(n, self._lots[slot])}"
        )
        yield "fill", text

    def _taken_over(self, event: ev.TakenOver) -> Iterator[tuple[str, str]]:
        texts, n = self._texts, event.instrument
        size, price = texts.size(n, event.lots), texts.price(n, event.price_ticks)
        if event.account == self._account:
            slot = self._slot(n, event.lots)
            profit = self._apply(slot, -event.lots, event.price_ticks)
            taker = texts.account(event.taker)
            text = f"{size} {self._name(slot)} at {price} by {taker}, result {self._money(profit)}"
            yield "taken over", text
        else:
            self._apply(self._slot(n, event.lots), event.lots, event.price_ticks)
            yield "takes over", f"{size} {self._symbol(n)} at {price} from account {event.account}"

    def _settled_for_the_day(self, event: ev.VariationSettled) -> Iterator[tuple[str, str]]:
        n = event.instrument
        for slot in self._slots(n):
            if not self._lots[slot]:
                continue
            value = value_atoms(self._instruments[n], event.price_ticks, self._lots[slot])
            paid, self._cost[slot] = value - self._cost[slot], value
            price = self._texts.price(n, event.price_ticks)
            yield "variation", f"{self._name(slot)} settled at {price}, {self._money(paid)}"

    def _auctioned(self, event: ev.AuctionHeld) -> Iterator[tuple[str, str]]:
        texts = self._texts
        for n, lots, ticks in zip(event.instruments, event.lots, event.price_ticks, strict=True):
            size, price = texts.size(n, lots), texts.price(n, ticks)
            if event.account == self._account:
                profit = self._apply(n, -lots, ticks)
                text = (
                    f"{size} {self._symbol(n)} at {price} (mark {self._mark_text(n)}) "
                    f"to account {event.winner}, result {self._money(profit)}"
                )
                yield "auctioned", text
            else:
                self._apply(n, lots, ticks)
                yield "wins auction", f"{size} {self._symbol(n)} at {price} of account {event.account}"

    def _deleveraged(self, event: ev.Deleveraged) -> Iterator[tuple[str, str]]:
        texts, n = self._texts, event.instrument
        size = texts.size(n, event.lots)
        price, mark = texts.price(n, event.price_ticks), texts.price(n, event.mark_ticks)
        if event.winner == self._account:
            self.was_deleveraged = True
            slot = self._slot(n, event.lots)
            self._apply(slot, -event.lots, event.price_ticks)
            score = f"{event.score_ppb / 1e9:.6f}"
            text = (
                f"{size} {self._name(slot)} closed at {price} (mark {mark}) against account {event.account}, "
                f"rank {event.rank} with score {score}, profit {self._money(event.profit_atoms)}, "
                f"given up against the mark {self._money(event.transfer_atoms)}, "
                f"left {texts.size(n, self._lots[slot])}"
            )
            yield "deleveraged", text
        else:
            slot = self._slot(n, -event.lots)
            self._apply(slot, event.lots, event.price_ticks)
            text = (
                f"{texts.size(n, -event.lots)} {self._name(slot)} at {price} (mark {mark}) against account "
                f"{event.winner}, left {texts.size(n, self._lots[slot])}"
            )
            yield "closed by adl", text

    def _positions(self, pocket: int) -> Iterator[tuple[str, str]]:
        """The compartment's positions at the mark, and its balance."""
        for slot, lots in enumerate(self._lots):
            n = slot % len(self._instruments)
            mark = self._mark[n]
            if not lots or mark is None or self._pocket_of(slot) != pocket:
                continue
            value = value_atoms(self._instruments[n], mark, lots)
            text = (
                f"{self._texts.size(n, lots)} {self._name(slot)}, mark {self._mark_text(n)}, "
                f"value {self._money(value)}, unrealised {self._money(value - self._cost[slot])}"
            )
            yield "position", text
        yield "balance", f"{self._money(self._balances.get(pocket, 0), pocket)} {self._pocket(pocket)}"

    def _apply(self, slot: int, lots: int, price_ticks: int) -> int:
        """Move the position; what it realised in atoms."""
        value = value_atoms(self._instruments[slot % len(self._instruments)], price_ticks, lots)
        change = apply_fill(self._lots[slot], self._cost[slot], self._entry[slot], lots, value)
        self._lots[slot], self._cost[slot], self._entry[slot] = change.lots, change.cost, change.entry_cost
        return change.realised_atoms

    def _pocket_of(self, slot: int) -> int:
        return len(self._assets) + slot if self._isolated[slot] else self._settle

    def _symbol(self, n: int) -> str:
        return self._instruments[n].symbol

    def _mark_text(self, n: int) -> str:
        mark = self._mark[n]
        return "none" if mark is None else self._texts.price(n, mark)

    def _pocket(self, pocket: int) -> str:
        return self._texts.pocket(pocket)

    def _compartment(self, pocket: int) -> str:
        return "cross pool" if pocket == self._settle else self._pocket(pocket)

    def _margin(self, event: ev.LiquidationStarted | ev.LiquidationEnded | ev.StageArmed) -> str:
        equity = self._money(event.equity_atoms)
        return f"{equity} less haircut {self._money(event.haircut_atoms)}" if event.haircut_atoms else equity

    def _money(self, atoms: int, pocket: int | None = None) -> str:
        asset = pocket if pocket is not None and pocket < len(self._assets) else self._settle
        return self._texts.money(atoms, asset)

"""JSON Lines: commands with decimal strings in, events with decimal strings out. Format: docs/commands.md."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from zerodebt.exchange import commands as c
from zerodebt.exchange.assets import Asset
from zerodebt.exchange.decimals import from_units, parse_decimal, to_units
from zerodebt.exchange.events import (
    CLEARING,
    FIRST_ACCOUNT,
    HOUSE_ACCOUNT_NAMES,
    AuctionHeld,
    Batch,
    Event,
    Opened,
    OrderAccepted,
    PositionsLoaded,
    Posted,
    Quoted,
    TriggerArmed,
)
from zerodebt.exchange.instruments import Instrument
from zerodebt.exchange.rules import RulesError, VenueRules, venue_rules
from zerodebt.exchange.specs import AssetSpec, InstrumentSpec, build_assets, build_instrument
from zerodebt.scenarios.config import (
    ATOMS_MAX,
    HERE,
    sentence,
    with_overrides,
    with_profile,
)
from zerodebt.scenarios.quantities import CallError, DataError, nearest, parse_time_ns, utc

Text = str | int
When = Annotated[str, Meta(min_length=1)] | int
_SIDES: dict[str, c.Side] = {"buy": c.BUY, "sell": c.SELL}
PositionSide = Literal["both", "long", "short"]
_LEGS: dict[PositionSide, c.PositionLeg] = {"both": "net", "long": "long", "short": "short"}


class VenueLine(Struct, tag="venue", tag_field="do", forbid_unknown_fields=True, kw_only=True):
    """First line: the rulebook (a profile, and `rules` that override it), assets and instruments."""

    profile: str | None = None
    rules: dict[str, Any] = {}
    assets: list[dict[str, Any]]
    instruments: list[dict[str, Any]]


class _Line(Struct, tag_field="do", forbid_unknown_fields=True, kw_only=True):
    at: When | None = None


class OpenAccount(_Line, tag="open_account"):
    name: Annotated[str, Meta(min_length=1)]
    deposit: Text = "0"
    asset: str | None = None
    role: c.Role = "customer"


class Deposit(_Line, tag="deposit"):
    account: str
    amount: Text
    asset: str | None = None


class Withdraw(_Line, tag="withdraw"):
    account: str
    amount: Text
    asset: str | None = None


class Held(Struct, forbid_unknown_fields=True, kw_only=True):
    account: str
    size: Text
    entry: Text | None = None
    leverage: int = 1
    isolated: Text = "0"


class LoadPositions(_Line, tag="load_positions"):
    instrument: str
    price: Text
    positions: list[Held]


class SetBackstop(_Line, tag="set_backstop"):
    account: str
    instruments: list[str]


class SetLeverage(_Line, tag="set_leverage"):
    account: str
    instrument: str
    leverage: int
    mode: c.MarginMode = "cross"


class SetPositionMode(_Line, tag="set_position_mode"):
    account: str
    mode: c.PositionMode


class TransferMargin(_Line, tag="transfer_margin"):
    account: str
    instrument: str
    amount: Text
    position_side: PositionSide = "both"


class TriggerLine(Struct, forbid_unknown_fields=True, kw_only=True):
    kind: Literal["stop", "take_profit"]
    price: Text
    reference: Literal["mark", "last"] = "mark"


class PlaceOrder(_Line, tag="place_order"):
    account: str
    instrument: str
    side: Literal["buy", "sell"]
    size: Text
    position_side: PositionSide = "both"
    price: Text | None = None
    tif: c.TimeInForce | None = None
    post_only: bool = False
    reduce_only: bool = False
    self_trade: c.SelfTrade = "cancel_oldest"
    trigger: TriggerLine | None = None
    label: str | None = None


class AmendOrder(_Line, tag="amend_order"):
    account: str
    order: str | int
    instrument: str
    price: Text | None = None
    size: Text | None = None


class CancelOrder(_Line, tag="cancel_order"):
    account: str
    order: str | int


class CancelAll(_Line, tag="cancel_all"):
    account: str
    instrument: str | None = None


class MassQuote(_Line, tag="mass_quote"):
    account: str
    instrument: str
    bids: list[tuple[Text, Text]] = []
    asks: list[tuple[Text, Text]] = []


class UpdateIndex(_Line, tag="update_index"):
    prices: dict[str, Text]
    source: str | None = None
    published: When | None = None


class Tick(_Line, tag="tick"):
    pass


class SetStatus(_Line, tag="set_status"):
    instrument: str
    open: bool
    reduce: bool
    liquidate: bool


class Settle(_Line, tag="settle"):
    instrument: str
    price: Text | None = None


class SettleVariation(_Line, tag="settle_variation"):
    instrument: str
    price: Text


class Contribute(_Line, tag="contribute"):
    account: str
    amount: Text


class Bid(Struct, forbid_unknown_fields=True, kw_only=True):
    account: str
    prices: dict[str, Text]


class HoldAuction(_Line, tag="hold_auction"):
    account: str
    bids: list[Bid]


class Supply(_Line, tag="supply"):
    account: str
    amount: Text


class Redeem(_Line, tag="redeem"):
    account: str
    share_count: int


class Borrow(_Line, tag="borrow"):
    account: str
    amount: Text


CommandLine = (
    OpenAccount
    | Deposit
    | Withdraw
    | LoadPositions
    | SetBackstop
    | SetLeverage
    | SetPositionMode
    | TransferMargin
    | PlaceOrder
    | AmendOrder
    | CancelOrder
    | CancelAll
    | MassQuote
    | UpdateIndex
    | Tick
    | SetStatus
    | Settle
    | SettleVariation
    | Contribute
    | HoldAuction
    | Supply
    | Redeem
    | Borrow
)


class Step(Struct, frozen=True):
    """A command with its time. `label` names the order that it places, `refers` the one that it changes."""

    at_ns: int
    command: c.Command
    label: str | None = None
    refers: str | None = None


class Session(Struct, frozen=True):
    """A whole command file, checked. `names` are the customers' accounts from FIRST_ACCOUNT on."""

    rules: VenueRules
    assets: tuple[Asset, ...]
    instruments: tuple[Instrument, ...]
    names: tuple[str, ...]
    steps: tuple[Step, ...]


def read(
    lines: Iterable[bytes | str],
    file: str,
    profile: str | None = None,
    overrides: Sequence[tuple[str, Any]] = (),
    folder: Path = HERE,
) -> Session:
    """All lines, checked before the first one is applied. Raises DataError: file, line and one sentence.

    folder  of the file: a profile of its own that is a file is looked for there
    """
    numbered = ((n, line.strip()) for n, line in enumerate(lines, 1))
    filled = ((n, line) for n, line in numbered if line)
    first = next(filled, None)
    if first is None:
        raise DataError(f'{file}: the file is empty, allowed is a line with "do": "venue" and then commands')
    reader = _Reader(file, first[0], first[1], profile, overrides, folder)
    for n, line in filled:
        reader.add(n, line)
    return Session(reader.rules, reader.assets, reader.instruments, tuple(reader.names), tuple(reader.steps))


class _Reader:
    """Turns lines into commands, remembering names and labels."""

    def __init__(
        self,
        file: str,
        number: int,
        line: bytes | str,
        profile: str | None,
        overrides: Sequence[tuple[str, Any]],
        folder: Path,
    ) -> None:
        self._file = file
        self._where = f"{file}:{number}"
        opening: VenueLine = self._decode(line, VenueLine)
        venue = dict(opening.rules)
        if profile or opening.profile:
            venue["profile"] = profile or opening.profile
        table: dict[str, Any] = {
            "venue": venue,
            "assets": opening.assets,
            "instruments": opening.instruments,
        }
        table = with_profile(table, self._where, overrides, HERE if profile else folder)
        for path, _ in overrides:
            top = path.partition(".")[0]
            if top not in table:
                hint, allowed = nearest(top, table), ", ".join(table)
                raise CallError(f"--set {path}: key {top!r} is not known{hint}; allowed are {allowed}")
        table = with_overrides(table, overrides)
        specs = self._converted(table["assets"], list[AssetSpec], "assets")
        markets = self._converted(table["instruments"], list[InstrumentSpec], "instruments")
        self._check_unique("assets", [spec.symbol for spec in specs])
        self._check_unique("instruments", [spec.symbol for spec in markets])
        try:
            self.rules = venue_rules({k: v for k, v in table["venue"].items() if k != "profile"})
            self.instruments = tuple(
                build_instrument(spec, specs, self.rules.settle_asset) for spec in markets
            )
        except RulesError as error:
            raise DataError(f"{self._where}: {error}") from None
        self.assets = build_assets(specs)
        self._word("venue.settle_asset", self.rules.settle_asset, [asset.symbol for asset in self.assets])
        self.names: list[str] = []
        self.steps: list[Step] = []
        self._labels: set[str] = set()
        self._now_ns: int | None = None

    def _decode(self, line: bytes | str, kind: Any) -> Any:
        try:
            table = msgspec.json.decode(line)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise DataError(f"{self._where}: not readable as JSON: {error}") from None
        return self._converted(table, kind, "")

    def _check_unique(self, key: str, symbols: list[str]) -> None:
        for n, symbol in enumerate(symbols):
            if symbol in symbols[:n]:
                raise DataError(f"{self._where}: {key}.{n}: found {symbol!r} twice, allowed is one of each")

    def _converted(self, table: Any, kind: Any, prefix: str) -> Any:
        try:
            return msgspec.convert(table, kind)
        except msgspec.ValidationError as error:
            raise DataError(f"{self._where}: {sentence(str(error), table, kind, prefix)}") from None

    def add(self, number: int, line: bytes | str) -> None:
        self._where = f"{self._file}:{number}"
        asked: CommandLine = self._decode(line, CommandLine)
        at_ns = self._time("at", asked.at) if asked.at is not None else self._now_ns
        if at_ns is None:
            raise DataError(
                f"{self._where}: key 'at' is missing, allowed is a time on the first command at least"
            )
        self._now_ns = at_ns
        label = asked.label if isinstance(asked, PlaceOrder) else None
        if label is not None:
            if label in self._labels:
                raise DataError(f"{self._where}: label: {label!r} is there already, allowed is a new name")
            self._labels.add(label)
        refers = None
        if isinstance(asked, AmendOrder | CancelOrder) and isinstance(asked.order, str):
            refers = asked.order
            if refers not in self._labels:
                hint = nearest(refers, self._labels)
                raise DataError(f"{self._where}: order: label {refers!r} is on no order above{hint}")
        self.steps += [Step(at_ns, command, label, refers) for command in self._commands(asked, at_ns)]

    def _time(self, key: str, when: str | int) -> int:
        try:
            at_ns = when if isinstance(when, int) else parse_time_ns(when)
        except ValueError as error:
            raise DataError(f"{self._where}: {key}: {error}") from None
        if not 0 <= at_ns < 2**63:
            raise DataError(f"{self._where}: {key}: found {when!r}, allowed are times from 1970 to 2262")
        return at_ns

    def _commands(self, asked: CommandLine, at_ns: int) -> Iterator[c.Command]:
        match asked:
            case OpenAccount(name=name):
                if name in self.names or name in HOUSE_ACCOUNT_NAMES:
                    raise DataError(
                        f"{self._where}: name: account {name!r} is there already, allowed is a new name"
                    )
                self.names.append(name)
                yield c.OpenAccounts(1, asked.role)
                asset = self._asset(asked.asset)
                atoms = self._atoms("deposit", asked.deposit, asset)
                if atoms:
                    yield c.Deposit(asset, self._account(name), (atoms,))
            case Deposit():
                asset = self._asset(asked.asset)
                yield c.Deposit(
                    asset, self._account(asked.account), (self._atoms("amount", asked.amount, asset),)
                )
            case Withdraw():
                asset = self._asset(asked.asset)
                yield c.Withdraw(
                    self._account(asked.account), asset, self._atoms("amount", asked.amount, asset)
                )
            case LoadPositions():
                yield self._positions(asked)
            case SetBackstop():
                numbers = tuple(self._instrument(symbol) for symbol in asked.instruments)
                yield c.SetBackstop(self._account(asked.account), numbers)
            case SetLeverage():
                yield c.SetLeverage(
                    self._account(asked.account),
                    self._instrument(asked.instrument),
                    asked.leverage,
                    asked.mode,
                )
            case SetPositionMode():
                yield c.SetPositionMode(self._account(asked.account), asked.mode)
            case TransferMargin():
                settle = self._asset(None)
                amount = self._units("amount", asked.amount, self.assets[settle].decimals)
                yield c.TransferMargin(
                    self._account(asked.account),
                    self._instrument(asked.instrument),
                    amount,
                    _LEGS[asked.position_side],
                )
            case PlaceOrder():
                yield self._order(asked)
            case AmendOrder():
                market = self._instrument(asked.instrument)
                price = None if asked.price is None else self._price(market, "price", asked.price)
                size = None if asked.size is None else self._size(market, "size", asked.size)
                yield c.AmendOrder(self._account(asked.account), self._order_id(asked.order), price, size)
            case CancelOrder():
                yield c.CancelOrder(self._account(asked.account), self._order_id(asked.order))
            case CancelAll():
                one = None if asked.instrument is None else self._instrument(asked.instrument)
                yield c.CancelAll(self._account(asked.account), one)
            case MassQuote():
                market = self._instrument(asked.instrument)
                bids, asks = (
                    tuple((self._price(market, key, p), self._size(market, key, s)) for p, s in levels)
                    for key, levels in (("bids", asked.bids), ("asks", asked.asks))
                )
                yield c.MassQuote(self._account(asked.account), market, bids, asks)
            case UpdateIndex():
                yield self._index(asked, at_ns)
            case Tick():
                yield c.Tick()
            case SetStatus():
                number = self._instrument(asked.instrument)
                yield c.SetStatus(number, asked.open, asked.reduce, asked.liquidate)
            case Settle():
                market = self._instrument(asked.instrument)
                price = None if asked.price is None else self._price(market, "price", asked.price)
                yield c.SettleInstrument(market, price)
            case SettleVariation():
                market = self._instrument(asked.instrument)
                yield c.SettleVariation(market, self._price(market, "price", asked.price))
            case Contribute():
                yield c.Contribute(self._account(asked.account), self._settled(asked.amount))
            case Supply():
                yield c.Supply(self._account(asked.account), self._settled(asked.amount))
            case Borrow():
                yield c.Borrow(self._account(asked.account), self._settled(asked.amount))
            case Redeem():
                yield c.Redeem(self._account(asked.account), asked.share_count)
            case HoldAuction():
                yield self._auction(asked)

    def _settled(self, amount: Text) -> int:
        """An amount of the settlement asset, in atoms."""
        return self._units("amount", amount, self.assets[self._asset(None)].decimals)

    def _auction(self, asked: HoldAuction) -> c.HoldAuction:
        """Every bid names the same instruments; their order does not matter."""
        offers = [{self._instrument(symbol): text for symbol, text in b.prices.items()} for b in asked.bids]
        markets = sorted(set().union(*offers))
        for bid, offer in zip(asked.bids, offers, strict=True):
            if sorted(offer) != markets:
                symbols = ", ".join(self.instruments[n].symbol for n in markets)
                raise DataError(
                    f"{self._where}: bids: found {', '.join(bid.prices)} of {bid.account}, "
                    f"allowed is a price for each of {symbols}"
                )
        bids = tuple(
            c.AuctionBid(
                self._account(bid.account),
                tuple(self._price(n, f"prices.{self.instruments[n].symbol}", offer[n]) for n in markets),
            )
            for bid, offer in zip(asked.bids, offers, strict=True)
        )
        return c.HoldAuction(self._account(asked.account), tuple(markets), bids)

    def _order(self, asked: PlaceOrder) -> c.PlaceOrder:
        market = self._instrument(asked.instrument)
        trigger = None
        if asked.trigger is not None:
            at = self._price(market, "trigger.price", asked.trigger.price)
            trigger = c.Trigger(asked.trigger.kind, asked.trigger.reference, at)
        return c.PlaceOrder(
            self._account(asked.account),
            market,
            _SIDES[asked.side],
            self._size(market, "size", asked.size),
            None if asked.price is None else self._price(market, "price", asked.price),
            asked.tif or ("ioc" if asked.price is None and asked.trigger is None else "gtc"),
            asked.post_only,
            asked.reduce_only,
            asked.self_trade,
            trigger,
            leg=_LEGS[asked.position_side],
        )

    def _positions(self, asked: LoadPositions) -> c.LoadPositions:
        market = self._instrument(asked.instrument)
        instrument = self.instruments[market]
        price = self._price(market, "price", asked.price)
        held = asked.positions
        lots = tuple(self._units("size", h.size, instrument.lot_decimals) for h in held)
        if not held or 0 in lots or sum(lots) != 0:
            sizes = ", ".join(str(h.size) for h in held) or "none"
            raise DataError(
                f"{self._where}: positions: found sizes {sizes}, allowed are sizes other than 0 that sum to 0"
            )
        settle = self._asset(None)
        return c.LoadPositions(
            market,
            price,
            tuple(self._account(h.account) for h in held),
            lots,
            tuple(price if h.entry is None else self._price(market, "entry", h.entry) for h in held),
            tuple(h.leverage for h in held),
            tuple(self._atoms("isolated", h.isolated, settle) for h in held),
        )

    def _index(self, asked: UpdateIndex, at_ns: int) -> c.UpdateIndex:
        names = [source.name for source in self.rules.sources]
        if asked.source is None:
            number = next(n for n, source in enumerate(self.rules.sources) if source.kind == "spot")
        else:
            number = self._word("source", asked.source, names)
        published = at_ns if asked.published is None else self._time("published", asked.published)
        seen = []
        for symbol, text in asked.prices.items():
            market = self._instrument(symbol)
            seen.append(
                c.Observation(market, number, self._price(market, f"prices.{symbol}", text), published)
            )
        return c.UpdateIndex(tuple(seen))

    def _word(self, key: str, word: str, allowed: Sequence[str]) -> int:
        if word not in allowed:
            hint = nearest(word, allowed)
            raise DataError(
                f"{self._where}: {key}: {word!r} is not known{hint}; allowed are {', '.join(allowed)}"
            )
        return allowed.index(word)

    def _account(self, name: str) -> int:
        if name in HOUSE_ACCOUNT_NAMES:
            return HOUSE_ACCOUNT_NAMES.index(name)
        return FIRST_ACCOUNT + self._word("account", name, self.names)

    def _instrument(self, symbol: str) -> int:
        return self._word("instrument", symbol, [i.symbol for i in self.instruments])

    def _asset(self, symbol: str | None) -> int:
        symbols = [asset.symbol for asset in self.assets]
        return self._word("asset", symbol if symbol is not None else self.rules.settle_asset, symbols)

    @staticmethod
    def _order_id(order: str | int) -> int:
        return order if isinstance(order, int) else 0

    def _units(self, key: str, text: Text, decimals: int) -> int:
        try:
            units = to_units(parse_decimal(str(text)), decimals)
        except ValueError as error:
            raise DataError(f"{self._where}: {key}: {error}") from None
        if abs(units) > ATOMS_MAX:
            raise DataError(f"{self._where}: {key}: found {text}, beyond the largest number of the venue")
        return units

    def _atoms(self, key: str, text: Text, asset: int) -> int:
        atoms = self._units(key, text, self.assets[asset].decimals)
        if atoms < 0:
            raise DataError(f"{self._where}: {key}: found {text}, allowed are amounts from 0")
        return atoms

    def _price(self, market: int, key: str, text: Text) -> int:
        return self._units(key, text, self.instruments[market].tick_decimals)

    def _size(self, market: int, key: str, text: Text) -> int:
        lots = self._units(key, text, self.instruments[market].lot_decimals)
        if lots < 1:
            raise DataError(f"{self._where}: {key}: found {text}, allowed are sizes above 0")
        return lots


# Events


class EventLines:
    """Events as tables of decimal strings and names, in the order of the batch."""

    def __init__(
        self,
        assets: Sequence[Asset],
        instruments: Sequence[Instrument],
        settle: int,
        names: Sequence[str] = (),
    ) -> None:
        self._assets = assets
        self._instruments = instruments
        self._settle = settle
        self._names = names
        self._market_of: dict[int, int] = {}

    def tables(self, batch: Batch) -> Iterator[dict[str, Any]]:
        for event in batch.events:
            yield {"seq": batch.seq, "at": utc(batch.time_ns), **self.table(event)}

    def table(self, event: Event) -> dict[str, Any]:
        tag = type(event).__struct_config__.tag
        market = getattr(event, "instrument", None)
        if isinstance(event, OrderAccepted | TriggerArmed):
            self._market_of[event.order_id] = event.instrument
        if market is None and hasattr(event, "order_id"):
            market = self._market_of.get(event.order_id)
        table: dict[str, Any] = {"event": tag}
        if isinstance(event, Opened):
            table |= msgspec.to_builtins(_named(event))
            return table
        if isinstance(event, Posted):
            legs = [
                {
                    "account": self.account(a),
                    "pocket": self.pocket(p, a),
                    "amount": self.money(x, self._pocket_asset(p)),
                }
                for a, p, x in event.legs
            ]
            return table | {"reason": event.reason, "legs": legs}
        if isinstance(event, PositionsLoaded):
            return table | self._loaded(event)
        if isinstance(event, Quoted):
            return table | self._quoted(event)
        if isinstance(event, AuctionHeld):
            return table | self._auctioned(event)
        asset = getattr(event, "asset", self._settle)
        for field in event.__struct_fields__:
            unit = self._settle if field in ("paid_atoms", "owed_atoms") else asset
            key, value = self._field(field, getattr(event, field), market, unit)
            table[key] = value
        return table

    def _field(self, field: str, value: Any, market: int | None, asset: int) -> tuple[str, Any]:
        key = field
        for suffix in ("_ticks", "_lots", "_atoms", "_ppb", "_ppt"):
            key = key.removesuffix(suffix)
        if value is None or isinstance(value, bool):
            return key, value
        if field in ("account", "taker", "maker", "winner", "payer"):
            return field, self.account(value)
        if field in ("pocket", "winner_pocket"):
            return field, self.pocket(value)
        if field == "instrument":
            return field, self._instruments[value].symbol
        if field == "instruments":
            return field, [self._instruments[n].symbol for n in value]
        if field == "asset":
            return field, self._assets[value].symbol
        if field in ("side", "taker_side"):
            return field, "buy" if value == c.BUY else "sell"
        if field in ("origins", "contributions", "shares"):
            return field, [{"account": self.account(a), "amount": self.money(x, asset)} for a, x in value]
        if field == "spread":
            return field, [None if x is None or market is None else self.price(market, x) for x in value]
        if field == "trigger" and market is not None:
            return field, {
                "kind": value.kind,
                "reference": value.reference,
                "price": self.price(market, value.price_ticks),
            }
        if field.endswith("_ticks") and market is not None:
            return key, self.price(market, value)
        if (field.endswith("_lots") or field == "lots") and market is not None:
            return "size" if field == "lots" else key, self.size(market, value)
        if field.endswith("_atoms") or field == "atoms":
            return "amount" if field == "atoms" else key, self.money(value, asset)
        if field.endswith("_ppb"):
            return key, from_units(value, 9)
        if field.endswith("_ppt"):
            return key, from_units(value, 12)
        if field == "due_ns":
            return "due", utc(value)
        return key, str(value) if isinstance(value, str) else value

    def _loaded(self, event: PositionsLoaded) -> dict[str, Any]:
        market = event.instrument
        rows = zip(
            event.accounts, event.lots, event.entry_ticks, event.leverage, event.isolated_atoms, strict=True
        )
        return {
            "instrument": self._instruments[market].symbol,
            "price": self.price(market, event.price_ticks),
            "positions": [
                {
                    "account": self.account(account),
                    "size": self.size(market, lots),
                    "entry": self.price(market, entry),
                    "leverage": leverage,
                    "isolated": self.money(isolated, self._settle),
                }
                for account, lots, entry, leverage, isolated in rows
            ],
        }

    def _quoted(self, event: Quoted) -> dict[str, Any]:
        market = event.instrument
        for order_id, *_ in event.placed:
            self._market_of[order_id] = market
        for order_id in event.removed:
            self._market_of.pop(order_id, None)

        def level(side: int, price: int, size: int) -> dict[str, Any]:
            text = "buy" if side == c.BUY else "sell"
            return {"side": text, "price": self.price(market, price), "size": self.size(market, size)}

        return {
            "account": self.account(event.account),
            "instrument": self._instruments[market].symbol,
            "removed": list(event.removed),
            "placed": [{"order_id": i, **level(side, p, s)} for i, side, p, s in event.placed],
            "refused": [level(side, p, s) for side, p, s in event.refused],
        }

    def _auctioned(self, event: AuctionHeld) -> dict[str, Any]:
        markets = event.instruments

        def by_symbol(texts: Iterable[str]) -> dict[str, str]:
            return {self._instruments[n].symbol: text for n, text in zip(markets, texts, strict=True)}

        def prices(ticks: Sequence[int]) -> dict[str, str]:
            return by_symbol(self.price(n, price) for n, price in zip(markets, ticks, strict=True))

        return {
            "account": self.account(event.account),
            "winner": self.account(event.winner),
            "sizes": by_symbol(self.size(n, x) for n, x in zip(markets, event.lots, strict=True)),
            "prices": prices(event.price_ticks),
            "marks": prices(event.mark_ticks),
            "bids": [
                {"account": self.account(b.account), "prices": prices(b.price_ticks)} for b in event.bids
            ],
            "refused": [self.account(account) for account in event.refused],
        }

    def account(self, number: int) -> str | int:
        if number < len(HOUSE_ACCOUNT_NAMES):
            return HOUSE_ACCOUNT_NAMES[number]
        index = number - FIRST_ACCOUNT
        return self._names[index] if 0 <= index < len(self._names) else number

    def pocket(self, pocket: int, account: int | None = None) -> str:
        """A wallet by its asset, an isolated margin (for the clearing account: paid profit) by its market.

        That of a short leg in hedge mode names its side; that of a net position or a long leg does not.
        """
        if pocket < len(self._assets):
            return self._assets[pocket].symbol
        kind = "profit" if account == CLEARING else "isolated"
        short, number = divmod(pocket - len(self._assets), len(self._instruments))
        return f"{kind}:{self._instruments[number].symbol}{':short' if short else ''}"

    def _pocket_asset(self, pocket: int) -> int:
        if pocket < len(self._assets):
            return pocket
        return self._instruments[(pocket - len(self._assets)) % len(self._instruments)].settle_asset

    def price(self, market: int, ticks: int) -> str:
        return from_units(ticks, self._instruments[market].tick_decimals)

    def size(self, market: int, lots: int) -> str:
        return from_units(lots, self._instruments[market].lot_decimals)

    def money(self, atoms: int, asset: int | None = None) -> str:
        return from_units(atoms, self._assets[self._settle if asset is None else asset].decimals)


def _named(value: Any) -> Any:
    """Structs as tables with names; msgspec would write the array-like ones as bare arrays."""
    if isinstance(value, Struct):
        return {field: _named(getattr(value, field)) for field in value.__struct_fields__}
    if isinstance(value, tuple | list):
        return [_named(item) for item in value]
    return value


def order_id_of(batch: Batch) -> int | None:
    """Number of the order that a `place_order` got."""
    for event in batch.events:
        if isinstance(event, OrderAccepted | TriggerArmed):
            return event.order_id
    return None

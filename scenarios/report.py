"""The report of a run: one page, its chart script beside it or inside it, and nothing from any network."""

import re
from collections.abc import Callable, Iterable, Sequence
from html import escape
from importlib import resources
from pathlib import Path
from typing import Any

import plotly.graph_objects as go
import plotly.offline
import polars as pl
from msgspec import Struct

from zerodebt.exchange.rules import VenueRules
from zerodebt.scenarios import charts
from zerodebt.scenarios.claims import figure
from zerodebt.scenarios.columns import TABLE_NAMES, money_unit, opening, read_table, settle_asset
from zerodebt.scenarios.quantities import DataError
from zerodebt.scenarios.rundir import REPORT, SUMMARY, read_json, write_bytes

SCRIPT = "plotly.min.js"
_TOP = 10
_SHOWN_FROM = 0.01
_ROUTES = ("book", "takeover", "adl")
_NUMBER = re.compile(r"-?\d[\d,]*(?:\.\d+)?")

_CLAUSES = {
    "a": "No protected compartment is below zero at a rest point.",
    "b": "Positions sum to zero; every forced change of counterparty names price, mark and origin.",
    "c": "Every absorber (fund, vault, house) keeps equity of zero or more, inventory at the mark.",
    "d": "Every deficit equals what the stages paid for it; nothing is left.",
    "e": "Value is conserved in every asset.",
    "f": "Nobody pays but the classes that the rulebook names.",
    "g": "Custody covers what may be withdrawn.",
    "h": "Printed beside it: loss of accounts that were liquidated though sound at a reference price.",
    "i": "Printed beside it: interventions (halts, settlements, capital brought in).",
}
_SENTENCES = {
    "NO VERDICT": "The venue and the audit do not say the same.",
    "HELD": "Every debt was made zero.",
    "HELD WITH HARM": "Every debt was made zero, but accounts sound at a reference price were liquidated.",
    "HELD BY INTERVENTION": "Every debt was made zero, with the help of interventions.",
    "RESIDUAL": "The waterfall left debts that nobody paid.",
    "RECOURSE": "Debts were left with the accounts that made them: they are owed, not paid.",
}
_TERMS = {
    "compartment": "The smallest pool that answers for a position: a cross account or an isolated position.",
    "equity": "Balances plus profit at the mark, without haircut. Below zero it is a debt.",
    "deficit": "A debt that the waterfall is asked to pay; its origin: on whose positions it arose.",
    "index, mark": "Index: price from outside sources. Mark: the price that margin is computed with.",
    "book": "Forced orders in the open book. Their cost: what they gave up against the mark.",
    "backstop": "A vault takes positions over at the mark, and with them the margin that is left.",
    "deleveraging (ADL)": "Winners' positions are closed against a bankrupt one. Only what they give up "
    "against the mark is a payment.",
    "insurance": "The venue's fund pays, or takes positions over.",
    "socialise": "The winners of the session pay in proportion to what they won.",
    "house": "The operator's own capital pays.",
    "default fund": "After a member's default its contribution, the house's capital and the others pay.",
    "recourse": "The account owes what is missing; a financier carries it meanwhile.",
    "overcharge": "What a stage took beyond the deficit, through rounding up to whole ticks.",
    "residual": "What is left of a deficit after the last stage.",
    "depth": "Value of resting orders within 1 % of the mid, over all instruments.",
    "open interest": "Sum of the long positions.",
    "evidence": "predicted: counts. fitted: tuned to it. input: put in. identity: true by construction.",
}


class _Cell(Struct, frozen=True):
    """A table cell: text that is already safe, and how it looks."""

    text: str
    look: str = ""
    share: float = 0.0


def _text(value: Any) -> _Cell:
    return _Cell(escape(str(value)))


def _note(text: str) -> str:
    """A paragraph of explanation; the text is already safe."""
    return f'<p class="note">{text}</p>'


def _counted(count: int, thing: str) -> str:
    return f"{count:,} {thing}" if count == 1 else f"{count:,} {thing}s"


def _dotted(*parts: str) -> str:
    return " &middot; ".join(escape(part) for part in parts)


def _number(value: float | int) -> _Cell:
    return _Cell(f"{value:,}", "n")


def _percent(value: float) -> _Cell:
    return _Cell(f"{100 * value:.1f} %" if value else "0", "n" if value else "n zero")


def _table(
    head: Sequence[str], rows: Iterable[Sequence[_Cell]], numeric_from: int = 1, total: bool = False
) -> str:
    """A table whose columns from `numeric_from` on hold numbers; `total` sets its last row apart."""
    top = "".join(
        f'<th class="{"n" if k >= numeric_from else ""}">{escape(name)}</th>' for k, name in enumerate(head)
    )
    listed = [list(row) for row in rows]
    body = []
    for number, row in enumerate(listed):
        cells = "".join(
            f'<td class="{cell.look}{" heat" if cell.share else ""}"'
            + (f' style="--share:{100 * cell.share:.1f}%"' if cell.share else "")
            + f">{cell.text}</td>"
            for cell in row
        )
        look = ' class="sum"' if total and number == len(listed) - 1 else ""
        body.append(f"<tr{look}>{cells}</tr>")
    table = f"<table><thead><tr>{top}</tr></thead><tbody>{''.join(body)}</tbody></table>"
    return f'<div class="scroll">{table}</div>'


def write_report(run: Path, single_file: bool = False) -> None:
    """Write report.html from the tables and summary.json; with `single_file` the chart script is inside."""
    script = plotly.offline.get_plotlyjs()
    if not single_file:
        write_bytes(run / SCRIPT, script.encode())
    page = _Report(run).page(
        f"<script>{script}</script>" if single_file else f'<script src="{SCRIPT}"></script>'
    )
    write_bytes(run / REPORT, page.encode())


class _Report:
    """Sections of the page, from top to bottom."""

    def __init__(self, run: Path) -> None:
        opened = opening(run)
        self.run = run
        self.rules: VenueRules = opened.rules
        self.decimals = settle_asset(opened).decimals
        self.unit = money_unit(settle_asset(opened))
        self.summary: dict[str, Any] = read_json(run / SUMMARY)
        self.frames = {name: read_table(run, name) for name in TABLE_NAMES if name != "ledger"}
        moved = self._payments()
        is_received = (pl.col("stage") == "adl") & (pl.col("amount") < 0)
        self.payments = moved.filter(~is_received)
        self.received = moved.filter(is_received).with_columns(-pl.col("amount"))
        self.drawn = 0

    def _said(self, *path: str) -> Any:
        """A value of summary.json by its path."""
        value: Any = self.summary
        for k, key in enumerate(path):
            if not isinstance(value, dict) or key not in value:
                raise DataError(
                    f"{self.run / SUMMARY}: found no {'.'.join(path[: k + 1])!r}, the report needs it"
                )
            value = value[key]
        return value

    def page(self, script: str) -> str:
        css = (resources.files("zerodebt.scenarios") / "assets" / "report.css").read_text(encoding="utf-8")
        sections: tuple[Callable[[], str], ...] = (
            self._head,
            self._verdict,
            self._who_paid,
            self._prices,
            self._depth_and_interest,
            self._absorbers,
            self._populations,
            self._claims,
            self._top_accounts,
            self._terms,
        )
        body = "\n".join(section() for section in sections)
        return (
            '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
            '<meta name="viewport" content="width=device-width, initial-scale=1">'
            '<link rel="icon" href="data:,">'
            f"<title>{escape(str(self._said('title')))}</title><style>{css}</style>{script}</head>\n"
            f"<body>{body}{self._foot()}</body></html>\n"
        )

    def _chart(self, drawn: go.Figure) -> str:
        self.drawn += 1
        config = {"displayModeBar": False, "responsive": True}
        division = drawn.to_html(
            full_html=False, include_plotlyjs=False, config=config, div_id=f"chart-{self.drawn}"
        )
        return f'<div class="chart">{division}</div>'

    # What was paid

    def _payments(self) -> pl.DataFrame:
        """(time_ns, stage, population, account, deficit_id, amount): every payment, of whatever stage."""
        frames, unit = self.frames, self.unit
        waterfall, adl = frames["waterfall"], frames["adl"]
        forced = frames["trades"].filter(pl.col("forced"))
        populations = frames["accounts"].select(taker="account", population="population")
        none = pl.lit(None, pl.Int64)
        cash = waterfall.filter(pl.col("entry").is_in(["paid", "margin"]))
        parts = [
            forced.join(populations, on="taker").select(
                "time_ns", pl.lit("book").alias("stage"), "population", pl.col("taker").alias("account"),
                none.alias("deficit_id"), pl.col(f"slippage_{unit}").alias("amount"),
            ),
            cash.select(
                "time_ns", "stage", "population", "account", "deficit_id",
                pl.col(f"amount_{unit}").alias("amount"),
            ),
            adl.select(
                "time_ns", pl.lit("adl").alias("stage"), pl.col("winner_population").alias("population"),
                pl.col("winner").alias("account"), "deficit_id", pl.col(f"transfer_{unit}").alias("amount"),
            ),
        ]  # fmt: skip
        return pl.concat(parts).sort("time_ns", maintain_order=True)

    def _stages(self) -> list[str]:
        """Stages of the rulebook in its order, and any other that paid."""
        paid = self.payments["stage"].unique(maintain_order=True).to_list()
        return [*self.rules.waterfall, *(stage for stage in paid if stage not in self.rules.waterfall)]

    def _amount(self, amount: float, most: float = 0.0) -> _Cell:
        if not amount:
            return _Cell("0", "n zero")
        share = abs(amount) / most if most else 0.0
        return _Cell(charts.short(self.unit, amount), "n", min(1.0, share) if share >= 0.005 else 0.0)

    # Sections

    def _head(self) -> str:
        said = self._said
        start, end = str(said("start_utc")), str(said("end_utc"))
        instruments = self.frames["instruments"]
        accounts = int(self.frames["populations"].filter(pl.col("kind") != "house")["accounts"].sum())
        names = (f"zerodebt {said('version')}", f"scenario {said('scenario')}", f"seed {said('seed')}")
        over = _dotted(*names, f"rulebook {self.rules.name}, {self.rules.valid_from}")
        span = f"{start.replace('T', ' ').removesuffix('Z')} to {end.partition('T')[2].removesuffix('Z')} UTC"
        counts = (_counted(instruments.height, "instrument"), _counted(accounts, "account"))
        under = _dotted(span, *counts, f"amounts in {said('settle_asset')}")
        title = f"<h1>{escape(str(said('title')))}</h1>"
        return f'<header><p class="over">{over}</p>{title}{_note(under)}</header>'

    def _verdict(self) -> str:
        verdict = str(self._said("verdict"))
        agrees = bool(self._said("audit", "agrees"))
        kept = bool(self._said("promise_kept"))
        sentence = escape(_SENTENCES.get(verdict, ""))
        witness = "The audit, which reads the events alone, agrees."
        if not agrees:
            witness = '<span class="bad">The audit disagrees: its findings are below.</span>'
        broken = "" if kept and agrees else " broken"
        top = (
            f'<div class="verdict{broken}"><b>{escape(verdict)}</b><p>{sentence} {self._payers_sentence()} '
            f"{witness}</p></div>"
        )
        rows = []
        for clause in self._said("audit", "clauses"):
            letter = str(clause["letter"])
            rows.append(
                [
                    _Cell(f"({escape(letter)})"),
                    _text(_CLAUSES.get(letter, "")),
                    self._clause_answer(letter, bool(clause["holds"])),
                    _Cell(", ".join(self._clause_figure(k, v) for k, v in clause["figures"].items()), "note"),
                ]
            )
        findings = [
            [_text(f["rule"]), _text(f["seq"]), _text(f["text"])] for f in self._said("audit", "findings")
        ]
        shown = _table(("rule", "command", "finding"), findings, 9) if findings else ""
        heading = "<h2>Was every debt made zero?</h2>"
        clauses = _table(("", "clause of the guarantee", "", "figures"), rows, 9)
        return heading + top + self._facts() + clauses + shown

    def _clause_answer(self, letter: str, holds: bool) -> _Cell:
        if letter in "hi":
            return _Cell("none" if holds else "some", "" if holds else "bad")
        return _Cell("holds", "good") if holds else _Cell("BROKEN", "bad")

    def _clause_figure(self, key: str, value: Any) -> str:
        name = key.replace("_", " ")
        if key.endswith("_atoms"):
            amount = charts.short(self.unit, int(value) / 10**self.decimals)
            return f"{escape(name.removesuffix(' atoms'))} {amount}"
        if key.endswith("_ns"):
            return f"{escape(name.removesuffix(' ns'))} {int(value) / 1e9:,.1f} s"
        return f"{escape(name)} {int(value):,}"

    def _payers_sentence(self) -> str:
        """Deficits, and who brought the money, the largest payer first."""
        opened = self.frames["waterfall"].filter(pl.col("entry") == "opened")
        if opened.is_empty():
            return "No account fell below zero."
        whole = float(opened[f"amount_{self.unit}"].sum())
        paid = self.payments.filter(pl.col("deficit_id").is_not_null())
        sums = paid.group_by("stage", "population", maintain_order=True).agg(pl.col("amount").sum())
        named = [
            f"{charts.in_words(population)} by {charts.in_words(stage)} {charts.short(self.unit, amount)}"
            for stage, population, amount in sums.sort("amount", descending=True).head(3).iter_rows()
        ]
        brought = f" Paid: {'; '.join(named)}." if named else " Nobody paid."
        arose = _counted(opened.height, "deficit")
        beyond = float(self._said("metrics")[f"overcharge_{self.unit}"])
        taken = f" Taken beyond the deficits: {charts.short(self.unit, beyond)}." if beyond else ""
        return f"{arose} of {charts.short(self.unit, whole)} arose.{brought}{taken}"

    def _facts(self) -> str:
        metrics, unit = self._said("metrics"), self.unit
        facts = (
            ("liquidated accounts", f"{metrics['liquidated_accounts']:,}"),
            ("forced in the book", charts.short(unit, metrics[f"liquidation_book_notional_{unit}"])),
            ("taken over", charts.short(unit, metrics[f"takeover_notional_{unit}"])),
            ("deleveraged", charts.short(unit, metrics[f"adl_notional_{unit}"])),
            ("first deleveraging", self._clock(metrics["first_adl_utc"])),
            ("largest deficit", charts.short(unit, metrics[f"deficit_max_{unit}"])),
        )
        listed = "".join(f"<div><dt>{label}</dt><dd>{value}</dd></div>" for label, value in facts)
        return f'<dl class="facts">{listed}</dl>'

    def _clock(self, moment: str | None) -> str:
        return "none" if moment is None else escape(moment.partition("T")[2].removesuffix("Z")[:12])

    def _who_paid(self) -> str:
        stages = self._stages()
        populations = self.frames["populations"]
        marks = self.frames["marks"]["time_ns"]
        paid = self.payments.group_by("population", "stage").agg(pl.col("amount").sum())
        amounts = {(p, s): float(a) for p, s, a in paid.iter_rows()}
        payers = [p for p in populations["population"] if any(amounts.get((p, s)) for s in stages)]
        most = max((abs(a) for a in amounts.values()), default=0.0)
        rows = []
        for population in payers:
            cells = [self._amount(amounts.get((population, stage), 0.0), most) for stage in stages]
            whole = sum(amounts.get((population, stage), 0.0) for stage in stages)
            rows.append([_Cell(charts.in_words(population)), *cells, self._amount(whole)])
        sums = [sum(amounts.get((p, stage), 0.0) for p in payers) for stage in stages]
        rows.append([_Cell("all"), *(self._amount(s) for s in sums), self._amount(sum(sums))])
        matrix = _table(("who paid", *(s for s in stages), "total"), rows, total=True)
        body = [
            "<h2>Who paid</h2>",
            _note(
                "By population and stage. <i>book</i>: what forced orders gave up against the mark; "
                "<i>backstop</i>: margin taken with a position, and the vault's cash; <i>adl</i>: what the "
                "deleveraged gave up against the mark. Amounts below zero were won in the book."
            ),
            matrix if payers else "<p>Nobody paid: no position was forced.</p>",
            self._who_received(),
        ]
        if payers and marks.len():
            span = (int(str(marks.min())), int(str(marks.max())))
            active = [stage for stage in stages if any(amounts.get((p, stage)) for p in payers)]
            body += [
                '<div class="two"><div><h3>Paid since the start, by stage</h3>',
                self._chart(charts.cumulative_paid(self.payments, "stage", active, span, self.unit)),
                "</div><div><h3>Paid since the start, by population</h3>",
                self._chart(charts.cumulative_paid(self.payments, "population", payers, span, self.unit)),
                "</div></div>",
            ]
        return "".join([*body, self._for_whom(), self._counterparties(), self._flows()])

    def _who_received(self) -> str:
        """Counterparties of a deleveraging at a price beyond the mark, as of a solvent account."""
        if self.received.is_empty():
            return ""
        sums = self.received.group_by("population", maintain_order=True).agg(
            pl.col("account").n_unique(), pl.col("amount").sum()
        )
        rows = [
            [_Cell(charts.in_words(population)), _number(accounts), self._amount(float(amount))]
            for population, accounts, amount in sums.sort("amount", descending=True).iter_rows()
        ]
        heading = "<h3>Who received: counterparties of deleveraging at a price better than the mark</h3>"
        return heading + _table(("population", "accounts", "received"), rows)

    def _for_whom(self) -> str:
        """Payments to deficits, split over the accounts on whose positions they arose."""
        waterfall = self.frames["waterfall"]
        origins = waterfall.filter(pl.col("entry") == "origin").select(
            "deficit_id",
            origin="population",
            part=pl.col("amount_atoms") / pl.col("amount_atoms").sum().over("deficit_id"),
        )
        paid = self.payments.filter(pl.col("deficit_id").is_not_null())
        split = paid.join(origins, on="deficit_id").with_columns(pl.col("amount") * pl.col("part"))
        sums = split.group_by("origin", "population", maintain_order=True).agg(pl.col("amount").sum())
        if sums.is_empty():
            return ""
        payers = sums["population"].unique(maintain_order=True).to_list()
        owners = sums["origin"].unique(maintain_order=True).to_list()
        amounts = {(o, p): float(a) for o, p, a in sums.iter_rows()}
        most = max(abs(a) for a in amounts.values())
        rows = [
            [_Cell(charts.in_words(o)), *(self._amount(amounts.get((o, p), 0.0), most) for p in payers)]
            for o in owners
        ]
        head = ("deficits on positions of", *(f"paid by {p.replace('_', ' ')}" for p in payers))
        return "<h3>For whom: payments to deficits by the origin of the position</h3>" + _table(head, rows)

    def _counterparties(self) -> str:
        """Whose positions went to whom: by forced orders, takeovers and deleveraging."""
        rows = read_table(self.run, "population_counterparties").filter(pl.col("notional") > 0)
        if rows.is_empty():
            return ""
        most = float(rows["notional"].max())  # type: ignore[arg-type]
        amounts = {(who, route, other): float(a) for who, route, other, a in rows.iter_rows()}
        sides = sorted(
            {(route, other) for _, route, other in amounts}, key=lambda s: (_ROUTES.index(s[0]), s)
        )
        table = [
            [
                _Cell(charts.in_words(who)),
                *(self._amount(amounts.get((who, *side), 0.0), most) for side in sides),
            ]
            for who in rows["population"].unique(maintain_order=True)
        ]
        head = ("positions of", *(f"{other.replace('_', ' ')} ({route})" for route, other in sides))
        note = "Value of what forced orders traded, of what was taken over, and of what was deleveraged."
        return "<h3>Who took what the liquidated gave up</h3>" + _note(note) + _table(head, table)

    def _flows(self) -> str:
        """What every population's equity is made of."""
        unit = self.unit
        parts = (
            ("equity at start", ("initial_equity",)),
            ("brought in", ("deposits", "-withdrawals")),
            ("trading at the mark", ("trading_profit",)),
            ("fees", ("-fees_paid",)),
            ("funding", ("funding",)),
            ("margin of takeovers", ("margin_received", "-margin_confiscated")),
            ("ADL transfers", ("adl_received", "-adl_given")),
            ("other stages", ("stage_payments",)),
            ("equity at end", ("final_equity",)),
        )
        sums = self.frames["populations"].select(
            "population",
            "accounts",
            "share_of_losses",
            "share_of_losses_without_top",
            *(
                sum((_signed(name, unit) for name in names), start=pl.lit(0.0)).alias(label)
                for label, names in parts
            ),
        )
        labels = [label for label, _ in parts if float(sums[label].abs().sum()) >= _SHOWN_FROM]
        moved = sums.filter(pl.any_horizontal(pl.col(label).abs() >= _SHOWN_FROM for label in labels))
        rows = []
        for row in moved.iter_rows(named=True):
            label = f'{charts.in_words(row["population"])} <span class="note">({row["accounts"]:,})</span>'
            cells = [self._amount(row[name]) for name in labels]
            cells += [_percent(row["share_of_losses"]), _percent(row["share_of_losses_without_top"])]
            rows.append([_Cell(label, "name"), *cells])
        head = ("population (accounts)", *labels, "share of losses", "without its top loser")
        return "<h3>What became of every population's equity</h3>" + _table(head, rows)

    def _prices(self) -> str:
        if self.frames["marks"].is_empty():
            return "<h2>Prices</h2><p>No price was marked in this run.</p>"
        return (
            "<h2>Prices and forced flow</h2>"
            + _note(
                "All instruments, weighted by their open interest at the start. Bubbles: positions "
                "deleveraged at one instant. Bars: value of positions forced in ten seconds."
            )
            + self._chart(charts.prices_and_flow(self.frames, self.unit))
            + "<h3>By instrument, change since the start</h3>"
            + _note(
                "Dark: mark; grey: index; red: deleveraging; bars: liquidations and takeovers in ten "
                "seconds, each panel on its own scale."
            )
            + self._chart(charts.small_multiples(self.frames, self.unit))
        )

    def _depth_and_interest(self) -> str:
        if self.frames["marks"].is_empty():
            return ""
        return (
            "<h2>Depth</h2>"
            + _note("Resting orders within 1 % of the mid, all instruments together.")
            + self._depth()
            + '<h2>Open interest</h2><div class="two"><div>'
            + self._chart(charts.open_interest(self.frames, self.unit))
            + "</div><div>"
            + self._chart(charts.open_interest_bridge(self._said("metrics"), self.unit))
            + "</div></div>"
            + _note(
                "Changes of contracts are valued at the first price, the price move on what is left at "
                "the end, so that the bars add up exactly."
            )
        )

    def _depth(self) -> str:
        marks = self.frames["marks"]
        if not marks["depth_bid_atoms"].max() and not marks["depth_ask_atoms"].max():
            return "<p>No order rested near the price in this run.</p>"
        return self._chart(charts.depth(self.frames, self.unit))

    def _absorbers(self) -> str:
        rows = self.frames["absorbers"]
        heading = "<h2>Fund and vaults</h2>"
        if rows.is_empty() or not (
            (rows["equity_atoms"] != 0).any() or (rows["gross_notional_atoms"] != 0).any()
        ):
            return heading + "<p>Neither a fund nor a vault held anything in this run.</p>"
        note = _note("Equity with inventory at the mark, after the work of each instant.")
        return heading + note + self._chart(charts.absorbers(self.frames, self.unit))

    def _populations(self) -> str:
        """With spot books, in dollars: who bought and sold coins, who lost, how coins moved together."""
        if "spot" not in self.frames["instruments"]["kind"].to_list() or self.unit != "usd":
            return ""
        spots = self.frames["instruments"].filter(pl.col("kind") == "spot")["symbol"]
        flows = read_table(self.run, "population_flows").filter(pl.col("symbol").is_in(spots.to_list()))
        hourly = read_table(self.run, "population_indices")
        start_ns = int(str(self.frames["marks"]["time_ns"].min()))
        return (
            "<h2>Populations</h2>"
            + _note("Coins bought less sold in the spot books since the start, by population.")
            + self._chart(charts.net_purchases(flows, start_ns, self.unit))
            + "<h3>Who lost</h3>"
            + _note(
                "By owner, coins at the index of their spot book; wealth of the start without loans. Gini: 0 "
                "when all of a population lose the same."
            )
            + self._losses()
            + '<div class="two"><div><h3>Leverage index</h3>'
            + _note("Open interest of all contracts at their first price.")
            + self._chart(charts.hourly(hourly, "leverage_usd", start_ns, self.unit))
            + "</div><div><h3>Volatility index</h3>"
            + _note("Root of the squared mean moves of all coins within the hour, in percent.")
            + self._chart(charts.hourly(hourly, "volatility", start_ns, None))
            + '</div></div><div class="two"><div>'
            + self._betas()
            + "</div><div>"
            + self._exits()
            + "</div></div>"
        )

    def _losses(self) -> str:
        rows = [
            [
                _Cell(charts.in_words(row["population"])),
                *(self._amount(row[name]) for name in ("wealth_usd", "profit_usd", "fees_usd", "losses_usd")),
                *(_percent(row[name]) for name in ("loss_of_wealth", "loss_share", "wealth_share")),
                _Cell(f"{row['gini']:.2f}", "n"),
            ]
            for row in read_table(self.run, "population_losses").iter_rows(named=True)
        ]
        head = ("population", "wealth", "profit", "fees", "losses", "of own wealth", "share of losses")
        return _table((*head, "share of wealth", "Gini"), rows)

    def _betas(self) -> str:
        rows = [
            [_text(symbol), *(_Cell("none" if slope is None else f"{slope:.2f}", "n") for slope in slopes)]
            for symbol, *slopes in read_table(self.run, "population_betas").iter_rows()
        ]
        first = rows[0][0].text
        note = _note(f"Hourly moves on those of {first}, over the hours in which it rose or fell.")
        return "<h3>Betas</h3>" + note + _table(("coin", "up", "down"), rows)

    def _exits(self) -> str:
        """Result of who sold contracts on his own, the first half to leave beside the second."""
        left = read_table(self.run, "population_exits")
        is_early = pl.col("hour").rank("ordinal").over("population") * 2 <= pl.len().over("population")
        halves = left.with_columns(early=is_early).group_by("population", maintain_order=True)
        sums = halves.agg(
            accounts=pl.len(),
            early=pl.col("profit_usd").filter("early").mean(),
            late=pl.col("profit_usd").filter(~pl.col("early")).mean(),
        )
        rows = [
            [
                _Cell(charts.in_words(who)),
                _number(count),
                self._amount(early or 0.0),
                self._amount(late or 0.0),
            ]
            for who, count, early, late in sums.iter_rows()
        ]
        note = _note("Mean result of accounts that sold contracts on their own, by when they sold.")
        table = _table(("population", "accounts", "first half", "second half"), rows)
        return "<h3>Exit order and result</h3>" + note + (table if rows else "<p>Nobody left.</p>")

    def _claims(self) -> str:
        rows = []
        for claim in self._said("claims"):
            held = bool(claim["held"])
            answer = _Cell("held", "good") if held else _Cell("FAILED", "bad")
            rows.append(
                [
                    answer,
                    _Cell(
                        escape(str(claim["text"]))
                        + (
                            f'<br><span class="note">{escape(str(claim["source"]))}</span>'
                            if claim["source"]
                            else ""
                        )
                    ),
                    _text(claim["evidence"]),
                    self._claim_figure(claim, claim["allowed"]),
                    self._claim_figure(claim, figure(claim["measured"])),
                    _text(claim["baseline"]),
                ]
            )
        heading = "<h2>Claims</h2>"
        if not rows:
            return heading + "<p>The scenario claims nothing.</p>"
        counted = [claim for claim in self._said("claims") if claim["evidence"] == "predicted"]
        held_count = sum(bool(claim["held"]) for claim in counted)
        note = _note(
            f"Only predicted claims count: {held_count} of {len(counted)} held. "
            "A claim without a figure in the run has failed."
        )
        head = ("", "claim and source", "evidence", "expected", "measured", "naive baseline")
        return heading + note + _table_with_text_end(head, rows)

    def _claim_figure(self, claim: dict[str, Any], text: str) -> _Cell:
        return _Cell(escape(_shown(text, str(claim["metric"]), self.unit)), "n")

    def _top_accounts(self) -> str:
        stages = self._stages()
        changes = self.frames["accounts"].select("account", "population", f"change_{self.unit}")
        sums = self.payments.group_by("account").agg(
            *(pl.col("amount").filter(pl.col("stage") == stage).sum().alias(stage) for stage in stages),
            pl.col("amount").sum().alias("whole"),
        )
        payers = sums.join(changes, on="account").filter(pl.col("whole") > 0)
        payers = payers.sort(["whole", "account"], descending=[True, False]).head(_TOP)
        body = ["<h2>Accounts that paid most, and that were paid for</h2>"]
        if payers.is_empty():
            body.append("<p>No account paid.</p>")
        else:
            rows = [
                [
                    _Cell(f"{charts.in_words(row['population'])} {row['account']}"),
                    *(self._amount(row[stage]) for stage in stages),
                    self._amount(row["whole"]),
                    self._amount(row[f"change_{self.unit}"]),
                ]
                for row in payers.iter_rows(named=True)
            ]
            body.append(_table(("account that paid", *stages, "total", "result of the run"), rows))
        origins = self.frames["waterfall"].filter(pl.col("entry") == "origin")
        receivers = (
            origins.group_by("account", "population")
            .agg(
                pl.col(f"amount_{self.unit}").sum().alias("whole"),
                pl.col("deficit_id").n_unique().alias("deficits"),
            )
            .join(changes.select("account", f"change_{self.unit}"), on="account")
            .sort(["whole", "account"], descending=[True, False])
            .head(_TOP)
        )
        if receivers.height:
            rows = [
                [
                    _Cell(f"{charts.in_words(row['population'])} {row['account']}"),
                    _number(row["deficits"]),
                    self._amount(row["whole"]),
                    self._amount(row[f"change_{self.unit}"]),
                ]
                for row in receivers.iter_rows(named=True)
            ]
            head = ("account that was paid for", "deficits", "deficit on its positions", "result of the run")
            body.append(_table(head, rows))
        return "".join(body)

    def _terms(self) -> str:
        listed = "".join(f"<dt>{escape(term)}</dt><dd>{escape(text)}</dd>" for term, text in _TERMS.items())
        return f'<h2>Terms</h2><dl class="terms">{listed}</dl>'

    def _foot(self) -> str:
        return (
            f"<footer>Run {escape(str(self._said('id')))} &middot; all times UTC &middot; figures from "
            "tables/ and summary.json of this directory; docs/tables.md describes every column.</footer>"
        )


def _signed(name: str, unit: str) -> pl.Expr:
    """A column of money; with a minus before its name it is taken off."""
    column = pl.col(f"{name.removeprefix('-')}_{unit}")
    return -column if name.startswith("-") else column


def _shown(text: str, metric: str, unit: str) -> str:
    """A claim's figure for people: moments without their date, amounts short, shares in percent."""
    words = [
        word.partition("T")[2].removesuffix("Z") if word[4:5] == "-" and "T" in word else word
        for word in text.replace("+-", "\u00b1").split(" ")
    ]
    if re.search(r"share|ratio|relative", metric):
        return _NUMBER.sub(lambda m: f"{100 * float(m[0].replace(',', '')):.4g} %", " ".join(words))
    if metric.endswith(f"_{unit}"):
        return _NUMBER.sub(lambda m: charts.short(unit, float(m[0].replace(",", ""))), " ".join(words))
    return " ".join(words)


def _table_with_text_end(head: Sequence[str], rows: Sequence[Sequence[_Cell]]) -> str:
    """The claims table: numbers in the fourth and fifth column."""
    table = _table(head, rows, 99)
    for name in head[3:5]:
        table = table.replace(f'<th class="">{name}</th>', f'<th class="n">{name}</th>')
    return table

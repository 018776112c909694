"""The figures of the report: plotly figures from the tables of a run."""

from collections.abc import Sequence
from html import escape
from typing import Any

import numpy as np
import plotly.graph_objects as go
import polars as pl
from msgspec import Struct
from numpy.typing import NDArray
from plotly.subplots import make_subplots

from zerodebt.exchange.units import SECOND_NS
from zerodebt.scenarios.tables import CAUSES

ACCENT = "#a4262c"
INK, SLATE, GREY, PALE = "#1d2733", "#4a5a6c", "#8794a3", "#c9d0d8"
POINTS_MAX = 900
BAR_NS = 10 * SECOND_NS
_MILLISECOND_NS = 1e6
_SECONDARY_WIDTH = 0.94  # plotly keeps the rest free for the labels of secondary axes, which are hidden here
_STYLES = (
    (ACCENT, "solid"),
    (INK, "solid"),
    (SLATE, "dash"),
    (GREY, "solid"),
    (INK, "dot"),
    (GREY, "dash"),
    (ACCENT, "dot"),
    (SLATE, "dashdot"),
)
_CAUSE_NAMES = {
    "adl": "deleveraging",
    "liquidation": "liquidation met<br>by closers",
    "takeover": "takeovers<br>netted",
    "vault": "vault sells<br>to closers",
    "voluntary": "voluntary",
    "settlement": "settlement",
    "price": "price",
}

_SCALES = ((1e9, "bn"), (1e6, "M"), (1e3, "k"), (1.0, ""))

Floats = NDArray[np.float64]


def currency(unit: str) -> str:
    """Sign before an amount."""
    return "$" if unit == "usd" else f"{escape(unit.upper())} "


class Scale(Struct, frozen=True):
    """Money on an axis: amounts are divided by `divisor` and named `label`."""

    divisor: float
    label: str

    @property
    def hover(self) -> str:
        return f"%{{y:,.4~g}} {self.label}"


def scale_for(unit: str, largest: float) -> Scale:
    """Thousands, millions or billions, by the largest amount."""
    divisor, suffix = next((s for s in _SCALES if abs(largest) >= 1.5 * s[0]), _SCALES[-1])
    return Scale(divisor, f"{currency(unit)}{suffix}".strip())


def short(unit: str, amount: float) -> str:
    """An amount with three or four figures and k, M or bn."""
    size = abs(amount)
    sign = ("-" if amount < 0 else "") + currency(unit)
    for divisor, suffix in _SCALES[:-1]:
        if size >= 0.9995 * divisor:
            return f"{sign}{size / divisor:,.{2 if size < 100 * divisor else 1}f}{suffix}"
    return f"{sign}{size:,.2f}" if size else f"{sign}0"


def _largest(values: pl.Series) -> float:
    most = values.abs().max()
    return float(most) if isinstance(most, (int, float)) else 0.0


def in_words(name: str) -> str:
    """A table's identifier as a label."""
    return escape(name.replace("_", " "))


def times_ms(frame: pl.DataFrame, column: str = "time_ns") -> Floats:
    """Milliseconds since the epoch, as date axes take them."""
    return frame[column].to_numpy().astype(np.float64) / _MILLISECOND_NS


def thin(frame: pl.DataFrame, *columns: str, points: int = POINTS_MAX) -> pl.DataFrame:
    """At most about `points` rows; of each run of rows those with the least and the largest values stay."""
    if frame.height <= points:
        return frame
    buckets = max(1, points // (2 * len(columns)))
    number = pl.int_range(pl.len()) * buckets // frame.height
    rows = frame.with_row_index("_row").with_columns(_bucket=number)
    extremes = [
        pl.col("_row").sort_by(column).get(position).alias(f"{column}{position}")
        for column in columns
        for position in (0, -1)
    ]
    kept = rows.group_by("_bucket").agg(extremes).drop("_bucket").unpivot()["value"].unique()
    ends = pl.Series([0, frame.height - 1], dtype=kept.dtype)
    return frame[pl.concat([kept, ends]).unique().sort()]


def _styled(figure: go.Figure, height: int, y_title: str = "") -> go.Figure:
    figure.update_layout(
        template="none",
        height=height,
        margin={"l": 62, "r": 16, "t": 30, "b": 40},
        font={"family": "Inter, Segoe UI, Helvetica, Arial, sans-serif", "size": 12, "color": INK},
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        legend={
            "orientation": "h",
            "x": 0,
            "y": 1.02,
            "yanchor": "bottom",
            "font": {"size": 11},
            "traceorder": "normal",
        },
        hovermode="x unified",
        hoverlabel={"bgcolor": "#ffffff", "bordercolor": PALE, "font": {"size": 11}},
        separators=".,",
    )
    figure.update_xaxes(
        type="date",
        tickformat="%H:%M",
        hoverformat="%H:%M:%S",
        showgrid=False,
        linecolor=GREY,
        showline=True,
        ticks="outside",
        tickcolor=GREY,
    )
    figure.update_yaxes(
        gridcolor="#e6e9ed",
        zeroline=False,
        tickformat=",",
        title={"text": y_title, "standoff": 8},
        title_font={"size": 12},
    )
    return figure


def _line(x: Floats, y: Any, name: str, colour: str, dash: str = "solid", **more: Any) -> go.Scatter:
    shape = more.pop("shape", "linear")
    line = {"color": colour, "width": more.pop("width", 1.4), "dash": dash, "shape": shape}
    return go.Scatter(x=x, y=np.asarray(y, np.float64), name=name, mode="lines", line=line, **more)


def _first_marks(instruments: pl.DataFrame) -> dict[int, int]:
    return dict(instruments.select("instrument", "first_mark_ticks").drop_nulls().iter_rows())


def _bars(frame: pl.DataFrame, value: str) -> tuple[Floats, Floats]:
    """Sums over ten seconds: (middle of the bar in ms, amount)."""
    sums = (
        frame.group_by((pl.col("time_ns") // BAR_NS).alias("bar"))
        .agg(pl.col(value).sum())
        .sort("bar")
        .with_columns(time_ns=pl.col("bar") * BAR_NS + BAR_NS // 2)
    )
    return times_ms(sums), sums[value].to_numpy().astype(np.float64)


def _changes(frames: dict[str, pl.DataFrame]) -> tuple[pl.DataFrame, str]:
    """Marks with `mark_change` and `index_change` since the start, and what these are given in.

    Percent of the first mark; in prices where a first mark is no positive price, as that of a spread.
    """
    marks = frames["marks"].join(
        frames["instruments"].select("instrument", "first_mark", "first_mark_ticks", "tick_value_atoms"),
        on="instrument",
    )
    if bool((marks["first_mark"] > 0).all()):
        change, suffix = (pl.col("mark", "index") / pl.col("first_mark") - 1) * 100, " %"
    else:
        change, suffix = pl.col("mark", "index") - pl.col("first_mark"), ""
    return marks.with_columns(change.name.suffix("_change")), suffix


def prices_and_flow(frames: dict[str, pl.DataFrame], unit: str) -> go.Figure:
    """All contracts as one index, with deleveraging on it; underneath what was forced every ten seconds."""
    adl = frames["adl"]
    marks, suffix = _changes(frames)
    weight = frames["instruments"].select(
        "instrument",
        share=pl.col("first_open_interest_lots")
        * pl.col("first_mark_ticks").abs()
        * pl.col("tick_value_atoms"),
    )
    if not weight["share"].sum():
        weight = weight.with_columns(share=pl.lit(1))
    whole = float(weight["share"].sum())
    relative = (
        marks.join(weight, on="instrument")
        .with_columns(pl.col("mark_change", "index_change") * pl.col("share") / whole)
        .group_by("time_ns", maintain_order=True)
        .agg(pl.col("mark_change", "index_change").sum())
    )
    shown = thin(relative, "mark_change", "index_change")
    forced = frames["trades"].filter(pl.col("forced"))
    flows = [
        (name, frame, colour)
        for name, frame, colour in (
            ("forced orders in the book", forced, GREY),
            ("taken over", frames["takeovers"], INK),
            ("deleveraged", adl, ACCENT),
        )
        if frame.height
    ]
    rows = 2 if flows else 1
    heights = [0.6, 0.4][:rows]
    figure = make_subplots(rows=rows, cols=1, shared_xaxes=True, row_heights=heights, vertical_spacing=0.06)
    figure.add_trace(_line(times_ms(shown), shown["index_change"], "index", GREY), 1, 1)
    figure.add_trace(_line(times_ms(shown), shown["mark_change"], "mark", INK), 1, 1)
    bursts = _bursts(adl, unit).join(relative, on="time_ns", how="left").drop_nulls("mark_change")
    if bursts.height:
        figure.add_trace(_bubbles(bursts, bursts["mark_change"].to_numpy(), unit), 1, 1)
    bars = [_bars(frame, f"notional_{unit}") for _, frame, _ in flows]
    scale = scale_for(unit, max((float(y.max()) for _, y in bars), default=0.0))
    for (name, _, colour), (x, y) in zip(flows, bars, strict=True):
        bar = go.Bar(x=x, y=y / scale.divisor, name=name, marker={"color": colour, "line": {"width": 0}})
        bar.update(width=BAR_NS / _MILLISECOND_NS, hovertemplate=scale.hover)
        figure.add_trace(bar, 2, 1)
    _styled(figure, 520 if flows else 340)
    figure.update_layout(barmode="stack", bargap=0)
    title = f"change since start, {suffix.strip() or 'price'}"
    figure.update_yaxes(title_text=title, ticksuffix=suffix, row=1, col=1)
    if flows:
        figure.update_yaxes(title_text=f"{scale.label} in 10 s", rangemode="tozero", row=2, col=1)
    return figure


def _bursts(adl: pl.DataFrame, unit: str) -> pl.DataFrame:
    """Deleveraging by instant."""
    return adl.group_by("time_ns").agg(
        pl.col(f"notional_{unit}").sum().alias("notional"), pl.len().alias("fills")
    )


def _bubbles(bursts: pl.DataFrame, y: Floats, unit: str, largest: float = 0.0) -> go.Scatter:
    """One bubble an instant, its area in proportion to the value deleveraged."""
    sizes = bursts["notional"].to_numpy()
    most = largest or (float(sizes.max()) if sizes.size else 1.0)
    marker = {
        "size": sizes,
        "sizemode": "area",
        "sizeref": 2 * max(most, 1e-9) / 30**2,
        "sizemin": 2.5,
        "color": ACCENT,
        "opacity": 0.45,
        "line": {"color": ACCENT, "width": 0.8},
    }
    text = [
        f"{short(unit, notional)} in {fills:,} fills"
        for notional, fills in bursts.select("notional", "fills").iter_rows()
    ]
    return go.Scatter(
        x=times_ms(bursts),
        y=y,
        mode="markers",
        name="deleveraged at once (area: value)",
        marker=marker,
        text=text,
        hovertemplate="%{text}",
    )


def small_multiples(frames: dict[str, pl.DataFrame], unit: str) -> go.Figure:
    """A panel per instrument: mark and index relative to the start, with deleveraging, forced flow below."""
    symbols = frames["instruments"]["symbol"].to_list()
    adl = frames["adl"]
    marks, suffix = _changes(frames)
    forced = pl.concat(
        [
            frames["trades"].filter(pl.col("forced")).select("time_ns", "instrument", f"notional_{unit}"),
            frames["takeovers"].select("time_ns", "instrument", f"notional_{unit}"),
        ]
    )
    wide = min(3, len(symbols))
    rows = -(-len(symbols) // wide)
    specs = [[{"secondary_y": True}] * wide for _ in range(rows)]
    figure = make_subplots(
        rows=rows,
        cols=wide,
        specs=specs,
        subplot_titles=[escape(symbol) for symbol in symbols],
        horizontal_spacing=0.055,
        vertical_spacing=0.32 / rows / 1.4,
    )
    by_time = adl.group_by("instrument", "time_ns").agg(pl.col(f"notional_{unit}").sum())
    most = by_time[f"notional_{unit}"].max() if by_time.height else 1.0
    span = marks.select(pl.col("time_ns").min().alias("a"), pl.col("time_ns").max().alias("b")).row(0)
    for n in range(len(symbols)):
        row, column = n // wide + 1, n % wide + 1
        mine = marks.filter(pl.col("instrument") == n)
        if mine.is_empty():
            continue
        bars = forced.filter(pl.col("instrument") == n)
        x, y = _bars(bars, f"notional_{unit}")
        bar = go.Bar(x=x, y=y, name="forced", marker={"color": PALE, "line": {"width": 0}}, showlegend=False)
        text = [f"{short(unit, amount)} forced in 10 s" for amount in y.tolist()]
        bar.update(width=BAR_NS / _MILLISECOND_NS, text=text, textposition="none")
        bar.hovertemplate = "%{text}<extra></extra>"
        if bars.height:
            figure.add_trace(bar, row, column, secondary_y=True)
        shown = thin(mine, "mark_change", "index_change", points=400)
        hover = f"%{{y:.2f}}{suffix}"
        index = _line(times_ms(shown), shown["index_change"], "index", GREY, showlegend=False, width=1)
        mark = _line(times_ms(shown), shown["mark_change"], "mark", INK, showlegend=False, width=1.1)
        for trace in (index, mark):
            trace.hovertemplate = hover
            figure.add_trace(trace, row, column)
        bursts = _bursts(adl.filter(pl.col("instrument") == n), unit)
        bursts = bursts.join(mine.select("time_ns", "mark_change"), on="time_ns", how="inner")
        if bursts.height:
            largest = float(most) if isinstance(most, (int, float)) else 1.0
            bubbles = _bubbles(bursts, bursts["mark_change"].to_numpy(), unit, largest)
            bubbles.update(showlegend=False, name="deleveraged")
            figure.add_trace(bubbles, row, column)
        peak = float(y.max()) if y.size else 1.0
        figure.update_yaxes(
            range=[0, 3.2 * max(peak, 1e-9)],
            showgrid=False,
            showticklabels=False,
            row=row,
            col=column,
            secondary_y=True,
        )
    _styled(figure, 70 + 190 * rows)
    figure.update_xaxes(range=[t / _MILLISECOND_NS for t in span], nticks=5, tickfont={"size": 10})
    figure.update_yaxes(ticksuffix=suffix, tickfont={"size": 10}, secondary_y=False, nticks=5)
    for axis in figure.select_xaxes():
        axis.domain = [edge / _SECONDARY_WIDTH for edge in axis.domain]
    for title in figure.layout.annotations:
        title.update(x=title.x / _SECONDARY_WIDTH, font={"size": 12, "color": INK})
    figure.update_layout(bargap=0, margin={"l": 46, "r": 10, "t": 26, "b": 30})
    return figure


def cumulative_paid(
    payments: pl.DataFrame, key: str, names: Sequence[str], span_ns: tuple[int, int], unit: str
) -> go.Figure:
    """Running sums of `amount` by `key` (stage or population), as steps; `names` fixes order and style."""
    figure = go.Figure()
    totals = payments.group_by(key).agg(pl.col("amount").sum())["amount"]
    scale = scale_for(unit, _largest(totals))
    for k, name in enumerate(names):
        rows = payments.filter(pl.col(key) == name).group_by("time_ns").agg(pl.col("amount").sum())
        rows = rows.sort("time_ns").with_columns(pl.col("amount").cum_sum())
        rows = thin(rows, "amount", points=600)
        whole = float(rows["amount"][-1]) if rows.height else 0.0
        x = np.concatenate([[span_ns[0] / _MILLISECOND_NS], times_ms(rows), [span_ns[1] / _MILLISECOND_NS]])
        y = np.concatenate([[0.0], rows["amount"].to_numpy(), [whole]])
        colour, dash = _STYLES[k % len(_STYLES)]
        label = f"{in_words(name)} {short(unit, whole)}"
        line = _line(x, y / scale.divisor, label, colour, dash, shape="hv", width=1.8)
        line.hovertemplate = scale.hover
        figure.add_trace(line)
    _styled(figure, 320, scale.label)
    figure.update_layout(showlegend=True)
    return figure


def depth(frames: dict[str, pl.DataFrame], unit: str) -> go.Figure:
    """Resting orders within 1 % of the mid, summed over all instruments."""
    bid, ask = f"depth_bid_{unit}", f"depth_ask_{unit}"
    sums = frames["marks"].group_by("time_ns", maintain_order=True).agg(pl.col(bid, ask).sum())
    shown = thin(sums, bid, ask)
    scale = scale_for(unit, max(_largest(sums[bid]), _largest(sums[ask])))
    figure = go.Figure()
    figure.add_trace(_line(times_ms(shown), shown[bid] / scale.divisor, "bids", INK, width=1.2))
    figure.add_trace(_line(times_ms(shown), shown[ask] / scale.divisor, "asks", ACCENT, width=1.2))
    figure.update_traces(hovertemplate=scale.hover)
    _styled(figure, 300, f"{scale.label} within 1 %")
    figure.update_yaxes(rangemode="tozero")
    return figure


def open_interest(frames: dict[str, pl.DataFrame], unit: str) -> go.Figure:
    """Sum of the long positions at the mark, and at the first prices (a count of contracts)."""
    first = _first_marks(frames["instruments"])
    values = frames["instruments"].select("instrument", f"tick_value_{unit}")
    at_first = pl.col("instrument").replace_strict(first, default=0, return_dtype=pl.Int64).abs()
    sums = (
        frames["marks"]
        .join(values, on="instrument")
        .with_columns(contracts=pl.col("open_interest_lots") * at_first * pl.col(f"tick_value_{unit}"))
        .group_by("time_ns", maintain_order=True)
        .agg(pl.col(f"open_interest_{unit}", "contracts").sum())
    )
    value = f"open_interest_{unit}"
    shown = thin(sums, value, "contracts")
    scale = scale_for(unit, max(_largest(sums[value]), _largest(sums["contracts"])))
    figure = go.Figure()
    figure.add_trace(
        _line(times_ms(shown), shown["contracts"] / scale.divisor, "contracts at their first price", GREY)
    )
    figure.add_trace(_line(times_ms(shown), shown[value] / scale.divisor, "at the mark", INK))
    figure.update_traces(hovertemplate=scale.hover)
    _styled(figure, 300, scale.label)
    figure.update_yaxes(rangemode="tozero")
    return figure


def open_interest_bridge(metrics: dict[str, Any], unit: str) -> go.Figure:
    """From the first value to the last, cause by cause."""
    changes = [f"change_{cause}" for cause in (*CAUSES, "price")]
    names = ["start", *(name for name in changes if metrics[f"open_interest_{name}_{unit}"]), "end"]
    amounts = [float(metrics[f"open_interest_{name}_{unit}"]) for name in names]
    scale = scale_for(unit, max(amounts, key=abs))
    steps = [amount / scale.divisor for amount in amounts]
    titles = [_CAUSE_NAMES.get(name.removeprefix("change_"), name) for name in names]
    labels = [f"{title}<br>{short(unit, amount)}" for title, amount in zip(titles, amounts, strict=True)]
    measures = ["absolute", *("relative" for _ in names[1:-1]), "total"]
    figure = go.Figure(
        go.Waterfall(
            x=labels,
            y=steps,
            measure=measures,
            hoverinfo="x",
            connector={"visible": False},
            decreasing={"marker": {"color": ACCENT}},
            increasing={"marker": {"color": GREY}},
            totals={"marker": {"color": SLATE}},
        )
    )
    _styled(figure, 300, scale.label)
    figure.update_xaxes(type="category", tickfont={"size": 10}, automargin=True)
    figure.update_layout(showlegend=False, hovermode="closest")
    return figure


def absorbers(frames: dict[str, pl.DataFrame], unit: str) -> go.Figure:
    """Equity of the fund and of every vault, inventory included."""
    figure = go.Figure()
    rows = frames["absorbers"]
    numbers = rows["account"].unique(maintain_order=True).to_list()
    counts = rows.group_by("population").agg(pl.col("account").n_unique())
    several = dict(counts.iter_rows())
    scale = scale_for(unit, _largest(rows[f"equity_{unit}"]))
    for k, account in enumerate(numbers):
        mine = rows.filter(pl.col("account") == account)
        if not (mine["equity_atoms"] != 0).any() and not (mine["gross_notional_atoms"] != 0).any():
            continue
        population = str(mine["population"][0])
        name = in_words(population) + (f" {account}" if several[population] > 1 else "")
        shown = thin(mine, f"equity_{unit}")
        colour, dash = _STYLES[k % len(_STYLES)]
        line = _line(times_ms(shown), shown[f"equity_{unit}"] / scale.divisor, name, colour, dash)
        line.hovertemplate = scale.hover
        figure.add_trace(line)
    _styled(figure, 300, f"equity, {scale.label}")
    figure.update_layout(showlegend=True)
    figure.update_yaxes(rangemode="tozero", zeroline=True, zerolinecolor=GREY)
    return figure


def net_purchases(flows: pl.DataFrame, start_ns: int, unit: str) -> go.Figure:
    """Running sums of what each population bought less sold, by the hour since the start."""
    figure = go.Figure()
    sums = flows.group_by("population", "hour").agg(pl.col("net_usd").sum()).sort("hour")
    sums = sums.with_columns(pl.col("net_usd").cum_sum().over("population"))
    scale = scale_for(unit, _largest(sums["net_usd"]))
    largest = sums.group_by("population").agg(pl.col("net_usd").abs().max()).sort("net_usd", descending=True)
    end = float(str(sums["hour"].max() or 0.0))
    for k, population in enumerate(largest["population"].head(len(_STYLES))):
        mine = sums.filter(pl.col("population") == population)
        hours = np.concatenate([[0.0], mine["hour"].to_numpy() + 1, [end + 1]])
        y = np.concatenate([[0.0], mine["net_usd"].to_numpy(), [mine["net_usd"][-1]]])
        colour, dash = _STYLES[k]
        line = _line(_hours_ms(hours, start_ns), y / scale.divisor, in_words(population), colour, dash)
        line.hovertemplate = scale.hover
        figure.add_trace(line)
    _styled(figure, 320, scale.label)
    figure.update_layout(showlegend=True)
    figure.update_yaxes(zeroline=True, zerolinecolor=GREY)
    return figure


def hourly(rows: pl.DataFrame, column: str, start_ns: int, unit: str | None) -> go.Figure:
    """One column by the hour since the start: money of a unit, or a fraction in percent."""
    scale = Scale(0.01, "%") if unit is None else scale_for(unit, _largest(rows[column]))
    x = _hours_ms(rows["hour"].to_numpy(), start_ns)
    line = _line(x, rows[column].to_numpy() / scale.divisor, in_words(column), INK)
    line.hovertemplate = scale.hover
    figure = go.Figure(line)
    _styled(figure, 260, scale.label)
    figure.update_layout(showlegend=False)
    figure.update_yaxes(rangemode="tozero")
    return figure


def _hours_ms(hours: Floats, start_ns: int) -> Floats:
    return start_ns / _MILLISECOND_NS + hours * 3_600_000.0

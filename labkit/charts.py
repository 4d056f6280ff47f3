"""Charts of the pipeline: matplotlib figures that read well in grey, in both themes, and aloud.

Every chart carries a sentence that says what it shows: it is the picture's alternative text and
what a screen reader reads. Meaning never hangs on colour: marks and hatches differ as well.
"""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Blue and vermilion of Okabe and Ito: told apart by colour-blind eyes, 3 to 1 on white and black.
BLUE, VERMILION = "#0072B2", "#D55E00"
# Grey that has 4.5 to 1 on white as well as on JupyterLab's dark background.
INK = "#7a7a7a"
HIGH_VALUE = 300
# What the two levels that are not levels mean.
_LEVELS = {"PLATFORM": "Lambda's own lines", "TEXT": "plain text"}


class Chart:
    """A figure with the sentence that describes it; a notebook shows both."""

    def __init__(self, figure: Figure, text: str) -> None:
        self.figure = figure
        self.text = text

    def png(self) -> bytes:
        """The picture as PNG, with nothing behind it, so that it suits a light and a dark page."""
        buffer = io.BytesIO()
        self.figure.savefig(buffer, format="png", dpi=144, transparent=True, bbox_inches="tight")
        return buffer.getvalue()

    def save(self, path: str) -> None:
        """Write the picture to *path*; its ending says in which format."""
        self.figure.savefig(path, bbox_inches="tight", facecolor="white")

    def __repr__(self) -> str:
        return self.text

    def _repr_html_(self) -> str:
        image = base64.b64encode(self.png()).decode()
        width = int(self.figure.get_figwidth() * 100)
        return (
            f'<figure style="margin:0"><img src="data:image/png;base64,{image}" width="{width}" '
            f'style="max-width:100%" alt="{html.escape(self.text)}">'
            f"<figcaption>{html.escape(self.text)}</figcaption></figure>"
        )


def amounts(values: Iterable[Any]) -> Chart:
    """Orders by amount, with the line at 300: what is above it is announced, 300 itself is not."""
    import numpy as np

    numbers = np.array([float(value) for value in values])
    high = numbers[numbers > HIGH_VALUE]
    figure, axes = _figure("Orders by amount", "Amount (EUR, logarithmic)", "Orders")
    text = "No orders yet."
    if len(numbers):
        low = numbers[numbers <= HIGH_VALUE]
        # Bins meet at 300, so that no bar stands on both sides of the line.
        floor, ceiling = max(numbers.min(), 1.0), max(numbers.max(), HIGH_VALUE * 1.1)
        ratio = (ceiling / floor) ** (1 / 24)
        below = HIGH_VALUE / ratio ** np.arange(0, 60)
        below = below[below > floor / ratio][::-1]
        above = HIGH_VALUE * ratio ** np.arange(1, 60)
        above = above[: int(np.searchsorted(above, ceiling)) + 1]
        bins = np.concatenate([below, above])
        axes.set_xscale("log")
        shown = dict(bins=bins, edgecolor=INK, linewidth=0.6)
        axes.hist(low.clip(min=bins[0]), color=BLUE, alpha=0.9, **shown)
        axes.hist(high, color=VERMILION, hatch="///", alpha=0.9, **shown)
        axes.axvline(HIGH_VALUE, color=INK, linestyle="--", linewidth=1.4)
        top = axes.get_ylim()[1] * 1.22
        axes.set_ylim(0, top)
        for words, away, side in (
            (f"{len(low)} orders\nup to 300", -8, "right"),
            (f"{len(high)} above 300,\nannounced", 8, "left"),
        ):
            axes.annotate(
                words,
                (HIGH_VALUE, top * 0.98),
                xytext=(away, 0),
                textcoords="offset points",
                ha=side,
                va="top",
                color=INK,
                fontsize=9,
            )
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
        text = (
            f"{len(numbers)} orders between {numbers.min():,.2f} and {numbers.max():,.2f} EUR, "
            f"half of them below {np.median(numbers):,.2f}; {len(high)} are above 300 and are "
            f"announced ({len(high) / len(numbers):.0%}), {len(low)} are not."
        )
    return Chart(figure, text)


def stream(metrics: pd.DataFrame) -> Chart:
    """What came into the stream over time: IncomingRecords above, IncomingBytes below."""
    per = _per(metrics.attrs.get("period", 60))
    figure, (records, size) = _figures(
        "What came into the stream", "Time (UTC)", (f"Records\n{per}", f"Bytes\n{per}")
    )
    if metrics.empty:
        return Chart(figure, "CloudWatch has no records of this stream yet.")
    for axes, name, colour, mark in (
        (records, "IncomingRecords", BLUE, "o"),
        (size, "IncomingBytes", VERMILION, "s"),
    ):
        values = metrics[name].dropna()
        axes.vlines(values.index, 0, values, color=colour, linewidth=2)
        axes.plot(values.index, values, mark, color=colour, markersize=5)
        axes.set_ylim(0, max(values.max(), 1) * 1.3)
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
        axes.annotate(
            f"{name}: {values.sum():,.0f} in all",
            (0.01, 0.95),
            xycoords="axes fraction",
            color=INK,
            va="top",
            fontsize=9,
        )
    _time_axis(size, metrics.index)
    peak = metrics["IncomingRecords"].idxmax()
    text = (
        f"{metrics['IncomingRecords'].sum():,.0f} records and "
        f"{metrics['IncomingBytes'].sum():,.0f} bytes came in between "
        f"{metrics.index[0]:%H:%M} and {metrics.index[-1]:%H:%M} UTC; most, "
        f"{metrics['IncomingRecords'].max():,.0f} records, at {peak:%H:%M}."
    )
    return Chart(figure, text)


def order_timeline(steps: pd.DataFrame, order_id: str = "") -> Chart:
    """One order on its way: a lane for each service, a mark for each thing that happened."""
    lanes = list(dict.fromkeys(steps["service"]))
    title = f"Order {order_id} through the pipeline" if order_id else "One order's way"
    figure, axes = _figure(title, "Milliseconds since the object was created", "")
    figure.set_figheight(1.2 + 0.42 * len(lanes))
    marks = ("o", "s", "^", "D", "v", "P", "X", "*")
    for row, lane in enumerate(lanes):
        found = steps[steps["service"] == lane]
        colour = BLUE if row % 2 == 0 else VERMILION
        axes.hlines(row, 0, found["ms"].max(), color=INK, linewidth=0.6, alpha=0.5)
        axes.plot(found["ms"], [row] * len(found), marks[row % len(marks)], color=colour)
        last = found.iloc[-1]
        label = " / ".join(dict.fromkeys(found["what"]))
        axes.annotate(
            label,
            (last["ms"], row),
            xytext=(8, 0),
            textcoords="offset points",
            va="center",
            color=INK,
            fontsize=8.5,
        )
    axes.set_yticks(range(len(lanes)), lanes)
    axes.set_ylim(len(lanes) - 0.4, -0.6)
    # Room for the words beside the last marks.
    axes.set_xlim(-0.02 * steps["ms"].max() - 1, steps["ms"].max() * 1.75 + 1)
    story = "; ".join(f"{one.service} {one.what} at {one.ms:.0f} ms" for one in steps.itertuples())
    return Chart(figure, f"{title}: {story}.")


def log_levels(lines: pd.DataFrame) -> Chart:
    """Log events over time, by level: a panel for each level that occurs."""
    if lines.empty:
        figure, _ = _figure("Log events over time", "Time (UTC)", "Events")
        return Chart(figure, "The log is empty.")
    order = ["PLATFORM", "TEXT", "DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"]
    levels = sorted(set(lines["level"]), key=lambda one: (one not in order, order.index(one)
                    if one in order else 0))  # fmt: skip
    figure, panels = _figures("Log events over time", "Time (UTC)", ["Events"] * len(levels))
    span = lines["time"].max() - lines["time"].min()
    rule, wide, unit = _bucket(span.total_seconds())
    counts = lines.groupby([lines["time"].dt.floor(rule), "level"]).size().unstack(fill_value=0)
    hatches = {"ERROR": "///", "CRITICAL": "xxx", "WARNING": "...", "PLATFORM": ""}
    for axes, level in zip(panels, levels, strict=True):
        grave = level in ("ERROR", "CRITICAL", "WARNING")
        axes.bar(
            counts.index,
            counts[level],
            width=wide,
            align="edge",
            color=VERMILION if grave else BLUE,
            hatch=hatches.get(level, ""),
            edgecolor=INK,
            linewidth=0.5,
        )
        axes.set_ylim(0, counts[level].max() * 1.35)
        axes.annotate(
            f"{_LEVELS.get(level, level)}: {counts[level].sum():,}",
            (0.01, 0.94),
            xycoords="axes fraction",
            va="top",
            color=INK,
            fontsize=9,
        )
    _time_axis(panels[-1], counts.index)
    panels[0].set_title(f"Log events by level, per {unit}", loc="left", color=INK)
    told = ", ".join(f"{counts[level].sum():,} {level}" for level in levels)
    text = (
        f"{len(lines):,} log events between {lines['time'].min():%H:%M:%S} and "
        f"{lines['time'].max():%H:%M:%S} UTC: {told}."
    )
    return Chart(figure, text)


def durations(reports: pd.DataFrame) -> Chart:
    """How long invocations took, cold and warm: a cold one counts its initialisation as well."""
    figure, axes = _figure("Invocation durations", "Milliseconds (logarithmic)", "")
    figure.set_figheight(2.4)
    if reports.empty:
        return Chart(figure, "No invocation has been reported yet.")
    from matplotlib.ticker import LogLocator, NullFormatter

    whole = reports["duration_ms"] + reports["init_ms"].fillna(0)
    axes.set_xscale("log")
    told = []
    for row, (name, chosen, colour, mark) in enumerate(
        (("warm", ~reports["cold"], BLUE, "o"), ("cold", reports["cold"], VERMILION, "^"))
    ):
        values = whole[chosen].sort_values()
        if values.empty:
            told.append(f"no {name} one")
            continue
        # Spread over the lane, so that equal durations do not hide each other.
        spread = [row + 0.26 * (((7 * i) % 11) / 11 - 0.5) for i in range(len(values))]
        size = 5 if len(values) > 30 else 8
        axes.plot(values, spread, mark, color=colour, alpha=0.6, markersize=size, linestyle="")
        middle = values.median()
        axes.plot([middle, middle], [row - 0.3, row + 0.3], color=INK, linewidth=2)
        axes.annotate(
            f"median {middle:,.0f} ms",
            (middle, row - 0.32),
            ha="center",
            va="bottom",
            color=INK,
            fontsize=9,
        )
        told.append(
            f"{len(values)} {name} with a median of {middle:,.0f} ms "
            f"({values.min():,.0f} to {values.max():,.0f})"
        )
    axes.set_yticks([0, 1], ["warm", "cold\n(with init)"])
    axes.set_ylim(1.6, -0.75)
    # Few marks with plain numbers: within one decade matplotlib would label every minor one.
    axes.xaxis.set_major_locator(LogLocator(base=10, subs=(1.0, 2.0, 5.0)))
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    axes.xaxis.set_minor_formatter(NullFormatter())
    return Chart(figure, f"{len(reports)} invocations: {' and '.join(told)}.")


# -- what the charts share -----------------------------------------------------------------------


def _figure(title: str, across: str, up: str) -> tuple[Figure, Axes]:
    figure, (axes,) = _figures(title, across, (up,))
    return figure, axes


def _figures(title: str, across: str, ups: Iterable[str]) -> tuple[Figure, list[Axes]]:
    """A figure with one panel above the other, in the lab's one style."""
    # Not pyplot: it keeps every figure of a session in memory and shows it a second time.
    from matplotlib.figure import Figure

    ups = list(ups)
    figure = Figure(figsize=(6.8, 3.0 if len(ups) == 1 else 1.0 + 1.25 * len(ups)))
    panels = figure.subplots(len(ups), 1, sharex=True, squeeze=False)[:, 0]
    figure.patch.set_alpha(0)
    for axes, up in zip(panels, ups, strict=True):
        axes.patch.set_alpha(0)
        axes.set_ylabel(up, color=INK, fontsize=9)
        axes.tick_params(colors=INK, labelsize=9)
        axes.spines[["top", "right"]].set_visible(False)
        axes.spines[["left", "bottom"]].set_color(INK)
    panels[-1].set_xlabel(across, color=INK, fontsize=9)
    panels[0].set_title(title, loc="left", color=INK, fontsize=11)
    return figure, list(panels)


def _time_axis(axes: Axes, times: Any) -> None:
    import matplotlib.dates as dates

    seconds = (times.max() - times.min()).total_seconds()
    axes.xaxis.set_major_locator(dates.AutoDateLocator(minticks=3, maxticks=8))
    axes.xaxis.set_major_formatter(dates.DateFormatter("%H:%M:%S" if seconds < 600 else "%H:%M"))
    if seconds == 0:
        import pandas as pd

        axes.set_xlim(times.min() - pd.Timedelta(minutes=2), times.max() + pd.Timedelta(minutes=2))


def _per(seconds: int) -> str:
    """How long one data point counts, in words."""
    minutes = seconds // 60
    return {0: "per second", 1: "per minute", 60: "per hour"}.get(minutes, f"per {minutes} min")


def _bucket(seconds: float) -> tuple[str, Any, str]:
    """How to group *seconds* of events: pandas' rule, the bar's width, the unit in words."""
    import pandas as pd

    for limit, rule, unit in (
        (120, "1s", "second"),
        (1_800, "10s", "10 seconds"),
        (10_800, "1min", "minute"),
        (172_800, "15min", "15 minutes"),
    ):
        if seconds <= limit:
            return rule, pd.Timedelta(rule) * 0.9, unit
    return "1h", pd.Timedelta("1h") * 0.9, "hour"

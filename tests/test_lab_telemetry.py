"""Logs and metrics as tables, and the charts drawn from them, with words for those who cannot see."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta

import pandas as pd
import pytest

from labkit import charts, logs, metrics, traffic
from labkit.orders import RawOrder

pytestmark = pytest.mark.xdist_group("lab")


@pytest.fixture(scope="module")
def busy(lab):
    """The lab after some orders, good and bad, and the time before them."""
    import labkit

    labkit.build(lab)
    since = lab.clock.advance(minutes=2).now
    bodies = [
        json.dumps({"OrderId": f"B-{since.timestamp():.0f}-{n}", "Amount": 100 * n}).encode()
        for n in range(1, 6)
    ]
    records = [RawOrder(f"busy-{n}", body, "test") for n, body in enumerate([*bodies, b"no"])]
    traffic.process(lab, records)
    return lab, since


def test_log_lines_tell_whose_they_are_and_how_grave(busy):
    lab, since = busy
    lines = logs.lines(lab, since)
    assert [line.time for line in lines] == sorted(line.time for line in lines)
    starts = [line.request_id for line in lines if line.platform == "START"]
    # Five good orders, and a bad one that was tried three times under one id.
    assert len(starts) == 8 and len(set(starts)) == 6
    done = [line for line in lines if (line.fields or {}).get("message") == "order done"]
    assert {line.level for line in done} == {"INFO"} and len(done) == 5
    assert all(line.request_id in starts for line in done)
    assert {line.level for line in lines} >= {"PLATFORM", "INFO", "ERROR"}


def test_logs_become_a_table(busy):
    lab, since = busy
    table = logs.frame(lab, since)
    assert list(table.columns) == [
        "time",
        "level",
        "message",
        "order_id",
        "request_id",
        "stream",
        "text",
    ]
    assert table["order_id"].dropna().nunique() == 5
    assert str(table["time"].dtype).endswith("UTC]")
    assert logs.frame(lab, lab.clock.now() + timedelta(hours=1)).empty


def test_reports_measure_every_invocation(busy):
    lab, since = busy
    table = logs.reports(lab, since)
    assert len(table) == 8
    assert (table["duration_ms"] > 0).all() and (table["memory_mb"] == 256).all()
    assert (table["billed_ms"] >= table["duration_ms"]).all()
    assert table["cold"].dtype == bool and not table["request_id"].isna().any()


def test_the_streams_metrics_count_what_came_in(busy):
    lab, since = busy
    table = metrics.stream(lab, since - timedelta(minutes=1))
    assert table["IncomingRecords"].sum() == 5
    assert table["IncomingBytes"].sum() > 5 * 30
    assert table.attrs["period"] == 60 and str(table.index.dtype).endswith("UTC]")
    dimensions = {"StreamName": lab.names.stream}
    assert metrics.total(lab, "AWS/Kinesis", "IncomingRecords", dimensions, since) == 5
    used = metrics.function(lab, since - timedelta(minutes=1))
    assert used["Invocations"].sum() == 8 and used["Errors"].sum() == 3


def test_metrics_of_nothing_are_empty(lab):
    table = metrics.frame(lab, "AWS/Kinesis", "IncomingRecords", {"StreamName": "none"})
    assert table.empty and list(table.columns) == ["IncomingRecords"]


# -- charts ----------------------------------------------------------------------------------------


def moment(minutes: float) -> datetime:
    return datetime(2026, 11, 20, 12, tzinfo=UTC) + timedelta(minutes=minutes)


@pytest.fixture
def drawn() -> dict[str, charts.Chart]:
    metric = pd.DataFrame(
        {"IncomingRecords": [3.0, 9.0], "IncomingBytes": [300.0, 1900.0]},
        index=pd.DatetimeIndex([moment(0), moment(7)]),
    )
    lines = pd.DataFrame(
        {"time": [moment(0), moment(1), moment(2)], "level": ["INFO", "ERROR", "PLATFORM"]}
    )
    reports = pd.DataFrame(
        {"duration_ms": [5.0, 7.0, 20.0], "init_ms": [None, None, 480.0], "cold": [0, 0, 1]}
    ).astype({"cold": bool, "init_ms": float})
    steps = pd.DataFrame(
        {
            "time": [moment(0), moment(1)],
            "ms": [0.0, 12.5],
            "service": ["S3", "Lambda"],
            "what": ["object created", "function starts"],
        }
    )
    return {
        "amounts": charts.amounts([20, 300, 300.01, 5000]),
        "stream": charts.stream(metric),
        "levels": charts.log_levels(lines),
        "durations": charts.durations(reports),
        "timeline": charts.order_timeline(steps, "A<1>"),
    }


def test_every_chart_says_in_words_what_it_shows(drawn):
    assert "4 orders between 20.00 and 5,000.00 EUR" in drawn["amounts"].text
    assert "2 are above 300" in drawn["amounts"].text
    assert "12 records and 2,200 bytes" in drawn["stream"].text
    assert "9 records, at 12:07" in drawn["stream"].text
    assert "1 INFO" in drawn["levels"].text and "1 ERROR" in drawn["levels"].text
    assert "2 warm with a median of 6 ms" in drawn["durations"].text
    assert "1 cold with a median of 500 ms" in drawn["durations"].text
    assert "Lambda function starts at 12 ms" in drawn["timeline"].text


def test_the_words_are_the_pictures_alternative_text(drawn):
    for name, chart in drawn.items():
        shown = chart._repr_html_()
        (alternative,) = re.findall(r'alt="([^"]+)"', shown)
        assert alternative and "<1>" not in shown, name
        assert repr(chart) == chart.text
        assert chart.png().startswith(b"\x89PNG")


def test_every_axis_has_a_title_and_a_unit(drawn):
    for name, chart in drawn.items():
        panels = chart.figure.axes
        assert panels[0].get_title(loc="left"), name
        across = panels[-1].get_xlabel()
        assert any(unit in across for unit in ("EUR", "UTC", "Millisecond")), (name, across)


def test_what_differs_differs_not_by_colour_alone(drawn):
    bars = {bar.get_hatch() for bar in drawn["amounts"].figure.axes[0].patches}
    assert bars == {None, "///"}
    marks = {line.get_marker() for line in drawn["durations"].figure.axes[0].lines} - {"None"}
    assert {"o", "^"} <= marks


def luminance(colour: str) -> float:
    parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("page", ["#ffffff", "#111111"])
def test_words_and_marks_can_be_read_on_light_and_dark_pages(page):
    def contrast(colour: str) -> float:
        bright, dark = sorted((luminance(colour), luminance(page)), reverse=True)
        return (bright + 0.05) / (dark + 0.05)

    # WCAG 2.1: 4.5 to 1 for words (4 on the darkest pages, where no grey does both), 3 for marks.
    assert contrast(charts.INK) >= 4.2
    assert contrast(charts.BLUE) >= 3 and contrast(charts.VERMILION) >= 3


def test_blue_and_vermilion_differ_in_grey():
    assert abs(luminance(charts.BLUE) - luminance(charts.VERMILION)) > 0.05


def test_nothing_to_draw_is_said_and_not_raised():
    nothing = [
        charts.amounts([]),
        charts.stream(pd.DataFrame({"IncomingRecords": [], "IncomingBytes": []})),
        charts.log_levels(pd.DataFrame({"time": [], "level": []})),
        charts.durations(pd.DataFrame({"duration_ms": [], "init_ms": [], "cold": []})),
    ]
    for chart in nothing:
        assert chart.text and chart.png()


def test_one_value_can_be_drawn():
    one = charts.stream(
        pd.DataFrame(
            {"IncomingRecords": [1.0], "IncomingBytes": [20.0]},
            index=pd.DatetimeIndex([moment(0)]),
        )
    )
    assert "1 records" in one.text and one.png()
    assert charts.amounts([300]).png()

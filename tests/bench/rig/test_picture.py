"""Pictures are well-formed SVG, in light and dark, and nothing in them lies on something else."""

from __future__ import annotations

import re
from itertools import pairwise
from xml.etree import ElementTree

import pytest

from bench.rig.picture import (
    HEIGHT,
    LABEL,
    WIDTH,
    Bars,
    Columns,
    Lines,
    Series,
    Steps,
    apart,
    decades,
    means,
    short,
    svg,
    ticks,
)

SPACE = "{http://www.w3.org/2000/svg}"
LINES = Lines(
    "Orders <against> shoppers",
    "shoppers",
    "orders a second",
    (
        Series("wallet", ((1.0, 20.0), (16.0, 120.0), (64.0, 150.0))),
        Series("card", ((1.0, 10.0, 9.0, 12.0), (16.0, 60.0, 55.0, 70.0), (64.0, 149.0, 140.0, 160.0))),
    ),
    (("bare echo", 150.0),),
)


@pytest.mark.parametrize("logarithmic", [False, True])
def test_lines_are_drawn_within_the_picture(logarithmic) -> None:
    drawn = ElementTree.fromstring(svg(Lines(**{**LINES.__dict__, "logarithmic": logarithmic}), note="2 cores & more"))
    dots = drawn.findall(f"{SPACE}circle")
    assert len(dots) == 6
    assert all(0 < float(dot.get("cx")) < WIDTH and 0 < float(dot.get("cy")) < HEIGHT for dot in dots)
    assert "2 cores & more" in [text.text for text in drawn.findall(f"{SPACE}text")]
    assert sum("band" in path.get("class") for path in drawn.findall(f"{SPACE}path")) == 1
    assert sum(path.get("class") == "rule" for path in drawn.findall(f"{SPACE}path")) == 1


def test_more_is_drawn_higher() -> None:
    drawn = ElementTree.fromstring(svg(LINES))
    heights = [float(dot.get("cy")) for dot in drawn.findall(f"{SPACE}circle")][:3]
    assert heights == sorted(heights, reverse=True)


def test_names_at_the_ends_of_lines_that_meet_are_apart() -> None:
    drawn = ElementTree.fromstring(svg(LINES))
    names = {"wallet", "card", "bare echo"}
    places = sorted(float(text.get("y")) for text in drawn.findall(f"{SPACE}text") if text.text in names)
    assert len(places) == 3
    assert all(lower - upper >= LABEL - 0.11 for upper, lower in pairwise(places))


def test_marks_that_would_touch_are_left_out() -> None:
    points = ((100.0, 1.0), (101.0, 2.0), (200.0, 3.0))
    drawn = ElementTree.fromstring(svg(Lines("near", "x", "y", (Series("a", points),))))
    assert {"100", "200"} <= (marks := {text.text for text in drawn.findall(f"{SPACE}text")})
    assert "101" not in marks


def test_a_picture_is_readable_on_a_dark_page() -> None:
    assert "prefers-color-scheme:dark" in svg(LINES)


def test_bars_have_the_lengths_of_their_values() -> None:
    drawn = ElementTree.fromstring(svg(Bars("Memory", "MB", (("svc_order", 120.0), ("postgres", 60.0)))))
    longer, shorter = [float(bar.get("width")) for bar in drawn.findall(f"{SPACE}rect") if "bar" in bar.get("class")]
    assert longer == pytest.approx(2 * shorter, rel=0.01)
    assert "120 MB" in [text.text for text in drawn.findall(f"{SPACE}text")]


def test_columns_stand_on_the_axis_and_days_without_any_are_left_out() -> None:
    values = (100.0, 0.0, 50.0) * 20
    columns = Columns("Sold", "GBP a day", values, ((0, "May"), (31, "June")))
    drawn = ElementTree.fromstring(svg(columns, note="60 days"))
    (path,) = [each.get("d") for each in drawn.findall(f"{SPACE}path") if "column" in each.get("class")]
    tops = [float(top) for top in re.findall(r"V([0-9.]+)h", path)]
    assert len(tops) == 40 and tops[0] < tops[1] < HEIGHT
    assert {"May", "June", "mean of 7 days"} <= {text.text for text in drawn.findall(f"{SPACE}text")}
    assert len(svg(Columns("Year", "GBP a day", (123.4,) * 366, ()))) < 20_000


def test_a_mean_is_of_the_days_around_and_of_those_that_there_are_at_the_ends() -> None:
    assert means([1, 2, 3, 10], 3) == [1.5, 2, 5, 6.5]


def test_steps_begin_where_the_one_before_ended_and_end_at_the_total() -> None:
    steps = Steps("Books", "GBP", (("orders", 100.0), ("refunds & more", -40.0), ("rounding", 0.001)), "the file")
    drawn = ElementTree.fromstring(svg(steps))
    bars = [each for each in drawn.findall(f"{SPACE}rect") if "bar" in each.get("class")]
    begin, width = ([float(bar.get(name)) for bar in bars] for name in ("x", "width"))
    assert [bar.get("class") for bar in bars] == ["bar f0", "bar f1", "bar f0", "bar f2"]
    assert begin[1] + width[1] == pytest.approx(begin[0] + width[0], abs=0.11)
    assert width[3] == pytest.approx(0.6 * width[0], abs=0.2) and begin[3] == begin[0]
    texts = {text.text for text in drawn.findall(f"{SPACE}text")}
    assert {"+100 GBP", "−40 GBP", "+0.001 GBP", "60 GBP", "refunds & more"} <= texts
    assert all(0 < float(bar.get("x")) and float(bar.get("x")) + float(bar.get("width")) < WIDTH for bar in bars)


def test_a_single_point_and_only_zeros_are_drawn_too() -> None:
    ElementTree.fromstring(svg(Columns("none", "y", (0.0,), ())))
    ElementTree.fromstring(svg(Steps("none", "y", (("a", 0.0),), "all")))
    ElementTree.fromstring(svg(Lines("one", "x", "y", (Series("a", ((5.0, 3.0),)),))))
    ElementTree.fromstring(svg(Lines("none", "x", "y", (Series("a", ((1.0, 0.0), (2.0, 0.0))),), logarithmic=True)))
    ElementTree.fromstring(svg(Bars("none", "y", (("a", 0.0),))))


@pytest.mark.parametrize(
    ("most", "marks"),
    [(10, [0, 2, 4, 6, 8, 10]), (0.9, [0, 0.2, 0.4, 0.6, 0.8, 1.0]), (151, [0, 50, 100, 150, 200]), (0, [0, 1])],
)
def test_marks_are_round_and_reach_the_largest_value(most, marks) -> None:
    assert ticks(most) == pytest.approx(marks)


def test_decades_enclose_the_values() -> None:
    assert decades(3, 450) == pytest.approx([1, 10, 100, 1000])
    assert decades(10, 10) == pytest.approx([10, 100])


def test_labels_keep_their_order_and_stay_inside() -> None:
    assert apart([10, 12, 300], 15, most=300) == [10, 25, 300]
    assert apart([300, 300], 15, most=300) == [285, 300]


@pytest.mark.parametrize(
    ("value", "text"), [(0.25, "0.25"), (40, "40"), (1500, "1,500"), (20_000, "20k"), (3e6, "3M"), (0, "0")]
)
def test_values_are_short_on_an_axis(value, text) -> None:
    assert short(value) == text

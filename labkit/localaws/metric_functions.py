"""The functions of metric math.

Amazon CloudWatch User Guide, "Using math expressions with CloudWatch metrics": functions supported
for metric math. Each takes the scope, its evaluated arguments and the query's own period.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from labkit.localaws.metric_math import (
    MathError,
    Scope,
    Series,
    Value,
    apply,
    as_series,
    date_part,
)

Function = Callable[[Scope, list[Value], int | None], Value]


def _series(scope: Scope, arguments: Sequence[Value], name: str) -> list[Series]:
    if not arguments:
        raise MathError(f"Function {name} requires at least one argument.")
    return [one for each in arguments for one in as_series(each, scope)]


def _number(value: Value, name: str) -> float:
    if not isinstance(value, int | float):
        raise MathError(f"Function {name} requires a number here.")
    return float(value)


def _over(name: str, reduce: Callable[[Sequence[float]], float]) -> Function:
    """A function that makes a number of one series, and one series of several."""

    def function(scope: Scope, arguments: list[Value], period: int | None) -> Value:
        if len(arguments) == 1 and isinstance(arguments[0], Series):
            values = list(arguments[0].points.values())
            return reduce(values) if values else math.nan
        if len(arguments) > 1 and not any(isinstance(each, list) for each in arguments):
            numbers = [each for each in arguments if isinstance(each, int | float)]
            if len(numbers) == len(arguments):
                return reduce(numbers)
        series = _series(scope, [a for a in arguments if not isinstance(a, int | float)], name)
        constants = [float(a) for a in arguments if isinstance(a, int | float)]
        whens = sorted({when for each in series for when in each.points})
        points = {
            when: reduce([*(s.points[when] for s in series if when in s.points), *constants])
            for when in whens
        }
        return Series(points, max((s.period for s in series), default=60), name)

    return function


def _each(change: Callable[[float], float | None]) -> Function:
    """A function applied to every number."""

    def function(scope: Scope, arguments: list[Value], period: int | None) -> Value:
        if len(arguments) != 1:
            raise MathError("This function requires one argument.")
        return apply(change, arguments[0])

    return function


def _along(change: Callable[[Series], dict[int, float]]) -> Function:
    """A function that walks along each series."""

    def function(scope: Scope, arguments: list[Value], period: int | None) -> Value:
        if len(arguments) != 1:
            raise MathError("This function requires one argument.")
        changed = [
            Series(change(each), each.period, each.label, each.metric)
            for each in as_series(arguments[0], scope)
        ]
        return changed if isinstance(arguments[0], list) else changed[0]

    return function


def _differences(series: Series) -> dict[int, float]:
    whens = list(series.points)
    return {
        later: series.points[later] - series.points[earlier]
        for earlier, later in zip(whens, whens[1:], strict=False)
    }


def _time_differences(series: Series) -> dict[int, float]:
    whens = list(series.points)
    return {later: float(later - earlier) for earlier, later in zip(whens, whens[1:], strict=False)}


def _rates(series: Series) -> dict[int, float]:
    whens = list(series.points)
    return {
        later: (series.points[later] - series.points[earlier]) / (later - earlier)
        for earlier, later in zip(whens, whens[1:], strict=False)
    }


def _running(series: Series) -> dict[int, float]:
    total = 0.0
    sums = {}
    for when, value in series.points.items():
        total += value
        sums[when] = total
    return sums


def _fill(scope: Scope, arguments: list[Value], period: int | None) -> Value:
    if len(arguments) != 2:
        raise MathError("Function FILL requires two arguments.")
    target, filler = arguments
    filled = [_filled(each, filler, scope) for each in as_series(target, scope)]
    return filled if isinstance(target, list) else filled[0]


def _filled(series: Series, filler: Value, scope: Scope) -> Series:
    first, last = scope.span
    start = min(series.points, default=None)
    # Gaps are counted from where the series has points, or from the start of the request.
    offset = int(first // series.period * series.period) if start is None else start
    offset -= (offset - int(first)) // series.period * series.period
    whens = range(offset, math.ceil(last), series.period)
    known = sorted(series.points.items())
    points: dict[int, float] = {}
    previous: float | None = None
    for when in whens:
        if when in series.points:
            previous = points[when] = series.points[when]
        elif isinstance(filler, int | float):
            points[when] = float(filler)
        elif isinstance(filler, Series):
            if when in filler.points:
                points[when] = filler.points[when]
        elif filler == "REPEAT":
            if previous is not None:
                points[when] = previous
        elif filler == "LINEAR":
            value = _between(known, when)
            if value is not None:
                points[when] = value
        else:
            raise MathError("FILL requires a number, a time series, REPEAT or LINEAR.")
    return Series(points, series.period, series.label, series.metric)


def _between(known: Sequence[tuple[int, float]], when: int) -> float | None:
    before = [each for each in known if each[0] < when]
    after = [each for each in known if each[0] > when]
    if not before or not after:
        return None
    (left, low), (right, high) = before[-1], after[0]
    return low + (high - low) * (when - left) / (right - left)


def _if(scope: Scope, arguments: list[Value], period: int | None) -> Value:
    if len(arguments) not in (2, 3):
        raise MathError("Function IF requires two or three arguments.")
    condition, then = arguments[:2]
    otherwise = arguments[2] if len(arguments) == 3 else None
    if isinstance(condition, int | float):
        chosen = then if condition else otherwise
        if chosen is None:
            raise MathError("The expression has no value.")
        return chosen
    if not isinstance(condition, Series):
        raise MathError("The condition of IF must be a number or a time series.")
    period_of = [each.period for each in (then, otherwise) if isinstance(each, Series)]
    points = {}
    for when, truth in condition.points.items():
        chosen = then if truth else otherwise
        if isinstance(chosen, Series):
            if when in chosen.points:
                points[when] = chosen.points[when]
        elif isinstance(chosen, int | float):
            points[when] = float(chosen)
    label = then.label if isinstance(then, Series) else condition.label
    return Series(points, max([condition.period, *period_of]), label)


def _metrics(scope: Scope, arguments: list[Value], period: int | None) -> Value:
    containing = arguments[0] if arguments else None
    if containing is not None and not isinstance(containing, str):
        raise MathError("Function METRICS takes a text.")
    return scope.metrics(containing)


def _metric_count(scope: Scope, arguments: list[Value], period: int | None) -> Value:
    return float(len(_series(scope, arguments, "METRIC_COUNT")))


def _period(scope: Scope, arguments: list[Value], period: int | None) -> Value:
    return float(_series(scope, arguments, "PERIOD")[0].period)


def _time_series(scope: Scope, arguments: list[Value], period: int | None) -> Value:
    if len(arguments) != 1:
        raise MathError("Function TIME_SERIES requires one argument.")
    value = _number(arguments[0], "TIME_SERIES")
    known = scope.metrics()
    step = period or max((each.period for each in known), default=60)
    start, end = scope.span
    first = int(start // step * step)
    return Series({when: value for when in range(first, math.ceil(end), step)}, step)


def _pick(last: bool) -> Function:
    def function(scope: Scope, arguments: list[Value], period: int | None) -> Value:
        series = _series(scope, arguments, "LAST" if last else "FIRST")
        if not series:
            raise MathError("The array of time series is empty.")
        return series[-1 if last else 0]

    return function


def _slice(scope: Scope, arguments: list[Value], period: int | None) -> Value:
    if len(arguments) not in (2, 3):
        raise MathError("Function SLICE requires two or three arguments.")
    series = as_series(arguments[0], scope)
    start = int(_number(arguments[1], "SLICE"))
    if len(arguments) == 2:
        return series[start:]
    return series[start : int(_number(arguments[2], "SLICE"))]


_ORDERS: dict[str, Callable[[Sequence[float]], float]] = {
    "AVG": lambda values: math.fsum(values) / len(values),
    "MIN": min,
    "MAX": max,
    "SUM": math.fsum,
}


def _sort(scope: Scope, arguments: list[Value], period: int | None) -> Value:
    if len(arguments) not in (3, 4):
        raise MathError("Function SORT requires three or four arguments.")
    series, name, direction = as_series(arguments[0], scope), arguments[1], arguments[2]
    order = _ORDERS.get(str(name))
    if order is None or direction not in ("ASC", "DESC"):
        raise MathError("SORT requires AVG, MIN, MAX or SUM, and ASC or DESC.")
    ranked = sorted(
        (each for each in series if each.points),
        key=lambda each: order(list(each.points.values())),
        reverse=direction == "DESC",
    )
    return ranked[: int(_number(arguments[3], "SORT"))] if len(arguments) == 4 else ranked


def _search(scope: Scope, arguments: list[Value], period: int | None) -> Value:
    if len(arguments) not in (2, 3) or not all(isinstance(a, str) for a in arguments[:2]):
        raise MathError("Function SEARCH requires an expression, a statistic and a period.")
    step = int(_number(arguments[2], "SEARCH")) if len(arguments) == 3 else period
    return scope.search(str(arguments[0]), str(arguments[1]), step)


def _band(scope: Scope, arguments: list[Value], period: int | None) -> Value:
    """The band around a series' mean: what a model without training data can tell."""
    series = _series(scope, arguments[:1], "ANOMALY_DETECTION_BAND")[0]
    width = _number(arguments[1], "ANOMALY_DETECTION_BAND") if len(arguments) > 1 else 2.0
    values = list(series.points.values())
    if not values:
        return [series, series]
    mean = math.fsum(values) / len(values)
    spread = width * _deviation(values)
    return [
        Series(dict.fromkeys(series.points, mean + sign * spread), series.period, label)
        for sign, label in ((1, "high"), (-1, "low"))
    ]


def _deviation(values: Sequence[float]) -> float:
    mean = math.fsum(values) / len(values)
    return math.sqrt(math.fsum((value - mean) ** 2 for value in values) / len(values))


def _dated(name: str) -> Function:
    def function(scope: Scope, arguments: list[Value], period: int | None) -> Value:
        series = _series(scope, arguments, name)[0]
        points = {when: date_part(name, when) for when in series.points}
        return Series(points, series.period, series.label)

    return function


def _log(base: float) -> Function:
    return _each(lambda value: math.log(value, base) if value > 0 else None)


FUNCTIONS: dict[str, Function] = {
    "ABS": _each(abs),
    "ANOMALY_DETECTION_BAND": _band,
    "AVG": _over("AVG", lambda values: math.fsum(values) / len(values)),
    "CEIL": _each(lambda value: float(math.ceil(value))),
    "DIFF": _along(_differences),
    "DIFF_TIME": _along(_time_differences),
    "FILL": _fill,
    "FIRST": _pick(last=False),
    "FLOOR": _each(lambda value: float(math.floor(value))),
    "IF": _if,
    "LAST": _pick(last=True),
    "LOG": _log(math.e),
    "LOG10": _log(10),
    "MAX": _over("MAX", max),
    "METRICS": _metrics,
    "METRIC_COUNT": _metric_count,
    "MIN": _over("MIN", min),
    "PERIOD": _period,
    "RATE": _along(_rates),
    "REMOVE_EMPTY": lambda scope, arguments, period: [
        each for each in _series(scope, arguments, "REMOVE_EMPTY") if each.points
    ],
    "RUNNING_SUM": _along(_running),
    "SEARCH": _search,
    "SLICE": _slice,
    "SORT": _sort,
    "STDDEV": _over("STDDEV", _deviation),
    "SUM": _over("SUM", math.fsum),
    "TIME_SERIES": _time_series,
    **{name: _dated(name) for name in ("DAY", "DATE", "MONTH", "YEAR", "HOUR", "MINUTE", "EPOCH")},
}

"""The samples of one period, as far as any statistic needs them: small, and exact while few."""

from __future__ import annotations

from array import array

# Up to so many distinct values a bucket is exact; beyond, values keep three digits.
_EXACT_VALUES = 100


class Bucket:
    """The samples of one period, as far as any statistic needs them.

    ``values`` maps a sample's value to how often it came; it is None while all samples were
    equal, and empty once a statistic set came in that does not tell its samples' values. Packed,
    when its time is over, it is an array of values and counts in turns.
    """

    __slots__ = ("total", "low", "high", "count", "values")

    def __init__(self, value: float, count: float = 1.0) -> None:
        self.total = value * count
        self.low = self.high = value
        self.count = count
        self.values: dict[float, float] | array[float] | None = None

    @classmethod
    def of_statistics(cls, total: float, low: float, high: float, count: float) -> Bucket:
        """A bucket of samples of which only the statistics are known."""
        bucket = cls(low, count)
        bucket.total, bucket.high = total, high
        if low != high or total != low * count:
            bucket.values = {}
        return bucket

    def add(self, value: float, count: float = 1.0) -> None:
        """Take in *count* samples of one value."""
        values = self.values
        if values is None:
            if value != self.low:
                self.values = {self.low: self.count, value: count}
        elif values:
            if type(values) is not dict:
                values = self.values = self.spread()
                assert values is not None
            if value not in values and len(values) >= _EXACT_VALUES:
                value_kept = float(f"{value:.2e}")
                values[value_kept] = values.get(value_kept, 0.0) + count
            else:
                values[value] = values.get(value, 0.0) + count
        self.total += value * count
        self.count += count
        if value < self.low:
            self.low = value
        elif value > self.high:
            self.high = value

    def merge(self, other: Bucket) -> None:
        """Take in all samples of another bucket."""
        mine, theirs = self.spread(), other.spread()
        if mine is None or theirs is None:
            self.values = {}
        elif not (len(mine) == len(theirs) == 1 and mine.keys() == theirs.keys()):
            merged = dict(mine)
            for value, count in theirs.items():
                merged[value] = merged.get(value, 0.0) + count
            if len(merged) > 2 * _EXACT_VALUES:
                merged = _rounded(merged)
            self.values = merged
        self.total += other.total
        self.count += other.count
        self.low = min(self.low, other.low)
        self.high = max(self.high, other.high)

    def copy(self) -> Bucket:
        """A bucket of its own with the same samples."""
        twin = Bucket(self.low, self.count)
        twin.total, twin.high = self.total, self.high
        twin.values = self.values[:] if isinstance(self.values, array) else self.values
        if isinstance(twin.values, dict):
            twin.values = dict(twin.values)
        return twin

    def spread(self) -> dict[float, float] | None:
        """Value to number of samples; None when the samples' values aren't known."""
        values = self.values
        if values is None:
            return {self.low: self.count}
        if isinstance(values, array):
            return dict(zip(values[::2], values[1::2], strict=True))
        return values or None

    def pack(self) -> None:
        """Take less room: nothing is likely to come any more."""
        if isinstance(self.values, dict) and len(self.values) > 1:
            self.values = array("d", [each for pair in self.values.items() for each in pair])


def _rounded(values: dict[float, float]) -> dict[float, float]:
    """*values* with keys of three significant digits: 0.5 % off at most."""
    kept: dict[float, float] = {}
    for value, count in values.items():
        short = float(f"{value:.2e}")
        kept[short] = kept.get(short, 0.0) + count
    return kept

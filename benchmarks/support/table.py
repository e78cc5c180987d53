"""The table: ours beside by hand, and the others beside it."""

from __future__ import annotations

from statistics import median

from .contenders import BY_HAND, OURS
from .measures import Measure, Target
from .rounds import Results

NOTHING = "-"
DIGITS = {"ms": 1, "s": 2, "MB": 1}


def lines(measures: list[Measure], main: Results, others: dict[str, Results]) -> list[str]:
    """Return the lines of a Markdown table.

    Parameters: measures, its rows; main, what came of ours and of by hand; others, further
    contenders and what came of them, each beside a kernel by hand of its own.
    """
    head = ["", OURS.name, BY_HAND.name, "ratio", "target", "", *others]
    rows = [_row(measure, main, others) for measure in measures]
    for name, results in {OURS.name: main, BY_HAND.name: main, **others}.items():
        if name in results.absent:
            reason = f"does not run: {results.absent[name]}"
            rows.append([name, reason, *[""] * (len(head) - 2)])
    return markdown(head, rows)


def markdown(head: list[str], rows: list[list[str]]) -> list[str]:
    """Return the lines of a Markdown table."""
    return [
        "| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |"
        for row in (head, ["---"] * len(head), *rows)
    ]


def _row(measure: Measure, main: Results, others: dict[str, Results]) -> list[str]:
    target = verdict = NOTHING
    if measure.target:
        target = _limit(measure.target, measure.unit)
        verdict = _verdict(main, measure, measure.target)
    return [
        measure.title,
        _value(main, measure, OURS.name),
        _value(main, measure, BY_HAND.name),
        _ratio(main, measure, OURS.name),
        target,
        verdict,
        *(_value_and_ratio(results, measure, name) for name, results in others.items()),
    ]


def _value_and_ratio(results: Results, measure: Measure, name: str) -> str:
    value, ratio = _value(results, measure, name), _ratio(results, measure, name)
    return value if ratio == NOTHING else f"{value} ({ratio})"


def _value(results: Results, measure: Measure, name: str) -> str:
    key = measure.name, name
    if key in results.failures:
        return results.failures[key]
    values = results.values.get(key)
    return f"{median(values):.{DIGITS[measure.unit]}f} {measure.unit}" if values else NOTHING


def _pairs(results: Results, measure: Measure, name: str) -> list[tuple[float, float]]:
    """Return the values of a contender with those by hand in the same turn."""
    keys = [(measure.name, who) for who in (name, BY_HAND.name)]
    if any(key in results.failures for key in keys):
        return []
    values, by_hand = (results.values.get(key, []) for key in keys)
    return list(zip(values, by_hand, strict=False))


def _ratio(results: Results, measure: Measure, name: str) -> str:
    pairs = _pairs(results, measure, name)
    if not pairs or not all(by_hand for _, by_hand in pairs):
        return NOTHING
    return f"{median(value / by_hand for value, by_hand in pairs):.2f}"


def _limit(target: Target, unit: str) -> str:
    return f"≤ {target.factor:.2f}" + (f" + {target.plus:g} {unit}" if target.plus else "")


def _verdict(results: Results, measure: Measure, target: Target) -> str:
    pairs = _pairs(results, measure, OURS.name)
    if not pairs:
        return NOTHING
    if target.plus:
        met = median(ours - target.factor * hand for ours, hand in pairs) <= target.plus
    else:
        met = median(ours / hand for ours, hand in pairs) <= target.factor
    return "met" if met else "falls short"

"""The table: ours beside by hand, and the others beside it."""

from __future__ import annotations

from statistics import median

from .contenders import BY_HAND, OURS
from .measures import Measure, Target
from .rounds import Results

NOTHING = "–"
DIGITS = {"ms": 1, "s": 2, "MB": 1}


def lines(results: Results, measures: list[Measure], others: list[str]) -> list[str]:
    """Return the lines of a Markdown table.

    Parameters: results; measures, its rows; others, the contenders of the further columns.
    """
    head = ["", OURS.name, BY_HAND.name, "ratio", "target", "", *others]
    rows = [_row(results, measure, others) for measure in measures]
    for name, reason in results.absent.items():
        rows.append([name, f"does not run: {reason}", *[""] * (len(head) - 2)])
    return [
        "| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |"
        for row in (head, ["---"] * len(head), *rows)
    ]


def _row(results: Results, measure: Measure, others: list[str]) -> list[str]:
    ours, by_hand = (_value(results, measure, name) for name in (OURS.name, BY_HAND.name))
    ratio = _ratio(results, measure, OURS.name)
    target = verdict = NOTHING
    if measure.target:
        target = _limit(measure.target, measure.unit)
        verdict = _verdict(results, measure, measure.target)
    cells = [measure.title, ours, by_hand, _number(ratio), target, verdict]
    for name in others:
        value, ratio = _value(results, measure, name), _ratio(results, measure, name)
        cells.append(value if ratio is None else f"{value} ({_number(ratio)})")
    return cells


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


def _ratio(results: Results, measure: Measure, name: str) -> float | None:
    pairs = _pairs(results, measure, name)
    if not pairs or not all(by_hand for _, by_hand in pairs):
        return None
    return median(value / by_hand for value, by_hand in pairs)


def _number(ratio: float | None) -> str:
    return NOTHING if ratio is None else f"{ratio:.2f}"


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

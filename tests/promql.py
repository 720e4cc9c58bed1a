"""A small evaluator of PromQL over made-up series: enough for the alerts, and no more.

It knows selectors with matchers (= != =~ !~), comparison of a vector with a number, `and` and
`or` with `on (…)` or on all labels, `absent`, `rate` and `increase` over a range (the difference
of the ends, resets included, without Prometheus' extrapolation), `sum by`, and
`histogram_quantile`. Everything else raises, so that no alert passes unread.
"""

import operator
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import promql_parser as promql

Labels = tuple[tuple[str, str], ...]
Vector = dict[Labels, float]
_COMPARED = {
    "==": operator.eq, "!=": operator.ne, ">": operator.gt, "<": operator.lt,
    ">=": operator.ge, "<=": operator.le,
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """One series: its values at minutes 0, 1, 2 …; the last one is now."""

    name: str
    values: Sequence[float]
    labels: Mapping[str, str]


def evaluated(expression: str, series: Sequence[Series]) -> Vector:
    """What an expression yields now: label pairs -> value; empty: an alert does not fire."""
    found = _value(promql.parse(expression), series)
    assert isinstance(found, dict), f"{expression} is no vector"
    return found


def selectors(expression: str) -> Iterator[tuple[str, frozenset[str]]]:
    """Every metric in an expression, with the labels that its matchers name."""
    yield from _selectors(promql.parse(expression))


def grouped(expression: str) -> Iterator[str]:
    """Every label that is grouped or joined by."""
    for found in re.findall(r"\b(?:by|on|without|ignoring)\s*\(([^)]*)\)", expression):
        yield from (name.strip() for name in found.split(",") if name.strip())


def _selectors(node: Any) -> Iterator[tuple[str, frozenset[str]]]:
    kind = type(node).__name__
    if kind == "VectorSelector":
        yield node.name, frozenset(one.name for one in node.matchers.matchers)
    elif kind == "MatrixSelector":
        yield from _selectors(node.vector_selector)
    elif kind == "BinaryExpr":
        yield from _selectors(node.lhs)
        yield from _selectors(node.rhs)
    elif kind == "Call":
        for one in node.args:
            yield from _selectors(one)
    elif kind in {"AggregateExpr", "ParenExpr"}:
        yield from _selectors(node.expr)
    else:
        assert kind == "NumberLiteral", f"{kind} is not read here"


def _value(node: Any, series: Sequence[Series]) -> Any:
    kind = type(node).__name__
    if kind == "NumberLiteral":
        return float(node.val)
    if kind == "ParenExpr":
        return _value(node.expr, series)
    if kind == "VectorSelector":
        return {key: values[-1] for key, values in _selected(node, series)}
    if kind == "BinaryExpr":
        return _joined(node, _value(node.lhs, series), _value(node.rhs, series))
    if kind == "Call":
        return _called(node, series)
    if kind == "AggregateExpr" and str(node.op) == "sum":
        found: Vector = {}
        for key, value in _value(node.expr, series).items():
            group = _only(key, node.modifier.labels)
            found[group] = found.get(group, 0.0) + value
        return found
    raise NotImplementedError(f"{kind}: {node}")


def _selected(node: Any, series: Sequence[Series]) -> Iterator[tuple[Labels, Sequence[float]]]:
    for one in series:
        if one.name == node.name and all(_matches(m, one.labels) for m in node.matchers.matchers):
            yield tuple(sorted(one.labels.items())), one.values


def _matches(matcher: Any, labels: Mapping[str, str]) -> bool:
    value, told = labels.get(matcher.name, ""), str(matcher.op)
    if "Re" in told:
        return bool(re.fullmatch(matcher.value, value)) is ("Not" not in told)
    return (value == matcher.value) is ("Not" not in told)


def _joined(node: Any, left: Any, right: Any) -> Vector:
    told = str(node.op)
    if told in _COMPARED:
        assert isinstance(right, float), "only comparisons with a number are read here"
        return {key: value for key, value in left.items() if _COMPARED[told](value, right)}
    by = _joins_by(node)
    if told == "and":
        there = {by(key) for key in right}
        return {key: value for key, value in left.items() if by(key) in there}
    if told == "or":
        there = {by(key) for key in left}
        return left | {key: value for key, value in right.items() if by(key) not in there}
    raise NotImplementedError(told)


def _joins_by(node: Any) -> Any:
    matching = getattr(node.modifier, "matching", None)
    if matching is None:
        return lambda key: key
    assert "Include" in str(matching.type) or "On" in str(matching.type), matching.type
    return lambda key: _only(key, matching.labels)


def _only(key: Labels, names: Sequence[str]) -> Labels:
    return tuple(pair for pair in key if pair[0] in names)


def _called(node: Any, series: Sequence[Series]) -> Vector:
    name = node.func.name
    if name == "absent":
        return {} if _value(node.args[0], series) else {(): 1.0}
    if name in {"rate", "increase"}:
        minutes = int(node.args[0].range.total_seconds() // 60)
        found = {
            key: _rise(values[-minutes - 1 :])
            for key, values in _selected(node.args[0].vector_selector, series)
        }
        per = 60.0 * minutes if name == "rate" else 1.0
        return {key: value / per for key, value in found.items()}
    if name == "histogram_quantile":
        return _quantile(float(node.args[0].val), _value(node.args[1], series))
    raise NotImplementedError(name)


def _rise(values: Sequence[float]) -> float:
    """By how much a counter rose; it begins anew at 0 where it falls."""
    steps = pairwise(values)
    return sum(after - before if after >= before else after for before, after in steps)


def _quantile(share: float, buckets: Vector) -> Vector:
    ends = sorted((float(dict(key)["le"].replace("+Inf", "inf")), n) for key, n in buckets.items())
    if not ends or not ends[-1][1]:
        return {}
    wanted, before, low = share * ends[-1][1], 0.0, 0.0
    for end, count in ends:
        if count >= wanted:
            if end == float("inf"):
                return {(): low}
            return {(): low + (end - low) * (wanted - before) / (count - before)}
        before, low = count, end
    return {}

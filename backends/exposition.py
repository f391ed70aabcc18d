"""Prometheus' text exposition format 0.0.4, written by hand: HELP and TYPE before each family, escapes, `+Inf` buckets.

Pure functions from counts to text. Source: prometheus.io/docs/instrumenting/exposition_formats, "Text-based format".
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from itertools import accumulate
from typing import Final

from .metric_names import COUNTER, GAUGE, Metric
from .series import Histogram, Labels

_NAME: Final = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
_LABEL_ESCAPES: Final = str.maketrans({"\\": "\\\\", '"': '\\"', "\n": "\\n"})
_HELP_ESCAPES: Final = str.maketrans({"\\": "\\\\", "\n": "\\n"})


def scalars(metric: Metric, samples: Iterable[tuple[Labels, float]]) -> str:
    """A counter or gauge family; only the header when it has no samples yet."""
    lines = [_head(metric)]
    lines += [f"{metric.name}{_labels(metric.labels, labels)} {_number(value)}\n" for labels, value in samples]
    return "".join(lines)


def histograms(metric: Metric, samples: Iterable[tuple[Labels, Histogram]]) -> str:
    """A histogram family, buckets cumulative. A label set that has observed nothing is left out."""
    lines = [_head(metric)]
    for labels, histogram in samples:
        cumulative = list(accumulate(histogram.counts))
        if not cumulative[-1]:
            continue
        for bound, count in zip((*histogram.bounds, math.inf), cumulative, strict=True):
            pairs = _labels((*metric.labels, "le"), (*labels, _number(bound)))
            lines.append(f"{metric.name}_bucket{pairs} {count}\n")
        own = _labels(metric.labels, labels)
        lines.append(f"{metric.name}_sum{own} {_number(histogram.sum)}\n")
        lines.append(f"{metric.name}_count{own} {cumulative[-1]}\n")
    return "".join(lines)


def extras(known: Sequence[Metric], values: Mapping[str, float], taken: frozenset[str]) -> str:
    """Families without labels that the caller supplies; an unknown name is typed by its suffix and has no help.

    Raises:
        ValueError: a name is no metric name, or one of `taken`.
    """
    by_name = {metric.name: metric for metric in known}
    blocks = []
    for name, value in values.items():
        if not _NAME.fullmatch(name) or name in taken:
            message = f"{name!r} can't be exported: a metric name has letters, digits and _, and is not in use"
            raise ValueError(message)
        metric = by_name.get(name) or Metric(name, COUNTER if name.endswith("_total") else GAUGE, (), "")
        blocks.append(scalars(metric, [((), value)]))
    return "".join(blocks)


def _head(metric: Metric) -> str:
    words = f"# HELP {metric.name} {metric.help.translate(_HELP_ESCAPES)}\n" if metric.help else ""
    return f"{words}# TYPE {metric.name} {metric.type}\n"


def _labels(names: Labels, values: Labels) -> str:
    pairs = [f'{name}="{value.translate(_LABEL_ESCAPES)}"' for name, value in zip(names, values, strict=True)]
    return f"{{{','.join(pairs)}}}" if pairs else ""


def _number(value: float) -> str:
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    return "NaN" if math.isnan(value) else repr(value)

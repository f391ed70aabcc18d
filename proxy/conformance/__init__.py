"""The conformance kit: does a server keep SageMaker Runtime's contract, as clients rely on it?

It runs against any server that claims to, the proxy itself, a stand-in or a real endpoint, from outside and over its
own sockets. Each check is one sentence of the contract with its source; docs/conformance.md lists them.
"""

from __future__ import annotations

from .checks import Check, Result
from .probe import DIALECTS, Sample, Sign, Subject, sample
from .report import described, document_of, lines_of, summary
from .runner import CHECKS, Finding, chosen, examine, reach
from .wire import NoAnswer, Origin, read_origin

__all__ = [
    "CHECKS",
    "DIALECTS",
    "Check",
    "Finding",
    "NoAnswer",
    "Origin",
    "Result",
    "Sample",
    "Sign",
    "Subject",
    "chosen",
    "described",
    "document_of",
    "examine",
    "lines_of",
    "reach",
    "read_origin",
    "sample",
    "summary",
]

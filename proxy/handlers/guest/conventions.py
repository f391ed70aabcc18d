"""Which convention a customer's file follows, and what each of its names becomes here. Decided from names alone.

So that `pointsman handler check` can tell without running the file what loading it will do. A file follows one
convention; what of it has no place here is explained, and refused where leaving it out would change answers.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

NATIVE, SCRIPT, DJL, DJL_FORMATTERS, STANDARDS = (
    "pointsman",
    "sagemaker-inference",
    "djl handle",
    "djl formatters",
    "container standards",
)

TITLES: Mapping[str, str] = {
    NATIVE: "before(call), during(event), after(reply)",
    SCRIPT: "model_fn, input_fn, output_fn of SageMaker's classic scripts",
    DJL: "handle(inputs) of DJL Serving's Python mode",
    DJL_FORMATTERS: "@input_formatter and @output_formatter of djl_python",
    STANDARDS: "@input_formatter and @output_formatter of model_hosting_container_standards",
}
"""Convention -> what it is, in words."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What becomes of one name of the file."""

    name: str
    step: str | None
    """`load`, `before`, `during`, `after`, or None where it has no place."""
    text: str
    prevents: bool = False
    """It keeps the handler from serving."""


@dataclass(frozen=True, slots=True)
class Recognised:
    """A file's convention (None when it cannot be told) and what becomes of each name that matters."""

    convention: str | None
    findings: tuple[Finding, ...]

    @property
    def problems(self) -> tuple[Finding, ...]:
        """What keeps the handler from serving."""
        return tuple(finding for finding in self.findings if finding.prevents)


_MODEL_IS_ELSEWHERE = (
    "runs the model itself, but the model is what the policy's targets serve; keep what comes before it in input_fn "
    "and what comes after it in output_fn, and delete it"
)

_KNOWN: Mapping[str, tuple[str, Finding]] = {
    finding.name: (convention, finding)
    for convention, finding in (
        (NATIVE, Finding("before", "before", "gets the call, gives what goes to the model")),
        (NATIVE, Finding("during", "during", "gets each event of a streamed answer, gives what the client sees of it")),
        (NATIVE, Finding("after", "after", "gets the model's whole answer, gives the client's")),
        (SCRIPT, Finding("model_fn", "load", "runs once at load with the file's folder: for tokenizers and the like")),
        (SCRIPT, Finding("input_fn", "before", "what it returns is the body that goes to the model")),
        (SCRIPT, Finding("output_fn", "after", "gets the model's whole answer, parsed; a stream passes it by")),
        (SCRIPT, Finding("predict_fn", None, _MODEL_IS_ELSEWHERE, prevents=True)),
        (SCRIPT, Finding("transform_fn", None, _MODEL_IS_ELSEWHERE, prevents=True)),
        (DJL, Finding("handle", "before", "runs to its generate call, which goes to the policy's targets, then on")),
        (DJL_FORMATTERS, Finding("djl_python @input_formatter", "before", "gets the parsed body, gives the model's")),
        (DJL_FORMATTERS, Finding("djl_python @output_formatter", "after", "gets the parsed answer, and each event's")),
        (STANDARDS, Finding("@input_formatter", "before", "gets a request; its body goes to the model")),
        (STANDARDS, Finding("@output_formatter", "after", "gets a response; a stream passes it by")),
        (
            STANDARDS,
            Finding(
                "custom_sagemaker_invocation_handler",
                None,
                "takes the place of the engine, but the engine is what the policy's targets serve; move what it does "
                "to @input_formatter and @output_formatter",
                prevents=True,
            ),
        ),
        (
            STANDARDS,
            Finding(
                "custom_sagemaker_ping_handler",
                None,
                "is not called: /ping is answered once the handler is loaded; raise while loading instead",
            ),
        ),
    )
}
"""Name -> its convention, and what becomes of it. The names with `@` stand for whatever a decorator marked."""

MARKS: Mapping[str, str] = {
    "djl_input": "djl_python @input_formatter",
    "djl_output": "djl_python @output_formatter",
    "standards_input": "@input_formatter",
    "standards_output": "@output_formatter",
}
"""What a stand-in's decorator writes on a function -> its name above."""

NAMES = frozenset(name for name in _KNOWN if "@" not in name)
HOOKS = frozenset(name for name in NAMES if _KNOWN[name][1].step is not None)
"""Those of them that are called."""


def recognise(names: Iterable[str]) -> Recognised:
    """What a file is that defines `names`: functions, and for decorated ones their names in `MARKS`."""
    known = [_KNOWN[name] for name in _KNOWN if name in set(names)]
    conventions = list(dict.fromkeys(convention for convention, _ in known))
    findings = tuple(finding for _, finding in known)
    if not known:
        nothing = Finding(
            "(file)",
            None,
            "defines none of the functions that a handler has; begin with `async def before(call)`, "
            "as model.py at the root of the project does",
            prevents=True,
        )
        return Recognised(None, (nothing,))
    if len(conventions) > 1:
        mixed = " and ".join(f"{TITLES[convention]} ({convention})" for convention in conventions)
        both = Finding("(file)", None, f"mixes {mixed}; keep one of them", prevents=True)
        return Recognised(None, (*findings, both))
    if not any(finding.step in ("before", "during", "after") or finding.prevents for finding in findings):
        idle = Finding("(file)", None, "has no function that runs with a request; add one or drop it", prevents=True)
        return Recognised(conventions[0], (*findings, idle))
    return Recognised(conventions[0], findings)

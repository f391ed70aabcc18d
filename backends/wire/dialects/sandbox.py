"""The sandbox that chat templates are rendered in: Jinja2's immutable one, with bounds of size and of work.

Strategy: templates have no `while`, so work comes from loops, from calls (macros may call themselves), and from what an
operator or a filter does with a long operand. Each is counted in steps against one allowance for a rendering: a loop
costs a step a turn, a call or a filter a step, and an operand a fraction of its length, about what it takes to copy or
to search it. A step takes one or two microseconds at most, so a rendering ends within half a second whatever it is
given: the messages are a caller's, and a template that is quick with ten of them may not be with a hundred thousand.

The counting is put in when a template is compiled, around the sources of loops and around slices, searches and
joined texts, which Jinja compiles to plain Python otherwise.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Iterator
from typing import Any, NoReturn, cast

from jinja2 import Undefined, nodes, pass_context
from jinja2.exceptions import SecurityError
from jinja2.runtime import LoopContext
from jinja2.sandbox import ImmutableSandboxedEnvironment

MOST_STEPS = 200_000
"""Of one rendering. Published templates take 5 to 50 for a message."""
_LETTERS = 4096
"""Letters that are copied in about the time of a step."""
_ITEMS = 16
"""Items of a list that are compared in about that time."""
_LARGEST_PRODUCT = 1_000_000
"""Longest text or list that `*` makes."""
_TURNS, _LENGTH = "(turns)", "(length)"
"""Names of filters that no template can say."""


class TooMuchWork(Exception):
    """A rendering has used up its steps."""


class OwnRefusal(Exception):
    """The template's `raise_exception`."""


class _Untold(Undefined):
    """An unknown variable may be asked for and is false, as templates expect; it is never printed as nothing."""

    __slots__ = ()

    def __str__(self) -> str:
        return str(self._fail_with_undefined_error())


class Sandbox(ImmutableSandboxedEnvironment):
    """One environment for one template, rendered once at a time: the steps left are its own."""

    intercepted_binops = frozenset({"*", "**", "%", "+"})

    def __init__(self) -> None:
        super().__init__(
            trim_blocks=True,
            lstrip_blocks=True,
            undefined=_Untold,
            autoescape=False,  # a prompt is no HTML; escaping would change what the model reads
            extensions=["jinja2.ext.loopcontrols"],
        )
        self._left = MOST_STEPS
        self.filters["tojson"] = _tojson
        self.filters = {name: self._counted(one) for name, one in self.filters.items()}
        # `pass_context`, so that nothing is counted while a template is compiled; it marks functions, not methods.
        self.filters[_TURNS] = pass_context(lambda _context, items: self._turns(items))
        self.filters[_LENGTH] = pass_context(lambda _context, value: self._length(value))
        self.globals = {
            "range": self.globals["range"],
            "namespace": self.globals["namespace"],
            "dict": dict,
            "raise_exception": _raise,
        }

    def begin(self) -> None:
        """Give the next rendering its steps."""
        self._left = MOST_STEPS

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        """See Jinja2: `left operator right`."""
        self._pay(left)
        self._pay(right)
        if operator == "%" and isinstance(left, str):
            message = "texts are not formatted with % in a chat template"
            raise SecurityError(message)
        sizes = [
            len(one) if isinstance(one, str | list | tuple) else abs(one)
            for one in (left, right)
            if isinstance(one, str | list | tuple | int | float)
        ]
        if operator == "**" and max(sizes, default=0) > 1000:
            message = "a power that large has no place in a chat template"
            raise SecurityError(message)
        numbers = all(isinstance(one, int | float) for one in (left, right))
        if operator == "*" and not numbers and len(sizes) == 2 and sizes[0] * sizes[1] > _LARGEST_PRODUCT:
            message = "a text that long has no place in a chat template"
            raise SecurityError(message)
        return super().call_binop(context, operator, left, right)

    def call(self, context: Any, obj: Any, /, *args: Any, **kwargs: Any) -> Any:
        """See Jinja2: `obj(*args, **kwargs)`."""
        for one in (getattr(obj, "__self__", None), *args):
            self._pay(one)
        if isinstance(obj, LoopContext) and args:  # a recursive loop's next level
            args = (self._turns(args[0]), *args[1:])
        result = super().call(context, obj, *args, **kwargs)
        self._pay(result)
        return result

    def _parse(self, source: str, name: str | None, filename: str | None) -> nodes.Template:
        tree = super()._parse(source, name, filename)
        for loop in list(tree.find_all(nodes.For)):
            loop.iter = _through(_TURNS, loop.iter)
        for item in list(tree.find_all(nodes.Getitem)):
            if isinstance(item.arg, nodes.Slice):
                item.node = _through(_LENGTH, item.node)
        for operand in list(tree.find_all(nodes.Operand)):
            if operand.op in {"in", "notin"}:
                operand.expr = _through(_LENGTH, operand.expr)
        for joined in list(tree.find_all(nodes.Concat)):
            joined.nodes = [_through(_LENGTH, one) for one in joined.nodes]
        tree.set_environment(self)
        return tree

    def _counted(self, one: Callable[..., Any]) -> Callable[..., Any]:
        at = 0 if getattr(one, "jinja_pass_arg", None) is None else 1

        @functools.wraps(one)
        def counting(*args: Any, **kwargs: Any) -> Any:
            operand = args[at] if len(args) > at else None
            if isinstance(operand, Iterator):
                args = (*args[:at], self._turns(operand), *args[at + 1 :])
            elif isinstance(operand, list | tuple | dict | range):
                self._spend(len(operand))  # a filter does something with each item, unlike a slice
            self._pay(operand)
            return one(*args, **kwargs)

        return counting

    def _turns(self, items: Any) -> Iterator[Any]:
        for item in items:
            self._spend(1)
            yield item

    def _length(self, value: Any) -> Any:
        self._pay(value)
        return value

    def _pay(self, value: Any) -> None:
        """One step, and those of a value's length."""
        if isinstance(value, str):
            self._spend(1 + len(value) // _LETTERS)
        elif isinstance(value, list | tuple | dict):
            self._spend(1 + len(value) // _ITEMS)
        else:
            self._spend(1)

    def _spend(self, steps: int) -> None:
        self._left -= steps
        if self._left < 0:
            raise TooMuchWork


def _through(name: str, source: nodes.Node) -> nodes.Expr:
    return nodes.Filter(cast("nodes.Expr", source), name, [], [], None, None, lineno=source.lineno)


def _tojson(value: Any, ensure_ascii: bool = False, indent: int | None = None, **_: Any) -> str:
    """JSON as templates expect it: without the escapes for HTML that Jinja's own filter makes."""
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent)


def _raise(message: str) -> NoReturn:
    raise OwnRefusal(message)

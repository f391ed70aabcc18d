"""Loads a customer's file by path, under a private name, with the files beside it importable.

The file's folder becomes a package of a private name (`pointsman_handler_<hash>`), so that two customers' `utils.py`
are two modules. `import utils` in one of its files finds the sibling, because these files get an `__import__` of their
own; `sys.path` stays as it is. Modules that we stand in for (`djl_python` and the like) are given to these files in the
same way and to nobody else. Bytecode is neither read nor written: a customer's folder may be read-only, and a file that
changed within a second must not be taken for its old self. `print` goes to standard error; the log has the other.
"""

from __future__ import annotations

import builtins
import importlib
import importlib.util
import sys
import traceback
from collections.abc import Mapping, Sequence
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from pathlib import Path
from types import ModuleType
from typing import Any

from .values import InvokeError

Shims = Mapping[str, ModuleType]
"""Full module name to what stands in for it; every parent package is in it as well."""

LONGEST_TRACE = 16_000
"""Characters of a traceback that are kept: its end."""
MOST_IN_GROUP = 5
"""Exceptions of a group that are shown."""


class Folder:
    """A customer's folder as a package."""

    def __init__(self, file: Path, name: str, shims: Shims) -> None:
        self.file = file
        self.name = name
        self._root = str(file.parent)
        self._prefix = f"{name}."
        self._shims = shims
        self._known: dict[str, bool] = {}
        self._builtins = {**vars(builtins), "__import__": self._import, "print": _print}

    def load(self) -> ModuleType:
        """Run the file and return its module. Whatever it raises comes through, and then nothing is left behind."""
        importlib.invalidate_caches()
        package = ModuleType(self.name)
        package.__path__ = [self._root]
        sys.modules[self.name] = package
        sys.meta_path.insert(0, self)  # ahead of the one that would load these files in the ordinary way
        try:
            return importlib.import_module(f"{self._prefix}{self.file.stem}")
        except BaseException:
            self.forget()
            raise

    def forget(self) -> None:
        """Take everything out of the import system that `load` put in."""
        if self in sys.meta_path:
            sys.meta_path.remove(self)
        for name in [each for each in sys.modules if each == self.name or each.startswith(self._prefix)]:
            del sys.modules[name]

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """The import system's question for a module of this folder; None for all others."""
        if not fullname.startswith(self._prefix):
            return None
        own = fullname == f"{self._prefix}{self.file.stem}"
        spec = None if own else PathFinder.find_spec(fullname, path, target)
        if own:
            return importlib.util.spec_from_file_location(fullname, self.file, loader=self._loader(fullname, self.file))
        if spec is None or spec.origin is None or type(spec.loader) is not SourceFileLoader:
            return spec
        return importlib.util.spec_from_file_location(
            fullname,
            spec.origin,
            loader=self._loader(fullname, spec.origin),
            submodule_search_locations=spec.submodule_search_locations,
        )

    def _loader(self, fullname: str, origin: str | Path) -> SourceFileLoader:
        return _Loader(fullname, str(origin), self._builtins)

    def _import(
        self,
        name: str,
        globals: Mapping[str, Any] | None = None,
        locals: Mapping[str, Any] | None = None,
        fromlist: Sequence[str] | None = (),
        level: int = 0,
    ) -> ModuleType:
        top = name.partition(".")[0]
        if level == 0 and top in self._shims:
            return self._shim(name, top, bool(fromlist))
        if level == 0 and self._sibling(top):
            found = importlib.__import__(f"{self._prefix}{name}", globals, locals, fromlist or ())
            return found if fromlist else sys.modules[f"{self._prefix}{top}"]
        return importlib.__import__(name, globals, locals, fromlist or (), level)

    def _shim(self, name: str, top: str, inner: bool) -> ModuleType:
        if name not in self._shims:
            known = ", ".join(sorted(each for each in self._shims if each.partition(".")[0] == top))
            message = f"no stand-in for {name}: a handler beside the proxy has only {known} of it"
            raise ModuleNotFoundError(message, name=name)
        return self._shims[name if inner else top]

    def _sibling(self, top: str) -> bool:
        known = self._known.get(top)
        if known is None:
            known = self._known[top] = top not in sys.builtin_module_names and self._beside(top)
        return known

    def _beside(self, top: str) -> bool:
        spec = PathFinder.find_spec(top, [self._root])
        if spec is None:
            return False
        # A folder without __init__.py may be nothing but data; as everywhere, it gives way to a real package.
        return spec.origin is not None or importlib.util.find_spec(top) is None


class _Loader(SourceFileLoader):
    def __init__(self, fullname: str, path: str, own_builtins: dict[str, Any]) -> None:
        super().__init__(fullname, path)
        self._own_builtins = own_builtins

    def exec_module(self, module: ModuleType) -> None:
        module.__dict__["__builtins__"] = self._own_builtins
        super().exec_module(module)

    def path_stats(self, path: str | bytes) -> Mapping[str, Any]:
        """No bytecode: this is how a loader says so."""
        raise OSError


def _print(*values: object, **options: Any) -> None:
    print(*values, **{"file": sys.stderr, **options})  # noqa: T201 - the customer's own print


def own_trace(error: BaseException, folder: Path) -> str:
    """The traceback of `error` with the frames of files in `folder` only: the customer's, none of ours. Raises none."""
    try:
        return _trace(error, f"{folder}/", 3)[-LONGEST_TRACE:]
    except Exception:  # noqa: BLE001 - a customer's exception may fail where it is asked for what it holds
        return _words(error)


def _words(error: BaseException) -> str:
    """The last line at least: a process without a free descriptor can't load what some Pythons show more with."""
    name = type(error).__qualname__
    try:
        return f"{name}: {error}"[:LONGEST_TRACE]
    except Exception:  # noqa: BLE001 - as above
        return f"{name}, which can't be shown"


def _trace(error: BaseException, root: str, depth: int) -> str:
    before = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    if isinstance(error, InvokeError):  # what came before it is ours, and has a log line of its own
        before = None
    head = f"{_trace(before, root, depth - 1)}\nand then:\n" if before is not None and depth else ""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename.startswith(root)]
    told = head + "".join(traceback.format_list(frames) + traceback.format_exception_only(error)).rstrip()
    if isinstance(error, BaseExceptionGroup) and depth:  # as a TaskGroup raises it: what went wrong is inside
        told += "".join(f"\nin it:\n{_trace(inner, root, depth - 1)}" for inner in error.exceptions[:MOST_IN_GROUP])
    return told

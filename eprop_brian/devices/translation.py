"""Translation of the blocks of a step, by Brian2, each of them once.

Brian2 takes as long for it as for everything else that makes a program. So what a block becomes is
remembered while the process lives, and the cache keeps it beside the compiled program: a known
network begins without it. What is kept is text in JSON, and reading it runs nothing.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
from collections.abc import Callable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any, ClassVar

from brian2.codegen.translation import make_statements
from brian2.core.functions import Function
from brian2.core.preferences import prefs
from brian2.core.variables import ArrayVariable, Variable
from brian2.utils.stringtools import get_identifiers

from eprop_brian.base.cache import cached
from eprop_brian.base.temporary import temporary_folder

__all__ = ["BlockwiseTranslation"]

#: What a block becomes: lines that are the same for all elements, and those of an element.
_Lines = tuple[list[str], list[str]]
#: The blocks of this process by their keys, and how many there are at most.
_remembered: dict[str, _Lines] = {}
_MOST_REMEMBERED = 4096
#: What decides what a block becomes, beside the block: libraries, modules that render
#: expressions, and preferences of Brian2.
_LIBRARIES = ("brian2", "sympy", "numpy")
_MODULES = ("translation.py", "codeobjects.py")
_PREFERENCES = ("codegen.loop_invariant_optimisations",)
_FILE = "blocks.json"


class BlockwiseTranslation:
    """Translates each block with the variables it uses, and those alone.

    Brian2 looks up earlier translations by hashing all variables, for every block again. In a step
    with many blocks that takes longer than everything else.

    Attributes
    ----------
    remembers : bool
        Whether a block becomes the same lines in every program, and so is translated once.
    keeps : bool
        Whether the cache keeps the blocks of a program, for other processes.
    """

    remembers: ClassVar[bool] = True
    keeps: ClassVar[bool] = False

    variables: dict[str, Variable]
    variable_indices: Mapping[str, str]
    codeobj_class: type
    get_array_name: Callable[[Variable], str]
    determine_keywords: Callable[[], dict[str, Any]]
    translate_statement_sequence: Callable[..., Any]

    def translate(self, code: Mapping[str, str], dtype: type) -> tuple[Any, Any, dict[str, Any]]:
        if not self.remembers:
            return self._translated(code, dtype)
        keys = {name: self._key(name, block, dtype) for name, block in code.items()}
        blocks = {name: _remembered[key] for name, key in keys.items() if key in _remembered}
        if len(blocks) < len(code):

            def complete() -> dict[str, _Lines]:
                unknown = {name: block for name, block in code.items() if name not in blocks}
                scalar, vector, _ = self._translated(unknown, dtype)
                return {**blocks, **{name: (scalar[name], vector[name]) for name in unknown}}

            blocks = _kept(keys, complete) if self.keeps else complete()
            _remember({keys[name]: lines for name, lines in blocks.items()})
        scalar, vector = ({name: [*blocks[name][k]] for name in code} for k in (0, 1))
        return scalar, vector, self.determine_keywords()

    def _translated(self, code: Mapping[str, str], dtype: type) -> tuple[Any, Any, dict[str, Any]]:
        scalar, vector = {}, {}
        for name, block in code.items():
            scalar[name], vector[name] = make_statements(
                block, self._used(block), dtype, optimise=True, blockname=name
            )
        return self.translate_statement_sequence(scalar, vector)

    def _used(self, block: str) -> dict[str, Variable]:
        """The variables that a block names, by name."""
        names = get_identifiers(block) & set(self.variables)
        return {name: self.variables[name] for name in sorted(names)}

    def _key(self, name: str, block: str, dtype: type) -> str:
        """All that decides what a block becomes."""
        variables = {
            name: (self.variable_indices.get(name), self._described(name, variable))
            for name, variable in self._used(block).items()
        }
        indices = sorted({index for index, _ in variables.values() if index in self.variables})
        loops = [(index, self._described(index, self.variables[index])) for index in indices]
        preferences = [prefs[name] for name in _PREFERENCES]
        language = self.codeobj_class.__name__
        return repr((language, dtype, preferences, name, block, variables, loops))

    def _described(self, name: str, variable: Variable | Function) -> tuple[Any, ...]:
        if isinstance(variable, Function):
            called = variable.implementations[self.codeobj_class].name or name
            types = variable._arg_types, variable._return_type, variable._returns_bool
            return (called, *types, variable.stateless, variable.auto_vectorise)
        is_array = isinstance(variable, ArrayVariable)
        return (
            type(variable).__name__,
            variable.dtype,
            variable.scalar,
            variable.constant,
            variable.read_only,
            getattr(variable, "unique", None),
            getattr(variable, "expr", None),
            # Of arrays it would be what they hold.
            None if is_array else getattr(variable, "value", None),
            self.get_array_name(variable) if is_array else None,
            getattr(getattr(variable, "conditional_write", None), "name", None),
        )


def _remember(blocks: Mapping[str, _Lines]) -> None:
    _remembered.update(blocks)
    for key in [*_remembered][: max(0, len(_remembered) - _MOST_REMEMBERED)]:
        del _remembered[key]


def _kept(keys: Mapping[str, str], make: Callable[[], dict[str, _Lines]]) -> dict[str, _Lines]:
    """The blocks of a program as the cache keeps them, which are made unless they are there."""
    made: dict[str, _Lines] = {}
    with contextlib.ExitStack() as stack:

        def make_folder() -> Path:
            made.update(make())
            folder = stack.enter_context(temporary_folder("eprop_brian_")) / "blocks"
            folder.mkdir()
            (folder / _FILE).write_text(json.dumps(made), encoding="utf-8")
            return folder

        text = json.dumps([_translator(), keys])
        folder, _ = cached(hashlib.sha256(text.encode()).hexdigest()[:32], make_folder)
    if not made:
        # Another process may have made room meanwhile.
        with contextlib.suppress(OSError, ValueError):
            made = json.loads((folder / _FILE).read_text(encoding="utf-8"))
    return made or make()


@functools.cache
def _translator() -> list[str]:
    """Versions of all that translates."""
    folder = Path(__file__).parent
    sources = b"".join((folder / name).read_bytes() for name in _MODULES)
    return [*map(version, _LIBRARIES), hashlib.sha256(sources).hexdigest()]

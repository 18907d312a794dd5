"""Compiling the functions that loops call as parts of the loops.

By itself, Numba optimises each function, makes machine code and a wrapper for Python of it, and
does so again for whatever calls it, to the depth of all calls. That took three fifths of the
time. Functions here are only typed and translated; the whole that calls them is optimised.
"""

# mypy: disallow-untyped-calls=False
# Numba's internals have no types.
from __future__ import annotations

from typing import Any, NoReturn

from numba import _dynfunc  # type: ignore[attr-defined]  # compiled
from numba.core.codegen import JITCodeLibrary
from numba.core.compiler import CompilerBase, DefaultPassBuilder
from numba.core.compiler_machinery import register_pass
from numba.core.environment import lookup_environment
from numba.core.registry import CPUDispatcher
from numba.core.typed_passes import NativeLowering


class CompiledPart(CPUDispatcher):
    """A function without machine code of its own."""

    def __call__(self, *_: Any, **__: Any) -> NoReturn:
        """Refuse to run: there is nothing to call."""
        raise TypeError(f"{self.py_func.__name__} can be called by compiled functions only")


class _Code(JITCodeLibrary):
    """The code of a part, and of the parts that it calls."""

    def _optimize_final_module(self) -> None:
        pass

    def _finalize_final_module(self) -> None:
        self._finalized = True


class _WholeCode(JITCodeLibrary):
    """The code of a function and all its parts."""

    def _optimize_final_module(self) -> None:
        # Reference counts are removed at the end, after the parts are in line, and loops only
        # vectorise without them.
        super()._optimize_final_module()
        super()._optimize_final_module()


@register_pass(mutates_CFG=True, analysis_only=False)
class _PartLowering(NativeLowering):
    _name = "part_lowering"

    def run_pass(self, state: Any) -> bool:
        context, name = state.targetctx, state.func_id.func_qualname
        state.library = _Code(context.codegen(), name)
        state.flags.no_compile = True
        super().run_pass(state)
        function, environment = state.cr.fndesc, state.cr.env
        entry = _dynfunc.make_function(
            function.lookup_module(), name, "", 0, environment, (state.library,)
        )
        context.insert_user_function(entry, function, [state.library])
        state.cr = state.cr._replace(cfunc=entry)
        return True


@register_pass(mutates_CFG=True, analysis_only=False)
class _WholeLowering(NativeLowering):
    _name = "whole_lowering"

    def run_pass(self, state: Any) -> bool:
        codegen = state.targetctx.codegen()
        state.library = _WholeCode(codegen, state.func_id.func_qualname)
        state.library.enable_object_caching()
        super().run_pass(state)
        for variable in state.library._final_module.global_variables:
            environment = lookup_environment(variable.name)
            if environment is not None:  # the constants of one of the parts
                codegen.set_env(variable.name, environment)
        return True


def _passes(state: Any, lowering: type) -> list[Any]:
    """Numba's passes with another last one."""
    manager = DefaultPassBuilder.define_nopython_pipeline(state)
    manager.passes = [
        (lowering if step is NativeLowering else step, text) for step, text in manager.passes
    ]
    manager.finalize()
    return [manager]


class PartCompiler(CompilerBase):
    """Compiler of parts."""

    def define_pipelines(self) -> list[Any]:
        """The passes."""
        return _passes(self.state, _PartLowering)


class WholeCompiler(CompilerBase):
    """Compiler of functions that Python calls."""

    def define_pipelines(self) -> list[Any]:
        """The passes."""
        return _passes(self.state, _WholeLowering)

"""Runs the blocks of a network: one code object, whose template owns the loops."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from brian2.devices.device import get_device
from brian2.groups.group import CodeRunner

from eprop_brian.network.blocks import StepCode
from eprop_brian.steps.nodes import Node

__all__ = ["StepRunner"]


class StepRunner(CodeRunner):
    """Runs a fused step: one code object, many blocks.

    Parameters
    ----------
    group : brian2 Group
        Whose clock it follows.
    code : StepCode
    plan : dict
        What the template reads as ``plan``.
    codeobj_class : type
        Code object class whose templates include `template`.
    template : str
    schedule : sequence of Node, optional
        What the template's ``printed`` writes in the language of the code objects.
    real : str
        Float type of all state, for the schedule.
    """

    def __init__(
        self,
        group,
        code: StepCode,
        plan: dict[str, Any],
        codeobj_class,
        template: str = "step",
        schedule: Sequence[Node] = (),
        real: str = "double",
    ) -> None:
        self.variables = code.variables
        self.step_code = code

        def printed(scalar, vector, memory=None) -> str:
            printer = codeobj_class.printer(code, scalar, vector, self._pointer, real, memory)
            return printer.text(schedule)

        CodeRunner.__init__(
            self,
            group,
            template,
            code=code.blocks,
            clock=group.clock,
            when="start",
            name="step_runner",
            check_units=False,
            template_kwds={"plan": plan, "ptr": self._pointer, "printed": printed},
            codeobj_class=codeobj_class,
        )

    def create_default_code_object(self, run_namespace):
        """As Brian2's, but made once, and under a fixed name: equal networks give equal sources."""
        if self.codeobj is not None:
            return self.codeobj
        # Not by Brian2's create_runner_codeobj, which looks for the variables of every block by
        # hashing all of them: `StepCode` knows them.
        code = self.step_code
        names = code.unknown()
        functions = self.group.resolve_all(names, run_namespace, user_identifiers=set())
        self.codeobj = get_device().code_object(
            owner=self.group,
            name="step_codeobject",
            abstract_code=code.blocks,
            variables={**code.variables, **functions, "N": self.group.variables["N"]},
            template_name=self.template,
            variable_indices=code.variables.indices,
            template_kwds=self.template_kwds,
            codeobj_class=self.codeobj_class,
        )
        return self.codeobj

    def _pointer(self, name: str) -> str:
        return self.codeobj_class.generator_class.get_array_name(self.variables[name])

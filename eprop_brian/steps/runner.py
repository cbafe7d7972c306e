"""Runs the blocks of a network: one code object, whose template owns the loops."""

from __future__ import annotations

from typing import Any

from brian2.devices.device import get_device
from brian2.groups.group import CodeRunner, Group

from eprop_brian.steps.blocks import StepCode
from eprop_brian.steps.printer import Printer
from eprop_brian.steps.schedule import Schedule

__all__ = ["StepRunner"]


class StepRunner(CodeRunner):
    """Runs a fused step: one code object, many blocks.

    Parameters
    ----------
    group : brian2 Group
        Whose clock it follows.
    code : StepCode
    schedule : Schedule
        Its frame is what the template reads as ``frame``; ``printer`` writes its phases in the
        language of the code objects.
    codeobj_class : type
        Code object class whose templates include the schedule's.
    real : str
        Float type of all state.
    """

    codeobj: Any

    def __init__(
        self, group: Group, code: StepCode, schedule: Schedule, codeobj_class: Any, real: str
    ) -> None:
        self.variables = code.variables
        self.step_code, self.schedule = code, schedule

        def printer(scalar, vector, memory=None) -> Printer:
            return codeobj_class.printer(
                code, schedule, scalar, vector, self._pointer, real, memory
            )

        CodeRunner.__init__(
            self,
            group,
            schedule.template,
            code=code.blocks,
            clock=group.clock,
            when="start",
            name="step_runner",
            check_units=False,
            template_kwds={"frame": schedule.frame, "ptr": self._pointer, "printer": printer},
            codeobj_class=codeobj_class,
        )

    def create_default_code_object(self, run_namespace):
        """As Brian2's, but made once, and under a fixed name: equal networks give equal sources."""
        if self.codeobj is not None:
            return self.codeobj
        # Not by Brian2's create_runner_codeobj, which looks for the variables of every block by
        # hashing all of them: `StepCode` has them by name.
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

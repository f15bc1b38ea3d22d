"""Who acts: the agent or the action head of a run."""

import dataclasses
import pathlib
from typing import Any

from rich.console import Console

from mummi.agent import Agent
from mummi.imitation import record as imitation
from mummi.imitation.pilot import load_pilot
from mummi.model.trust import Judge, Thresholds
from mummi.model.world_model import WorldModel
from mummi.policy import Acting
from mummi.runs import parameters
from mummi.runs.record import Run


@dataclasses.dataclass(frozen=True)
class Trained:
    """Who acts: the agent or action head of a run at its last checkpoint.

    Attributes:
        agent: an ``Agent``, or the ``Pilot`` of an action head.
        parameters: of the agent; None of a pilot.
        step: of the checkpoint.
        imitates: whether it is a pilot.
    """

    agent: Acting
    parameters: Any
    step: int
    imitates: bool

    @classmethod
    def load(cls, logdir: pathlib.Path, record: Run) -> "Trained":
        """That of a run.

        Raises:
            FileNotFoundError: it has no checkpoint or no trained head yet.
        """
        if imitation.is_imitation(logdir):
            pilot, step = load_pilot(logdir)
            return cls(pilot, None, step, True)
        agent = Agent(record.config, record.modalities, record.action_size)
        return cls(agent, *parameters.load(logdir, agent), False)

    @property
    def world_model(self) -> tuple[WorldModel, dict]:
        """The world model and its parameters."""
        if self.imitates:
            return self.agent.world_model
        return self.agent.model, self.parameters.model

    def can_trust(self, console: Console) -> bool:
        """Whether sensors that lie can be found; says why where they cannot."""
        try:
            Judge(self.world_model[0])
        except ValueError as error:
            console.print(str(error))
            return False
        return True

    def trusting(self, thresholds: Thresholds) -> "Trained":
        """The same, who leaves out sensors that lie."""
        return dataclasses.replace(self, agent=self.agent.trusting(thresholds))

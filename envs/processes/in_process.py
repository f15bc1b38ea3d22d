"""Ready-made environments as one batch, without processes."""

from collections.abc import Sequence

from envs.base import Environment
from envs.processes.parallel import ParallelEnvironments
from envs.processes.process import Local
from envs.processes.worker import Host


class InProcess(ParallelEnvironments):
    """Ready-made environments that step one after the other in this process.

    Args:
        environments: at least one, of equal modalities, action size and action repeat.

    Raises:
        ValueError: for none, or environments that differ.
    """

    def __init__(self, environments: Sequence[Environment]):
        self._environments = list(environments)
        for environment in self._environments[1:]:
            for member in ("modalities", "action_size", "action_repeat"):
                one, other = (getattr(e, member) for e in (self._environments[0], environment))
                if one != other:
                    raise ValueError(f"environments differ: {member} is {one} and {other}")
        super().__init__("in_process", range(len(self._environments)), processes=False)

    def _start(self, k: int) -> Local:
        return Local(Host(self._memory.fileno(), k, self._task, self._environments[k]))

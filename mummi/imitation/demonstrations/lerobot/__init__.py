"""LeRobot's v3 datasets, read and written without torch and without LeRobot itself."""

from mummi.imitation.demonstrations.lerobot.reader import LeRobotDemonstrations
from mummi.imitation.demonstrations.lerobot.writer import LeRobotWriter

__all__ = ["LeRobotDemonstrations", "LeRobotWriter"]

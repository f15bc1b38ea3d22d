"""Demonstrations: files and folders of every common format load here, and ours elsewhere."""

from mummi.imitation.demonstrations.demonstration import (
    INSTRUCTION,
    DataSet,
    Demonstration,
    Writer,
)
from mummi.imitation.demonstrations.formats import (
    FORMATS,
    Format,
    find_format,
    find_writer,
    open_data,
)
from mummi.imitation.demonstrations.instruction import open_with_instruction
from mummi.imitation.demonstrations.lerobot import LeRobotDemonstrations, LeRobotWriter
from mummi.imitation.demonstrations.libero import LiberoDemonstrations
from mummi.imitation.demonstrations.reading import Reading
from mummi.imitation.demonstrations.robomimic import Demonstrations
from mummi.imitation.demonstrations.writer import DemonstrationWriter

__all__ = [
    "FORMATS",
    "INSTRUCTION",
    "DataSet",
    "Demonstration",
    "DemonstrationWriter",
    "Demonstrations",
    "Format",
    "LeRobotDemonstrations",
    "LeRobotWriter",
    "LiberoDemonstrations",
    "Reading",
    "Writer",
    "find_format",
    "find_writer",
    "open_data",
    "open_with_instruction",
]

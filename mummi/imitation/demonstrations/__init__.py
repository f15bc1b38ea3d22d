"""Demonstrations in HDF5: robomimic's and LIBERO's files load here, and ours there."""

from mummi.imitation.demonstrations.libero import LiberoDemonstrations, libero_files
from mummi.imitation.demonstrations.reader import Demonstration, Demonstrations
from mummi.imitation.demonstrations.writer import DemonstrationWriter

__all__ = [
    "Demonstration",
    "DemonstrationWriter",
    "Demonstrations",
    "LiberoDemonstrations",
    "libero_files",
]

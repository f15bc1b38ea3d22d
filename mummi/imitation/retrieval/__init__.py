"""Retrieval-guided prediction with missing modalities (RL4IL)."""

from mummi.imitation.retrieval.config import RetrievalConfig, StageConfig
from mummi.imitation.retrieval.distance import modality_fair_distance
from mummi.imitation.retrieval.estimator import Retrieval
from mummi.imitation.retrieval.retriever import Retrieved

__all__ = ["Retrieval", "RetrievalConfig", "Retrieved", "StageConfig", "modality_fair_distance"]

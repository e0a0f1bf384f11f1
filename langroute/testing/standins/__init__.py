"""Stand-in models: they do the work of a pipeline for real, if modestly, on whatever text they are given.

No answer is written down anywhere: they rank, cut and fill from the prompt alone, deterministically.
`large` reads everything, follows two hops and quotes word for word; `small` is right on easy input and
truly fails on several documents, several hops or a long context, in ways that verifiers can see.
Reading order: skill, prompt, words, ranking, evidence; then one file a job; brain chooses the job.
"""

from langroute.testing.standins.brain import large, small, stand_in
from langroute.testing.standins.ranking import Bm25
from langroute.testing.standins.skill import LARGE, SMALL, Skill

__all__ = ["LARGE", "SMALL", "Bm25", "Skill", "large", "small", "stand_in"]

"""Which sentences of the documents answer a question; the large stand-in also follows what they lead to."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from langroute.testing.standins.prompt import Source
from langroute.testing.standins.ranking import Bm25
from langroute.testing.standins.skill import Skill
from langroute.testing.standins.words import is_prose, sentences, stems

__all__ = ["Evidence", "Finding", "find"]

_COVERED_WEIGHT = 0.4
"""What a word of the question still counts once a chosen sentence has it: the next is to bring others."""
_HOP_WEIGHT = 0.9
"""What a word counts that the question does not have but the first evidence does."""
_HOP_WORDS = 3
_WORTHWHILE = 0.22
"""Share of the best score below which a sentence is not evidence."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """One sentence that speaks to the question, word for word, and the document it stands in."""

    document: str
    sentence: str


@dataclass(frozen=True, slots=True)
class Finding:
    """What was found, best first, and how much of the question it covers."""

    evidence: tuple[Evidence, ...]
    coverage: float
    """Share in [0, 1] of the question's words, weighted by how telling they are, that the evidence has."""


def find(
    question: str, documents: Sequence[Source], skill: Skill, *, limit: int | None = None, avoid: str = ""
) -> Finding:
    """Return the sentences that answer a question, best first.

    Args:
        question: What is asked, in any words.
        documents: What was read.
        skill: How many sentences and hops.
        limit: Sentences at most; the skill's own number when None.
        avoid: A character that no sentence may have.
    """
    pool = [item for item in _pool(documents) if not avoid or avoid not in item.sentence]
    index = Bm25([item.sentence for item in pool])
    wanted = {term: float(count) for term, count in Counter(stems(question)).items()}
    weights, best = dict(wanted), 0.0
    chosen: list[int] = []
    while len(chosen) < min(limit or skill.sentences, len(pool)):
        scores = [-1.0 if at in chosen else score for at, score in enumerate(index.scores(weights))]
        at = max(range(len(pool)), key=scores.__getitem__)
        best = max(best, scores[at])
        if scores[at] <= 0 or scores[at] < _WORTHWHILE * best:
            break
        chosen.append(at)
        if skill.hops > 1:
            weights = _after(weights, stems(pool[at].sentence), index, hop=len(chosen) <= skill.hops)
    evidence = tuple(pool[at] for at in chosen)
    return Finding(evidence, _coverage(wanted, evidence, index))


def _pool(documents: Sequence[Source]) -> list[Evidence]:
    """Return every sentence that could stand in an answer, repeated ones once."""
    pool: dict[tuple[str, ...], Evidence] = {}
    for document in documents:
        for sentence in sentences(document.text):
            if is_prose(sentence):
                pool.setdefault(tuple(stems(sentence)), Evidence(document.id, sentence))
    return list(pool.values())


def _after(weights: dict[str, float], seen: list[str], index: Bm25, *, hop: bool) -> dict[str, float]:
    """Return the weights once a sentence is chosen: its words count less, and a hop adds where it leads."""
    lowered = {term: weight * (_COVERED_WEIGHT if term in seen else 1.0) for term, weight in weights.items()}
    # A word that stands nowhere else leads nowhere.
    new = [term for term in set(seen) - weights.keys() if hop and index.texts_with(term) > 1]
    rarest = sorted(new, key=lambda term: (index.texts_with(term), term))[:_HOP_WORDS]
    return lowered | dict.fromkeys(rarest, _HOP_WEIGHT)


def _coverage(wanted: dict[str, float], evidence: Sequence[Evidence], index: Bm25) -> float:
    seen = {term for item in evidence for term in stems(item.sentence)}
    # A word that no document has counts like the most telling one: it is what the evidence lacks.
    most = max((index.idf(term) for term in wanted), default=0.0) or 1.0
    total = sum(index.idf(term) or most for term in wanted)
    return sum(index.idf(term) for term in wanted if term in seen) / total if total else 0.0

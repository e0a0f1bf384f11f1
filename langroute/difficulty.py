"""How hard a request looks before there is a reply: a hand-set logistic score over cheap features.

The weights are set by hand, not learned. Length leads, because on RouteLLM's recorded outcomes length
alone, untrained, ranks MMLU prompts with an APGR (average performance gap recovered; chance is 0.50) of
0.59 and GSM8K's with 0.60. The markers add nothing to that on such quizzes (the whole score: 0.58 and 0.59);
they are there for the prompts of pipelines, with documents and several hops, which quizzes do not have.
Text before the reply says little about difficulty: a step opts in with a threshold, and should measure it.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

from langroute.request import Request

__all__ = ["Difficulty", "difficulty"]


@dataclass(frozen=True, slots=True)
class Difficulty:
    """A score and what it is made of."""

    score: float
    """In [0, 1]: 0.1 for a greeting, 0.3 for a plain page, 0.8 for a long question of several hops."""
    contributions: tuple[tuple[str, float, float], ...]
    """Feature, its value, and the points (log-odds) it adds; features that add nothing are left out."""

    @property
    def leading(self) -> str:
        """The two features that add most, for a reason: `length 1.9, reasoning 1.2`."""
        largest = sorted(self.contributions, key=lambda part: -part[2])[:2]
        return ", ".join(f"{feature} {points:.1f}" for feature, _, points in largest)


_BIAS = -2.6
"""Log-odds of an empty prompt: a score of 0.07."""

# Word lists read better as prose, hence each `noqa: SIM905`.
_REASONING = frozenset(
    """analyse analyze assess calculate conclude critique debug deduce derive diagnose design
    estimate evaluate explain hypothesis imply implies infer justify optimise optimize plan proof prove
    reason refactor solve theorem tradeoff tradeoffs trade-off trade-offs verify why
    pourquoi explique expliquer analyser prouver démontrer warum erkläre analysiere beweise begründe berechne
    porque explica explicar analiza demuestra calcula perché spiega analizza dimostra
    почему объясни докажи проанализируй вычисли""".split()  # noqa: SIM905
)
_HOPS = frozenset(
    """after although because before between both compare compared contrast difference differences differ each
    either former given latter respectively than then therefore unless versus vs whereas whether which while
    whose comparer différence entre vergleiche unterschied zwischen compara diferencia
    сравни разница между""".split()  # noqa: SIM905
)
_SHAPE = frozenset(
    """bullet bullets checklist csv diagram essay html json list markdown numbered outline report rewrite
    schema sections sql step-by-step steps summarise summarize table tableau tabelle tabla timeline xml yaml
    таблица список""".split()  # noqa: SIM905
)
# Scripts written without spaces have no words to look up.
_UNSPACED = {
    "reasoning": (
        "为什么",
        "為什麼",
        "证明",
        "證明",
        "分析",
        "解释",
        "なぜ",
        "証明",
        "説明して",
        "왜",
        "증명",
    ),
    "hops": ("比较", "比較", "区别", "區別", "之间", "違い", "비교", "차이"),
    "shape": ("表格", "列表", "步骤", "箇条書き", "一覧"),
}
_QUESTION_MARKS = "?\uff1f\u061f"
"""Latin, full-width and Arabic."""

_CODE = (
    "```",
    "();",
    "()",
    "{\n",
    ";\n",
    "\ndef ",
    "\nclass ",
    "#include",
    " => ",
    " != ",
    " == ",
    "SELECT ",
)
_MATH = (
    "\\frac",
    "\\sum",
    "\\int",
    "\\sqrt",
    "\\begin{",
    "$$",
    " = ",
    " + ",
    "^",
    "∑",
    "∫",
    "√",
    "≤",
    "≥",
    "∀",
    "∃",
)
_PUNCTUATION = str.maketrans(dict.fromkeys('!"#$%&()*+,./:;<=>?@[\\]^_`{|}~¿¡«»“”„…', " "))


def difficulty(request: Request) -> Difficulty:
    """Return how hard the request looks: `1 / (1 + exp(-(bias + sum of points)))`.

    | feature | value | points |
    |---|---|---|
    | length | estimated tokens t of the whole prompt | 0.42 ln(1 + t / 10) |
    | reasoning | different words that ask for reasoning | 0.5 each, up to 3 |
    | hops | different words that tie facts together | 0.3 each, up to 4 |
    | code | 1 where the prompt shows code | 0.7 |
    | math | 1 where it shows formulas | 0.3 |
    | documents | documents d in the prompt | 0.35 ln(1 + d) |
    | shape | different words for a demanded form of output | 0.3 each, up to 2 |
    | questions | question marks beyond the first | 0.3 each, up to 3 |

    Words, code and formulas are looked for in the last human message without its documents (head and tail
    where it is long): what sources and instructions say makes no question harder. Length is that of the
    whole prompt, so a longer prompt never scores lower for being longer.
    """
    asked = request.asked
    folded = asked.casefold()
    words = frozenset(folded.translate(_PUNCTUATION).split())
    unspaced = not folded.isascii()
    questions = sum(folded.count(mark) for mark in _QUESTION_MARKS) if unspaced else folded.count("?")
    parts = (
        _part("length", request.estimated_tokens, lambda tokens: 0.42 * math.log1p(tokens / 10)),
        _part("reasoning", _hits(words, _REASONING, folded, "reasoning", unspaced=unspaced), _each(0.5, 3)),
        _part("hops", _hits(words, _HOPS, folded, "hops", unspaced=unspaced), _each(0.3, 4)),
        _part("code", any(map(asked.__contains__, _CODE)), _each(0.7, 1)),
        _part("math", any(map(asked.__contains__, _MATH)), _each(0.3, 1)),
        _part("documents", request.document_count, lambda count: 0.35 * math.log1p(count)),
        _part("shape", _hits(words, _SHAPE, folded, "shape", unspaced=unspaced), _each(0.3, 2)),
        _part("questions", max(questions - 1, 0), _each(0.3, 3)),
    )
    score = 1 / (1 + math.exp(-(_BIAS + sum(points for _, _, points in parts))))
    return Difficulty(score, tuple(part for part in parts if part[2]))


def _part(feature: str, value: float, points: Callable[[float], float]) -> tuple[str, float, float]:
    return feature, float(value), points(float(value))


def _each(points: float, most: int) -> Callable[[float], float]:
    return lambda value: points * min(value, most)


def _hits(
    words: frozenset[str], markers: frozenset[str], folded: str, feature: str, *, unspaced: bool
) -> int:
    hits = len(words & markers)
    if unspaced:
        hits += sum(marker in folded for marker in _UNSPACED[feature])
    return hits

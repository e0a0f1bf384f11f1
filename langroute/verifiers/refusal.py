"""Replies that do not answer: refusals, and hedging where an answer should begin.

Both are read off the opening of a reply, so that a stream can start early, and never inside
quotation marks or quoted lines: an answer about refusals is no refusal. Saying that the documents do
not hold the answer is neither.
"""

import re
from typing import ClassVar, Literal

from langroute.cascade import Verdict
from langroute.verifiers.base import PREFIX_CHARS, Case, Verifier, shown
from langroute.verifiers.finish import ending, refusal_text

__all__ = ["NoHedging", "NoRefusal"]

_QUOTED = re.compile(
    r"\"[^\"\n]*(?:\"|$)|“[^”\n]*(?:”|$)|«[^»\n]*(?:»|$)|`[^`\n]*(?:`|$)|^[ \t]*>.*$", re.MULTILINE
)
_SENTENCE = re.compile(r"(?<=[.!?])\s+|(?<=[。！？])|\n+")
_LEAD = re.compile(r"^[\s*_#-]+")

_VERBS = (
    "help assist comply fulfil fulfill provide answer discuss share support engage create generate write "
    "give continue process complete respond participate helping assisting creating generating writing"
)
_DO = rf" ?(?:{_VERBS.replace(' ', '|')}|do (?:that|this|so))\b(?! but\b)"
_CANNOT = r"i (?:really |simply |just )?(?:can(?:no|')t|can not|won't|will not)(?: be able to)?"
_UNABLE = r"i(?:'m| am) (?:not able|unable|not allowed|not permitted|not comfortable|not going) (?:to|with)?"
_DECLINE = r"i(?:'m going to| must| have to| will)?(?: respectfully| politely)? (?:decline|refuse)\b"
_SORRY = r"(?:i'm|i am) (?:very |so |really |truly )?(?:sorry|afraid)|sorry|(?:my )?apologies|i apologi[sz]e"
_AS_AI = r"as an? (?:ai(?: language model| assistant)?|(?:large )?language model)\b"
_LED = rf"(?:(?:{_SORRY}|unfortunately|{_AS_AI})[^.!?\n]{{0,60}}?\b)?"
_KANN = "(?:(?:kann|darf) ich|ich (?:kann|darf))"
_GAP = r"\b[^.!?\n]{0,60}?\b"
_REFUSALS = re.compile(
    "|".join(
        (
            rf"{_LED}(?:{_CANNOT}{_DO}|{_UNABLE}{_DO}|{_DECLINE})",
            rf"(?:es tut mir leid|leider|entschuldigung){_GAP}{_KANN}{_GAP}nicht\b",
            rf"(?:(?:je suis )?désolée?|je regrette){_GAP}je ne (?:peux|puis)\b",
            rf"(?:lo siento|lo lamento|lamentablemente){_GAP}no puedo\b",
            rf"(?:mi dispiace|purtroppo){_GAP}non posso\b",
            rf"(?:desculpe|sinto muito|lamento|infelizmente){_GAP}não posso\b",
            rf"(?:het spijt me|sorry|helaas){_GAP}(?:kan ik|ik kan){_GAP}niet\b",
            r"(?:很?抱歉|对不起)[^。！？\n]{0,30}(?:无法|不能)",
            r"(?:申し訳|すみません)[^。！？\n]{0,40}(?:できません|できかねます)",
        )
    ),
    re.IGNORECASE,
)
_HEDGES = re.compile(
    r"\bi(?:'m| am) (?:(?:not (?:\w+ )?(?:sure|certain))|unsure|uncertain)\b"
    r"|\bi (?:do not|don't) (?:really |actually )?know\b"
    r"|\bi (?:can't|cannot|can not) (?:be|say for|tell for) (?:sure|certain)\b"
    r"|\bi (?:might|may|could) be (?:wrong|mistaken)\b"
    r"|\b(?:as far as i (?:know|can tell)|to the best of my knowledge|if i (?:remember|recall) correctly)\b"
    r"|\b(?:my best guess|i(?:'m| am) guessing|i(?:'d| would)? guess)\b"
    r"|\bit(?:'s| is) (?:hard|difficult|impossible) (?:for me )?to (?:say|tell|know)\b"
    r"|\bdon't quote me\b",
    re.IGNORECASE,
)


class NoRefusal(Verifier):
    """The reply does not refuse: neither by a field of the provider's, nor in its first two sentences.

    Read in English, and in the usual forms of German, French, Spanish, Italian, Portuguese, Dutch,
    Chinese and Japanese.
    """

    name: ClassVar[str] = "no_refusal"
    reads: ClassVar[Literal["prefix", "reply"]] = "prefix"

    def check(self, case: Case) -> Verdict:
        """Accept a reply that does not open with a refusal."""
        marked = refusal_text(case.reply)
        if marked is not None:
            return self.rejects(f"the provider marks the reply as a refusal: {shown(marked)}")
        if ending(case.reply) == "withheld":
            return self.rejects("the provider withheld the reply or a part of it")
        refusal = next((s for s in _opening_sentences(case.text) if _REFUSALS.match(s)), None)
        if refusal is not None:
            return self.rejects(f"the reply refuses: {shown(refusal)}")
        return self.accepts("the reply does not refuse")


class NoHedging(Verifier):
    """The reply does not open by doubting itself: "I'm not sure", "my best guess", "I could be wrong".

    Hedges of the matter (may, likely, about) are no fault, and neither is "I think". Read in English.
    """

    name: ClassVar[str] = "no_hedging"
    reads: ClassVar[Literal["prefix", "reply"]] = "prefix"

    def check(self, case: Case) -> Verdict:
        """Accept a reply whose first 300 characters do not doubt it."""
        hedge = _HEDGES.search(_opening(case.text))
        if hedge is not None:
            return self.rejects(f"the reply is unsure of itself: {hedge.group()}")
        return self.accepts("the reply does not hedge")


def _opening(text: str) -> str:
    """Return the first characters of a reply without what it quotes, apostrophes straight."""
    return _QUOTED.sub('""', text.lstrip()[:PREFIX_CHARS].replace("’", "'"))


def _opening_sentences(text: str) -> list[str]:
    sentences = [_LEAD.sub("", sentence) for sentence in _SENTENCE.split(_opening(text))]
    return [sentence for sentence in sentences if sentence][:2]

"""Replies that do not answer: refusals, and hedging where an answer should begin.

Both are read off the opening of a reply, so that a stream can start early, and never inside
quotation marks or quoted lines: an answer about refusals is no refusal. Saying that the documents do
not hold the answer is neither, and neither is "I can't give the exact figure, but it is about 3,000 km".
What follows the "but" must answer: an offer, an advice or a way out ("but you should see a lawyer",
"but I can help with something else") leaves the refusal a refusal.
"""

import re
from typing import ClassVar, Literal

from langroute.cascade import Verdict
from langroute.verifiers.base import PREFIX_CHARS, Case, Verifier, shown, without_thoughts
from langroute.verifiers.finish import ending, refusal_text

__all__ = ["NoHedging", "NoRefusal", "refuses"]

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
_SERVE = r" (?:help|assist|comply|fulfill?|engage|do (?:that|this|so))\b(?! but\b)"
_I_CAN = r" i(?:'m| am| can| could| will)\b"
_CANNOT = r"i (?:really |simply |just )?(?:can(?:no|')t|can not|won't|will not)(?: be able to)?"
_UNABLE = r"i(?:'m| am) (?:not able|unable|not allowed|not permitted|not going|not willing) (?:to|with)?"
_UNEASY = r"i(?:(?:'m| am) (?:not |un)|(?: do not| don't| wouldn't) feel | feel un)comfortable\b"
_DECLINE = r"i(?:'m going to| must| have to| will)?(?: respectfully| politely)? (?:decline|refuse)\b"
_SORRY = r"(?:i'm|i am) (?:very |so |really |truly )?(?:sorry|afraid)|sorry|(?:my )?apologies|i apologi[sz]e"
_AS_AI = r"as an? (?:ai(?: language model| assistant)?|(?:large )?language model)\b"
_LED = rf"(?:no[,:;]? )?(?:(?:{_SORRY}|unfortunately|{_AS_AI})[^.!?\n]{{0,60}}?\b)?"
_GAP = r"\b[^.!?\n]{0,60}?\b"
_RULES = r"(?:[\w-]+ ){0,3}(?:guidelines?|polic(?:y|ies)|principles|programming|instructions|rules|training)"
_BREAKS = r"(?:violat\w+|goes against|(?:is|are) against|conflicts? with|breach\w*)"
_STOPS = r"(?:prevent|prohibit|forbid|(?:do not|don't) (?:allow|permit)|restrict)s?"
_IMPROPER = r"(?:inappropriate|unethical|improper|wrong|not (?:appropriate|right|ethical|proper|possible))"
_THIS = r"(?:this|that|it|your|such|the)\b"
_KANN = "(?:(?:kann|darf|werde|möchte) ich|ich (?:kann|darf|werde|möchte))"
_NICHT = r"nicht (?:(?:weiter)?helfen|erfüllen|beantworten|antworten|unterstützen|nachkommen|behilflich)\b"
_REFUSALS = re.compile(
    "|".join(
        (
            rf"{_LED}(?:{_CANNOT}{_DO}|{_CANNOT}[.!]?\Z|{_UNABLE}{_DO}|{_UNEASY}|{_DECLINE})",
            rf"{_LED}{_THIS}{_GAP}{_BREAKS} my {_RULES}",
            rf"{_LED}{_THIS}{_GAP}(?:so|therefore|thus|and),? (?:unfortunately,? )?{_CANNOT}{_SERVE}",
            rf"{_LED}my {_RULES}{_GAP}{_STOPS} me\b",
            rf"{_LED}(?:that|this|it)(?:'s not| is not| isn't) (?:something|a \w+)(?: that| which)?{_I_CAN}",
            rf"{_LED}it(?:'s| is| would be|'d be) {_IMPROPER} for me to{_DO}",
            rf"{_LED}it (?:wouldn't be|isn't) \w+ for me to{_DO}",
            rf"(?:es tut mir leid|leider|entschuldigung){_GAP}{_KANN}{_GAP}nicht\b",
            rf"(?:nein, )?(?:(?:dabei|damit|hierbei|das|dies\w*(?: \w+)?) )?{_KANN}{_GAP}{_NICHT}",
            rf"(?:(?:je suis )?désolée?|je regrette){_GAP}je ne (?:peux|puis)\b",
            rf"(?:lo siento|lo lamento|lamentablemente){_GAP}no puedo\b",
            rf"(?:mi dispiace|purtroppo){_GAP}non posso\b",
            rf"(?:desculpe|sinto muito|lamento|infelizmente){_GAP}não posso\b",
            rf"(?:het spijt me|sorry|helaas){_GAP}(?:kan ik|ik kan){_GAP}niet\b",
            r"je ne (?:peux|puis) (?:malheureusement )?pas (?:vous |t'|te )?(?:y )?(?:aider|répondre)\b",
            r"no puedo (?:ayudar|responder|cumplir)\w*",
            r"non posso (?:aiutar|risponder)\w*",
            r"não posso (?:ajudar|responder|cumprir)\w*",
            r"ik kan (?:je|u) (?:hier|daar|helaas)\b[^.!?\n]{0,30}niet\b[^.!?\n]{0,10} helpen\b",
            r"(?:很?抱歉|对不起)[^。！？\n]{0,30}(?:无法|不能)",
            r"我(?:无法|不能)[^。！？\n]{0,10}(?:帮助|协助|回答|提供)",
            r"(?:申し訳|すみません)[^。！？\n]{0,40}(?:できません|できかねます)",
        )
    ),
    re.IGNORECASE,
)
_BUT = re.compile(
    r"[,;.!]?\s(?:but|however|although|still)\b,?\s*(?:unfortunately,? )?([^.!?\n]*(?:\.\d[^.!?\n]*)*)",
    re.IGNORECASE,
)
_BUT_ELSEWHERE = re.compile(
    r"\b(?:aber|jedoch|mais|pero|ma|mas|maar)\b[^.!?\n]*|但[^。！？\n]*", re.IGNORECASE
)
_TURNS_AWAY = re.compile(
    r"(?:you|please|feel free|let me|if|perhaps|maybe|we|my|this|that|such|thank|do|what|how|instead"
    r"|there are|call|contact|consult|see|seek|talk|speak|reach|try|consider|check|ask|visit|refer)\b"
    r"|.*\b(?:resources?|professional|hotline|illegal|harmful|unethical|guidelines|polic(?:y|ies)|someone"
    r"|important to)\b",
    re.IGNORECASE,
)
_OFFERS = re.compile(r"(?:i|i'm|i'd|i'll|happy|glad)\b", re.IGNORECASE)
_MIN_ANSWER_WORDS = 3
_ON_DOCUMENTS = re.compile(
    r"\b(?:based on|from|in|with|given|because|anhand|aus|laut)\b(?: \w+){0,3}"
    r" (?:documents?|context|sources?|passages?|excerpts?|dokumenten?|unterlagen|quellen)\b",
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
        refusal = _refusal(_opening(case.text))
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


def refuses(text: str) -> bool:
    """Return whether a text opens with a refusal."""
    return _refusal(_opening(text)) is not None


def _opening(text: str) -> str:
    """Return the first characters of a reply without what it quotes, apostrophes straight."""
    said = without_thoughts(text).lstrip()[:PREFIX_CHARS]
    return _QUOTED.sub('""', said.replace("’", "'"))


def _refusal(opening: str) -> str | None:
    """Return the first of two sentences that refuses, None where none does or an answer follows it."""
    sentences = [_LEAD.sub("", sentence) for sentence in _SENTENCE.split(opening)]
    sentences = [sentence for sentence in sentences if sentence]
    for at, sentence in enumerate(sentences[:2]):
        refused = _REFUSALS.match(sentence)
        if refused and not _ON_DOCUMENTS.search(sentence):
            rest = " ".join((sentence[refused.end() :], *sentences[at + 1 : at + 2]))
            return None if _answers(rest) else sentence
    return None


def _answers(rest: str) -> bool:
    """Return whether what follows a refusal goes on, after a "but", to give an answer after all."""
    turn = _BUT.search(rest)
    if turn is None:
        elsewhere = _BUT_ELSEWHERE.search(rest)
        return elsewhere is not None and any(map(str.isdigit, elsewhere.group()))
    said = turn.group(1)
    if _TURNS_AWAY.match(said):
        return False
    if _OFFERS.match(said):
        return any(map(str.isdigit, said))
    return len(said.split()) >= _MIN_ANSWER_WORDS

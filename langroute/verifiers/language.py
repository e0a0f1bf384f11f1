"""Which language a text is in, by its script and its commonest words; unknown where they do not tell."""

# ruff: noqa: RUF001  # letters of many languages look alike; that is the point

import re
from collections import Counter
from typing import ClassVar, Literal

from pydantic import Field

from langroute.cascade import Verdict
from langroute.verifiers.base import Case, Verifier, without_thoughts

__all__ = ["Code", "Language", "detect_language"]

_SAMPLE_CHARS = 2_000
"""Characters read: 300 words tell a language as surely as 300,000."""

_ENDS_CHARS = 500
"""Characters read at each end of a long question, where the instruction is; documents stand between."""

_MIN_HITS = 2
_MIN_SHARE = 0.15
"""Least share of common words: a text that has fewer is a list, or in a language that is not known here."""

_MIN_HAN = 8
"""Chinese characters below which a text may as well be a Japanese name."""

_MIN_LEAD = 1.5
"""By how much the best language must beat the second, since neighbours share words."""

_IGNORED = re.compile(r"```.*?(?:```|\Z)|`[^`\n]*`|https?://\S+|<[^<>\n]{1,200}>", re.DOTALL)
_LETTERS = re.compile(r"[^\W\d_]+")

_SCRIPTS = {
    "ja": re.compile(r"[\u3040-\u30ff]"),
    "ko": re.compile(r"[\uac00-\ud7af]"),
    "zh": re.compile(r"[\u3400-\u9fff]"),
    "el": re.compile(r"[\u0370-\u03ff]"),
    "he": re.compile(r"[\u0590-\u05ff]"),
    "ar": re.compile(r"[\u0600-\u06ff]"),
    "hi": re.compile(r"[\u0900-\u097f]"),
    "th": re.compile(r"[\u0e00-\u0e7f]"),
}
_HAN = _SCRIPTS["zh"]
_PERSIAN = re.compile(r"[\u067e\u0686\u0698\u06a9\u06af\u06cc]")
_DENSE = {"ja", "ko", "zh", "th"}
"""Scripts in which a character is worth about three Latin ones."""

_WRITTEN_IN = {
    "ja": re.compile(r"[\u3040-\u30ff\u3400-\u9fff]"),
    "ko": re.compile(r"[\uac00-\ud7af\u3400-\u9fff]"),
    **dict.fromkeys(("ru", "uk"), re.compile(r"[\u0400-\u052f]")),
    **{code: pattern for code, pattern in _SCRIPTS.items() if code not in {"ja", "ko"}},
}
"""Letters of the languages that are not written in Latin ones."""

_LATIN = re.compile(r"[a-z\u00aa-\u024f\u1e00-\u1eff]", re.IGNORECASE)
_LATIN_PROSE = re.compile(r"\b[a-z\u00df-\u024f]{2,}\b")
_SYMBOL = re.compile(r"(?<![^\W\d_])[\u0370-\u03ff](?![^\W\d_])")
"""A Greek letter alone, which is mathematics."""

_MIN_PROSE = 5
"""Latin words in lower case that make prose; names, units and code are fewer."""

_WORDS = {
    "cs": "a v na je že se s z do o pro jako by to který která které nebo ale jsou byl byla bylo jeho jak "
    "co být může podle při také před není nelze od po ze ve k už jen když",
    "da": "og i at det er en et den til på de som med for af ikke der var har han vi jeg du sig om blev fra "
    "kan eller men skal ved efter også være hvor hvad hvordan hvorfor mere over ja nej når kun",
    "de": "der die das und ist nicht ein eine einen einem zu den dem des mit von für auf sich auch wird "
    "werden sind bei oder als nach wie im am zum zur durch über aus wurde haben hat kann können sie "
    "wir ich aber wenn nur noch dass was wo wer warum welche bitte ja ihr ihre diese dieser dieses "
    "vor bis gibt muss soll etwa sehr mehr unter so",
    "en": "the of and to in is that it for was on are as with be by at this from or an have not which but "
    "has were their you can will its there if would they been we he she his her all more about when "
    "what your also than into only does do did how why where who please yes my them these those while "
    "after before between such may must should could no",
    "es": "el la los las de y que en un una es por con para del se no al lo su como más pero sus fue son "
    "este esta también desde está han muy hasta hay donde entre cuando sobre ser puede según usted "
    "sin años cuánto qué cuál cómo dónde sí si ya",
    "fr": "le la les de des et est un une en que qui dans pour par sur pas au aux avec ce cette sont du il "
    "elle ne se plus nous vous ou mais comme été leur ses peut être fait aussi selon ont deux après "
    "très sans était quel quelle combien comment pourquoi oui votre vos entre cela si y ces son sa",
    "it": "il lo la gli le di e che è un una in per con non del della dei delle nel nella sono da si al "
    "alla come più ma anche questo questa ha essere stato può dal dalla degli hanno tra sua suo molto "
    "dopo loro secondo quando quanto quale quali perché dove sì se ci i suoi",
    "nl": "de het een en van is niet in op te dat die voor met zijn er aan ook als bij worden door naar uit "
    "maar om of heeft deze dit over wordt kan hebben nog wel tot meer zou geen ze hij wij moet veel "
    "na al werd wat hoe waarom welke waar wie ja ik je mijn uw kunnen",
    "no": "og i å det er en et den til på de som med for av ikke var har han vi jeg du seg om ble fra kan "
    "eller men skal ved etter også være hvor hva hvordan hvorfor mer over ja nei når bare blir",
    "pl": "w i z na nie się do jest że o jak to po co za od przez ale dla są może być oraz który która "
    "które tym jego czy tak przy już było był tylko ich także można lub bardzo jej jako ma został ile "
    "kiedy gdzie dlaczego jaki jakie tego przed ani",
    "pt": "o a os as de e que em um uma é do da dos das no na nos nas por com para se não ao mais como mas "
    "foi são pelo pela também pode ser está há até ele ela seu sua quando muito já entre você isso "
    "sobre segundo tem qual quais onde sim",
    "ro": "și în este pe nu cu din care la pentru sunt mai ca să se un o de al ale a fost dar sau prin după "
    "între această acest când cum poate fi au",
    "ru": "и что как это или для но был была были из если они от также его её при может быть нельзя чтобы "
    "который сколько где когда почему до",
    "sv": "och att det i en är på som för av med den till inte om ett har de men var från vid kan så eller "
    "när ska efter under också vi jag du han hon deras sin mot genom utan mellan blir alla finns "
    "mycket detta dessa skulle vad hur varför vem vilken ja då där",
    "tr": "ve bir bu için ile de da çok olan olarak gibi daha en ne var kadar sonra ancak değil ya o her ki "
    "veya ise olduğu tarafından göre şey ama oldu olduğunu nasıl mi mı içinde bunu şu yok önce "
    "üzerinde kaç nerede neden niçin evet hayır gün kim hangi",
    "uk": "і що як це або для але та був була було якщо вони від також його її при може бути можна щоб який "
    "скільки де коли чому до й",
}
_HINTS = {
    "cs": "ěřů",
    "de": "ß",
    "es": "ñ¿¡",
    "fr": "œêù",
    "it": "ìò",
    "pl": "ąęłńśźż",
    "pt": "ãõ",
    "ro": "șță",
    "ru": "ыэё",
    "tr": "ğış",
    "uk": "іїєґ",
}
"""Letters that one of the languages has to itself, near enough; each kind found counts as a word."""

_LANGUAGES_OF_WORD: dict[str, tuple[str, ...]] = {
    word: tuple(code for code, words in _WORDS.items() if word in words.split())
    for word in {word for words in _WORDS.values() for word in words.split()}
}

Code = Literal[
    "ar",
    "cs",
    "da",
    "de",
    "el",
    "en",
    "es",
    "fr",
    "he",
    "hi",
    "it",
    "ja",
    "ko",
    "nl",
    "no",
    "pl",
    "pt",
    "ro",
    "ru",
    "sv",
    "th",
    "tr",
    "uk",
    "zh",
]


def detect_language(text: str) -> str | None:
    """Return the two-letter code of the language of the first 2,000 characters, or None where unsure.

    Code, links and markup do not count. A few words, a name or a number are in no language. About
    twenty-five languages are told apart; a text in another one is None, or taken for a close relative.

    Example:
        >>> detect_language("Der Vertrag wird nach drei Jahren verlängert, wenn niemand kündigt.")
        'de'
        >>> detect_language("42 km") is None
        True
    """
    sample = _sample(text).casefold()
    words = _LETTERS.findall(sample)
    letters = sum(map(len, words))
    if not letters:
        return None
    script = None if sample.isascii() else _script(sample, letters)
    if (script == "zh" and sum(map(len, _HAN.findall(sample))) < _MIN_HAN) or (
        script == "ar" and _PERSIAN.search(sample)
    ):
        return None
    return script or _by_words(sample, words)


class Language(Verifier):
    """The reply is in the language that is wanted; one whose language cannot be told is accepted.

    Names, numbers, code and short answers are in no language and pass, unless most of their letters are
    of a script in which the wanted language is not written.
    """

    name: ClassVar[str] = "language"
    shorthand: ClassVar[str | None] = "is"

    expected: Literal[Code, "same"] = Field(alias="is")
    """A two-letter code, or `same` for the language of the question."""

    def check(self, case: Case) -> Verdict:
        """Accept a reply in the expected language, or in one that cannot be told."""
        expected = _language_of_question(case.request.question) if self.expected == "same" else self.expected
        if expected is None:
            return self.accepts("the question's language cannot be told")
        text = without_thoughts(case.text)
        seen = detect_language(text)
        if seen is None and not _can_be_written(text, expected):
            return self.rejects(f"the reply is in a script in which {expected!r} is not written")
        if seen is None:
            return self.accepts("the reply's language cannot be told")
        if seen != expected:
            return self.rejects(f"the reply is in the language {seen!r}, but {expected!r} was expected")
        return self.accepts(f"the reply is in the language {seen!r}")


def _can_be_written(text: str, expected: str) -> bool:
    """Return whether the script of a text may be that of a language; Latin names may stand in any."""
    sample = _sample(text)
    letters = sum(map(len, _LETTERS.findall(sample)))
    latin = len(_LATIN.findall(sample))
    if expected not in _WRITTEN_IN:
        return letters < _MIN_HITS or 2 * latin >= letters
    own = len(_WRITTEN_IN[expected].findall(sample))
    other = letters - latin - own
    if not own and len(_LATIN_PROSE.findall(sample)) >= _MIN_PROSE:
        return False
    return other < _MIN_HITS or other <= own + latin


def _sample(text: str) -> str:
    """Return the beginning of a text without what is in no language."""
    return _SYMBOL.sub(" ", _IGNORED.sub(" ", text[:_SAMPLE_CHARS]))


def _language_of_question(question: str) -> str | None:
    """Return the language of a question, None where its two ends are in different ones."""
    if len(question) <= 2 * _ENDS_CHARS:
        return detect_language(question)
    ends = {detect_language(question[:_ENDS_CHARS]), detect_language(question[-_ENDS_CHARS:])} - {None}
    return ends.pop() if len(ends) == 1 else None


def _script(sample: str, letters: int) -> str | None:
    """Return the language of the script that most of the text is in; None for Latin and Cyrillic."""
    counts = {code: len(pattern.findall(sample)) for code, pattern in _SCRIPTS.items()}
    # Japanese mixes kana with the characters it shares with Chinese.
    if counts["ja"] * 10 > counts["zh"]:
        counts["ja"] += counts.pop("zh")
    code = max(counts, key=lambda code: counts[code])
    weight = 3 if code in _DENSE else 1
    other = letters - counts[code]
    return code if counts[code] * weight > max(other, 0) and counts[code] >= _MIN_HITS else None


def _by_words(sample: str, words: list[str]) -> str | None:
    """Return the language whose common words and letters the text has most of, by a clear lead."""
    hits = Counter(code for word in words for code in _LANGUAGES_OF_WORD.get(word, ()))
    for code, hint in _HINTS.items():
        hits[code] += sum(letter in sample for letter in hint)
    (best, most), (_, second) = hits.most_common(2)
    enough = max(_MIN_HITS, _MIN_SHARE * len(words))
    return best if most >= enough and most >= _MIN_LEAD * second else None

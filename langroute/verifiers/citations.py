"""Citations: a reply names its sources, the sources were supplied, and what it quotes stands in them."""

import re
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from typing import ClassVar

from langroute.cascade import Verdict
from langroute.request import Document
from langroute.verifiers.absence import states_absence
from langroute.verifiers.base import Case, Verifier, shown, without_thoughts
from langroute.verifiers.sources import Source
from langroute.verifiers.structured import NotJsonError, leaves, reply_data

__all__ = ["QUOTE", "Citations", "citable_text"]

QUOTE = re.compile(r"\"([^\"\n]{1,2000})\"|“([^“”\n]{1,2000})”|„([^„“”\n]{1,2000})[“”]|«([^«»\n]{1,2000})»")
"""Text in quotation marks, on one line; one of the groups holds it."""

_CODE = re.compile(r"```.*?(?:```|\Z)|`[^`\n]*`", re.DOTALL)
_BRACKET = re.compile(r"\[([^\[\]\n]{1,200})\](\()?|【([^【】\n]{1,200})】")
_LABEL = re.compile(r"(doc(?:ument)?|source|ref(?:erence)?|passage|id)s?[\s:#]*|[\^#]", re.IGNORECASE)
_LOCATOR = re.compile(
    r"(?:pp?\.?|pages?|lines?|sec(?:tion|\.)?|ch(?:apter|\.)?|§)\s*\d[\d.–-]*", re.IGNORECASE
)
_RANGE = re.compile(r"(\d{1,4})\s*[-–]\s*(\d{1,4})")
# `x[1]`, `row_2[0]`, `items[3] = 4`: an index, where a word of prose would carry a citation.
_INDEXED = re.compile(
    r"(?<![^\W_])(?:[a-z]\d{0,3}|\w{0,30}_\w{0,30}|arr|array|args|argv|cols?|dict|lst|nums?|objs?|rows?|tmp"
    r"|vals?|vec|xs|ys)\Z",
    re.IGNORECASE,
)
_USED = re.compile(r"\s?[-+*/|]?=(?!=)|\s?==|\.[a-z_]\w*(?:\(|\s?=)")
_INDEX = re.compile(r"-?\d{0,6}(?::-?\d{0,6})?|[a-z_]\w{0,30}(?:[-+]\d)?", re.IGNORECASE)
_IDENTIFIER_CHARS = 62
_POSITION = re.compile(r"[0-9]{1,6}")
_IDENTIFIER = re.compile(r"[\w./:#^-]{1,80}")
_OMISSION = re.compile(r"\.{3}|…|\[[^\[\]]*\]")
_SENTENCE_END = re.compile(r"[.!?]\s|\n")
_SOURCE_KEY = re.compile(r"citation|source|reference|doc", re.IGNORECASE)

_NEAR_CHARS = 60
"""How far a quotation and its citation may stand apart, within one sentence."""

_MAX_QUOTES = 500
_MAX_CITATIONS = 10_000

_NAMES = 8
"""Ids that a reason lists."""


@dataclass(frozen=True, slots=True)
class _Citation:
    start: int
    end: int
    references: tuple[str, ...]


class Citations(Verifier):
    """The reply cites, every citation resolves to a supplied document, and quoted text occurs there.

    A citation is a document's id in brackets: `[id]`, `[id1, id2]`, `[id, p. 4]`, `[Document 2]`,
    `[1-3]`. A number means the position of the document, from 1, where no document has a number for its
    id. Brackets in code, links and remarks (`[sic]`) are no citations, nor is an index after what can only
    be an identifier (`x[1]`, `row_ids[2]`, `days[0]`); "1932[1]" and "the cable[1]" cite. A reply that
    only says that the documents do not hold the answer makes no claim and needs no citation. Text in
    quotation marks is checked when a citation stands next to it in the sentence. In a structured reply,
    fields whose names say `source`, `citation`, `reference` or `doc` hold ids too. The score is the share
    of citations and quotations that hold.

    A citation or a quotation that the documents do not have blames the step's input, and so does a list of
    documents that was given and is empty; a reply without a citation is its model's own fault.
    """

    name: ClassVar[str] = "citations"

    @property
    def may_blame_input(self) -> bool:
        """Whether a rejection may blame the step's input: it may lack what is cited."""
        return True

    def check(self, case: Case) -> Verdict:
        """Accept a reply whose citations and quotations all hold."""
        index = _Index(case.request.documents)
        if not index.count:
            nothing = "no documents were supplied, so no citation can be checked"
            return self.rejects(nothing, 0.0, unsure=True, blames_input=case.request.given_documents == ())
        text = _CODE.sub(" ", without_thoughts(citable_text(case)))
        citations = _citations(text, index)
        quotes = list(islice(QUOTE.finditer(text), _MAX_QUOTES + 1))
        if not citations and states_absence(text):
            return self.accepts("the reply says only that the documents lack the answer")
        if not citations:
            return self.rejects(f"the reply cites none of the {index.count} supplied documents", 0.0)
        if len(citations) > _MAX_CITATIONS or len(quotes) > _MAX_QUOTES:
            limits = f"{_MAX_CITATIONS:,} citations or {_MAX_QUOTES} quotations"
            return self.rejects(f"the reply has more than {limits}", 0.0)
        return self._verdict(text, citations, quotes, index)

    def _verdict(
        self, text: str, citations: list[_Citation], quotes: list[re.Match[str]], index: "_Index"
    ) -> Verdict:
        references = list(dict.fromkeys(ref for citation in citations for ref in citation.references))
        unknown = [ref for ref in references if not index.resolve(ref)]
        checked, wrong = _wrong_quotes(text, quotes, citations, index)
        score = 1 - (len(unknown) + len(wrong)) / (len(references) + checked)
        if unknown:
            names = ", ".join(f"[{shown(ref, 40)}]" for ref in unknown[:3])
            reason = f"the reply cites {names}, but only {index.described} supplied"
            return self.rejects(reason, score, blames_input=True)
        if wrong:
            return self.rejects(wrong[0], score, blames_input=True)
        return self.accepts(f"every citation ({len(references)}) and quotation ({checked}) holds", score)


def citable_text(case: Case) -> str:
    """Return the reply as prose: its text, or the strings of a structured reply, one a line.

    Values of fields that name sources are put in brackets, as a citation in prose is.
    """
    if case.parsed is None and case.text.lstrip()[:1] != "{":
        return case.text
    try:
        data = reply_data(case)
    except NotJsonError:
        return case.text
    lines = (
        f"[{value}]" if _SOURCE_KEY.search(path.rpartition(".")[2]) and "[" not in str(value) else str(value)
        for path, value in leaves(data)
        if isinstance(value, str | int) and not isinstance(value, bool)
    )
    return "\n".join(lines)


class _Index:
    """The supplied documents by what a citation may call them."""

    def __init__(self, documents: Sequence[Document]) -> None:
        self.count = len(documents)
        self.by_id: dict[str, list[Document]] = {}
        for document in documents:
            self.by_id.setdefault(document.id.strip().casefold(), []).append(document)
        self.numbered = any(key.isdigit() for key in self.by_id)
        self.separators = {char for key in self.by_id for char in key if not char.isalnum()}
        self.labels = {match.group(1) or "" for match in map(_LABEL.match, self.by_id) if match}
        self.documents = documents
        self.sources: dict[int, Source] = {}

    @property
    def described(self) -> str:
        if not self.numbered and self.count > 1:
            return f"documents 1 to {self.count} ({self._names()}) were"
        return f"{self._names()} {'was' if self.count == 1 else 'were'}"

    def _names(self) -> str:
        names = [f"[{shown(name, 40)}]" for name in dict.fromkeys(d.id for d in self.documents)]
        more = [f"{len(names) - _NAMES} more"] if len(names) > _NAMES else []
        return ", ".join(names[:_NAMES] + more)

    def resolve(self, reference: str) -> list[Document]:
        """Return the documents that a reference means; a document may come in several parts of one id."""
        named = self.by_id.get(reference.casefold())
        if named or self.numbered or not _POSITION.fullmatch(reference):
            return named or []
        position = int(reference)
        return [self.documents[position - 1]] if 1 <= position <= self.count else []

    def unlabelled(self, part: str) -> str:
        """Return `2` for `Document 2` or `^2`, unless ids of the documents begin so themselves."""
        label = None if self.resolve(part) else _LABEL.match(part)
        if label is None or (label.group(1) or "").casefold() in self.labels:
            return part
        return part[label.end() :]

    def looks_like(self, part: str) -> bool:
        """Return whether text in brackets is meant as an id, though no document has it."""
        return bool(_IDENTIFIER.fullmatch(part)) and (
            any(char.isdigit() for char in part)
            or (part[0].isalnum() and any(char in self.separators for char in part))
        )

    def source(self, document: Document) -> Source:
        """Return the searchable text of a document, made when it is first quoted."""
        if id(document) not in self.sources:
            self.sources[id(document)] = Source([document.text])
        return self.sources[id(document)]


def _citations(text: str, index: _Index) -> list[_Citation]:
    known: dict[str, tuple[str, ...]] = {}
    citations = []
    indexed_to = -1
    for match in _BRACKET.finditer(text):
        content = (match.group(1) or match.group(3).partition("†")[0]).strip()
        if match.start() == indexed_to or _is_index(text, match, content, index):
            indexed_to = match.end()  # `x[1][2]`
            continue
        if content not in known:
            known[content] = _references(content, index)
        # The text of a link cites where it resolves, and is a link's text where it does not.
        if known[content] and not (match.group(2) and not all(map(index.resolve, known[content]))):
            citations.append(_Citation(match.start(), match.end(), known[content]))
        if len(citations) > _MAX_CITATIONS:
            break
    return citations


def _is_index(text: str, bracket: re.Match[str], content: str, index: _Index) -> bool:
    """Return whether a bracket is that of code, which stands in the text without ticks: `x[1]`."""
    start, end = bracket.start(), bracket.end()
    before = text[max(start - _IDENTIFIER_CHARS, 0) : start]
    if not before or not (before[-1].isalpha() or before[-1] == "_" or _INDEXED.search(before)):
        return False
    if not _INDEX.fullmatch(content) or (index.resolve(content) and not content.isdigit()):
        return False
    known = bool(index.resolve(content))
    return bool(_INDEXED.search(before) or _USED.match(text, end)) or (content == "0" and not known)


def _references(content: str, index: _Index) -> tuple[str, ...]:
    """Return what a bracket refers to; () where it is a remark and no citation."""
    if index.resolve(content):
        return (content,)
    references: list[str] = []
    for part in filter(None, map(str.strip, re.split(r"[,;]", content))):
        bare = index.unlabelled(part)
        span = None if index.resolve(bare) else _RANGE.fullmatch(bare)
        if span:
            references += span.groups()
        elif index.resolve(bare) or index.looks_like(bare):
            references.append(bare)
        elif not (references and _LOCATOR.fullmatch(part)):
            return ()
    return tuple(references)


def _wrong_quotes(
    text: str, quotes: Sequence[re.Match[str]], citations: Sequence[_Citation], index: _Index
) -> tuple[int, list[str]]:
    """Return how many quotations stand next to a citation, and a sentence for each that does not hold."""
    starts = [citation.start for citation in citations]
    checked, wrong = 0, []
    for quote in quotes:
        references = _next_to(text, quote, citations, bisect_left(starts, quote.start()))
        documents = [document for reference in references for document in index.resolve(reference)]
        if not documents:
            continue
        checked += 1
        words = next(filter(None, quote.groups()))
        pieces = _OMISSION.split(words)
        if not any(all(map(index.source(document).has, pieces)) for document in documents):
            cited = ", ".join(f"[{shown(reference, 40)}]" for reference in references)
            wrong.append(f'the reply quotes "{shown(words, 120)}" from {cited}, but it does not stand there')
    return checked, wrong


def _next_to(text: str, quote: re.Match[str], citations: Sequence[_Citation], at: int) -> list[str]:
    """Return the references of the citations that follow a quotation, else of those that lead to it."""
    if at < len(citations) and _near(text[quote.end() : citations[at].start][: _NEAR_CHARS + 1]):
        chain = [citations[at]]
        for citation in citations[at + 1 : at + 10]:
            if text[chain[-1].end : citation.start].strip(" ,;"):
                break
            chain.append(citation)
        return [reference for citation in chain for reference in citation.references]
    before = citations[at - 1] if at else None
    if before and _near(text[before.end : quote.start()][: _NEAR_CHARS + 1]):
        return list(before.references)
    return []


def _near(gap: str) -> bool:
    return len(gap) <= _NEAR_CHARS and not _SENTENCE_END.search(gap)

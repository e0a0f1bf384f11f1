"""The demo's documents: the Python Language Reference that every CPython carries, or a folder of your own."""

import re
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from langroute.testing.standins import Bm25

MAX_FILE_BYTES = 2_000_000
MAX_FOLDER_BYTES = 8_000_000
"""More than this takes a pure-Python index longer than a demo should take."""

_PASSAGE_CHARS = 1_000
_LONGEST_PASSAGE_CHARS = 1_500
_SUBJECT_CHARS = 80
_RELEVANT_SHARE = 0.6
"""Share of the best passage's score below which a passage is not worth reading."""

_UNDERLINE = re.compile(r"[=*~^\"-]{3,}")
_MARKDOWN_HEADING = re.compile(r"#{1,6}\s+(.+)")
_MARKDOWN_LINK = re.compile(r"!?\[([^\]]*)\]\([^)]*\)")
_FOOTNOTE = re.compile(r"\s*\[\d{1,2}\](?=\W|$)")
_BOLD = re.compile(r"(?<!\*)\*\*(?!\*)")
_EMPHASIS = re.compile(r"(?<![\w*])\*(\w[^*\n]*?\w|\w)\*(?!\w)")
_POINTER = re.compile(r"See also\b|\s*PEP \d+\s*-")
"""Paragraphs of the manual that only name other pages."""
_DOCUMENT_TAG = re.compile(r"<(?=/?(?:document|doc|source|passage)\b)", re.IGNORECASE)


class CorpusError(Exception):
    """There is nothing to read; the message says what was looked at and what to do."""


@dataclass(frozen=True)
class Passage:
    """A piece of a document that fits into a prompt."""

    id: str
    """The document's name and the passage's number in it: `try:3`."""
    title: str
    text: str


class Library:
    """Passages that can be searched."""

    def __init__(self, name: str, passages: list[Passage], notes: list[str]) -> None:
        self.name = name
        self.passages = passages
        self.notes = notes
        """What the reader must know, one line each: what was left out and why."""
        self._index = Bm25([f"{passage.title} {passage.title}\n{passage.text}" for passage in passages])

    def search(self, query: str, limit: int = 5) -> list[Passage]:
        """Return the passages that speak most of a query, best first; [] where none does."""
        scores = self._index.scores(query)
        ranked = sorted(range(len(scores)), key=lambda at: -scores[at])[:limit]
        worth = max(scores) * _RELEVANT_SHARE
        return [self.passages[at] for at in ranked if scores[at] > 0 and scores[at] >= worth]


def reference() -> Library:
    """Return the Python Language Reference as it ships with this interpreter: nothing is fetched.

    Raises:
        CorpusError: This Python came without it, as some slimmed-down packages do.
    """
    try:
        from pydoc_data.topics import topics
    except ImportError:
        raise CorpusError(
            "This Python came without pydoc_data.topics, the manual that help() reads and the demo's corpus. "
            "Give a folder of text files instead: DOCS=folder"
        ) from None
    seen: set[str] = set()
    passages: list[Passage] = []
    # Long topics repeat short ones: the short one keeps the text.
    for name in sorted(topics, key=lambda name: (len(topics[name]), name)):
        passages += _passages(name, _without_markup(topics[name]), seen)
    return Library("the Python Language Reference", passages, [])


def folder(path: Path) -> Library:
    """Return the `.txt` and `.md` files of a folder and its subfolders.

    Files that are no UTF-8 text, cannot be read or are too large are left out, and named in the notes.

    Raises:
        CorpusError: The folder is missing, or holds nothing that can be read.
    """
    if not path.is_dir():
        what = "a file" if path.exists() else "not there"
        raise CorpusError(f"DOCS={path} is {what}. Give a folder of .txt or .md files.")
    notes: list[str] = []
    passages: list[Passage] = []
    left = MAX_FOLDER_BYTES
    for file in sorted(file for file in path.rglob("*") if file.suffix.lower() in (".txt", ".md")):
        name = file.relative_to(path).as_posix()
        text, note = _read(file, left)
        left -= len(text)
        found = _passages(re.sub(r"[^\w./-]+", "_", name), text, set())
        passages += found
        if note or not found:
            notes.append(f"{name} {note or 'holds no text'}: left out")
    if not passages:
        why = "; ".join(notes[:5]) if notes else "it holds no .txt or .md file"
        raise CorpusError(f"There is nothing to read in DOCS={path}: {why}.")
    return Library(str(path), passages, notes)


def suggested_questions(library: Library, limit: int = 2) -> list[str]:
    """Return questions on a library of which nobody said what it is about; [] where it has no words.

    One of each document, the first document first, and further ones of the same where there are too few.
    """
    documents = [passage.id.rpartition(":")[0] for passage in library.passages]
    order = sorted(range(len(documents)), key=lambda at: documents[at] in documents[:at])
    subjects = (_subject(library.passages[at]) for at in order)
    distinct = dict.fromkeys(subject for subject in subjects if re.search(r"[^\W\d_]", subject))
    return [f'What is there to know about "{subject}"?' for subject in list(distinct)[:limit]]


def _subject(passage: Passage) -> str:
    """Return a passage's heading, or its first sentence where the text below has no word of the heading."""
    first = re.split(r"(?<=[^\W\d_]{2})[.!?:](?:\s|$)|\n", passage.text, maxsplit=1)[0]
    said = set(re.findall(r"[^\W\d_]{3,}", passage.text.lower()))
    spoken_of = not said.isdisjoint(re.findall(r"\w+", passage.title.lower()))
    words = _MARKDOWN_LINK.sub(r"\1", passage.title if spoken_of else first)
    plain = " ".join(re.sub(r"[`*\"“”#|<>]", "", words).split())
    return textwrap.shorten(plain, _SUBJECT_CHARS, placeholder="").strip(" .,;:!?-")


def _read(file: Path, left_bytes: int) -> tuple[str, str]:
    """Return a file's text, or "" and why not."""
    try:
        size = file.stat().st_size
        if not file.is_file():
            note = "is no ordinary file"
        elif size > MAX_FILE_BYTES:
            note = f"is {size / 1e6:.1f} MB, more than {MAX_FILE_BYTES / 1e6:.0f} MB"
        elif size > left_bytes:
            note = f"comes after {MAX_FOLDER_BYTES / 1e6:.0f} MB were read"
        elif b"\0" in (raw := file.read_bytes()):
            note = "is no text"
        else:
            return raw.decode("utf-8-sig"), ""
    except UnicodeDecodeError:
        note = "is not UTF-8 text"
    except OSError as error:
        note = f"cannot be read ({error.strerror})"
    return "", note


def _without_markup(topic: str) -> str:
    """Return a topic of the manual without footnotes, emphasis and pointers to other pages."""
    body = _FOOTNOTE.sub("", topic.partition("-[ Footnotes ]-")[0])
    body = _EMPHASIS.sub(r"\1", _BOLD.sub("", body))
    return "\n\n".join(block for block in body.split("\n\n") if not _POINTER.match(block))


def _passages(name: str, text: str, seen: set[str]) -> list[Passage]:
    """Return a document in passages that keep to its headings, without paragraphs seen before."""
    texts: list[tuple[str, str]] = []
    for title, paragraph in _paragraphs(_DOCUMENT_TAG.sub("&lt;", text)):
        if paragraph in seen:
            continue
        seen.add(paragraph)
        last_title, last = texts[-1] if texts else (None, "")
        room = len(last) < _PASSAGE_CHARS and len(last) + len(paragraph) < _LONGEST_PASSAGE_CHARS
        if title == last_title and room:
            texts[-1] = (title, f"{last}\n\n{paragraph}")
        else:
            texts.append((title, paragraph))
    return [Passage(f"{name}:{number}", title, body) for number, (title, body) in enumerate(texts, 1)]


def _paragraphs(text: str) -> Iterator[tuple[str, str]]:
    """Yield each paragraph, unwrapped, with the heading it stands under."""
    title = ""
    for block in re.split(r"\n[ \t]*\n", text.replace("\r\n", "\n").expandtabs(4)):
        lines = [line for line in block.split("\n") if line.strip()]
        if len(lines) > 1 and _UNDERLINE.fullmatch(lines[1].strip()):
            title, lines = lines[0].strip(), lines[2:]
        elif lines and (heading := _MARKDOWN_HEADING.match(lines[0])):
            title, lines = heading.group(1).strip(), lines[1:]
        if lines:
            yield from ((title, piece) for piece in _cut(_unwrapped(lines)))


def _unwrapped(lines: list[str]) -> str:
    """Return a paragraph on one line; code, grammar and lists keep their lines."""
    joined = " ".join(line.strip() for line in lines)
    letters = sum(char.isalpha() or char == " " for char in joined)
    if letters < 0.75 * len(joined) or "::=" in joined or re.search(r"[=(:]$", lines[0]):
        return "\n".join(lines)
    return re.sub(r"\s+(?=[*•-] )", "\n", joined)


def _cut(paragraph: str) -> Iterator[str]:
    """Yield a paragraph in pieces short enough for a passage, cut between words."""
    while len(paragraph) > _LONGEST_PASSAGE_CHARS:
        end = (
            max(
                paragraph.rfind(". ", 0, _LONGEST_PASSAGE_CHARS),
                paragraph.rfind("\n", 0, _LONGEST_PASSAGE_CHARS),
            )
            + 1
        )
        end = end or paragraph.rfind(" ", 0, _LONGEST_PASSAGE_CHARS) + 1 or _LONGEST_PASSAGE_CHARS
        yield paragraph[:end].strip()
        paragraph = paragraph[end:].strip()
    if paragraph:
        yield paragraph

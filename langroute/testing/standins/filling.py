"""Field extraction: any JSON schema filled from the text, each field by its name, description and type."""

import re
from typing import Any

from langroute.testing.standins import judging, planning, schemas, values
from langroute.testing.standins.evidence import Evidence, find
from langroute.testing.standins.prompt import Prompt, Source, labelled
from langroute.testing.standins.schemas import Schema
from langroute.testing.standins.skill import Skill
from langroute.testing.standins.words import key_phrases, sentences, stems, unique

__all__ = ["Filler"]

_MAX_DEPTH = 6
_ABSENT: Any = object()

_KINDS: tuple[tuple[str, str], ...] = (
    ("email", "email mail"),
    ("url", "url link website homepage"),
    ("phone", "phone telephone mobile fax"),
    ("date", "date day deadline due birthday"),
    ("code", "number code id sku reference identifier"),
    ("place", "place location city country town destination origin address region"),
    (
        "quoted",
        "name title customer company person author style product vendor supplier organisation organization",
    ),
)
"""Kind of value to the words in a field's name that mean it; the first that matches wins."""

_QUOTE = frozenset(stems("quote quotation excerpt verbatim evidence span"))
_DOCUMENT = frozenset(stems("document doc source citation passage id"))
_SCORE = frozenset(stems("score rating grade confidence certainty probability"))
_VERDICT = frozenset(stems("accepted correct supported relevant grounded faithful good ok valid passed"))
_REASON = frozenset(stems("reason reasoning explanation rationale justification"))
_TERMS = frozenset(stems("keyword term query entity topic tag"))
_STEPS = frozenset(stems("step plan outline point task"))
_NEGATION = re.compile(r"\b(?:no|not|never|without|none|cannot|isn't|doesn't|don't|n't)\b", re.IGNORECASE)
_ARTICLE = re.compile(r"\b(?:the|an?|is|are)\s+", re.IGNORECASE)
_FORMATS = {"date": "date", "date-time": "date", "email": "email", "uri": "url", "url": "url"}


class Filler:
    """Fills one schema from one prompt; counts what it asked for and what it found."""

    def __init__(self, prompt: Prompt, skill: Skill, root: Schema) -> None:
        self._prompt, self._skill, self._root = prompt, skill, root
        self._text = "\n\n".join(document.text for document in prompt.documents) or prompt.request
        # A text to be labelled is often marked, because its label's name stands around it too.
        self._subject = labelled(prompt.request, "call", "text", "input", "message") or self._text
        self._used: set[int] = set()
        self._asked = self._found = 0

    def fill(self) -> dict[str, Any]:
        """Return the object that the schema describes, as well as it could be filled."""
        return self._object(schemas.plain(self._root, self._root)[0], None, 0)

    @property
    def sureness(self) -> float:
        """Share in [0, 1] of the required fields for which something was found; less when overloaded."""
        share = self._found / self._asked if self._asked else 1.0
        return (0.25 + 0.7 * share) * (0.7 if self._prompt.overloaded else 1.0)

    def _object(self, schema: Schema, unit: Evidence | None, depth: int) -> dict[str, Any]:
        filled: dict[str, Any] = {}
        for name, (raw, required) in schemas.properties(schema).items():
            inner, nullable = schemas.plain(raw, self._root)
            value = self._value(name, inner, unit, depth + 1) if depth < _MAX_DEPTH else _ABSENT
            must = required and not nullable
            self._asked += must
            self._found += must and value is not _ABSENT
            if value is not _ABSENT:
                filled[name] = value
            elif required:
                filled[name] = None if nullable else schemas.default_for(inner)
        return filled

    def _value(self, name: str, schema: Schema, unit: Evidence | None, depth: int) -> Any:
        """Return the value of one field, `_ABSENT` where the text has none."""
        if "const" in schema:
            return schema["const"]
        if options := schema.get("enum"):
            option, spoken_for = judging.best_option(
                options, self._prompt, unit.sentence if unit else self._subject
            )
            return option if spoken_for or len(options) == 1 else _ABSENT
        kind = schema.get("type", "object" if "properties" in schema else "string")
        if kind == "object":
            return self._object(schema, unit, depth)
        if kind == "array":
            return self._array(name, schema, depth)
        readers = {"integer": self._number, "number": self._number, "boolean": self._boolean}
        return readers.get(kind, self._string)(name, schema, unit)

    def _array(self, name: str, schema: Schema, depth: int) -> list[Any]:
        inner, _ = schemas.plain(schema.get("items"), self._root)
        most = min(int(schema.get("maxItems", self._skill.sentences)), self._skill.sentences)
        if inner.get("type") == "object" or "properties" in inner:
            return [self._object(inner, unit, depth) for unit in self._units(most)]
        if inner.get("type", "string") != "string" or "enum" in inner:
            return self._repeated(name, inner, most)
        label = set(stems(schemas.label_of(name, schema)))
        if label & _STEPS:
            return planning.steps(self._prompt, self._skill)
        if label & _TERMS:
            return key_phrases(self._prompt.question)[:most]
        units = self._units(most)
        return unique(
            (u.document for u in units) if label & _DOCUMENT else (self._worded(u.sentence) for u in units)
        )

    def _repeated(self, name: str, inner: Schema, most: int) -> list[Any]:
        """Return several numbers or options, each taken from the text once."""
        if options := inner.get("enum"):
            seen = set(stems(self._text))
            return [option for option in options if set(stems(str(option))) & seen][:most]
        found = (self._value(name, inner, None, _MAX_DEPTH) for _ in range(most))
        return [value for value in found if value is not _ABSENT]

    def _units(self, most: int) -> list[Evidence]:
        """Return what a list is made of: evidence from documents, else the text's items or sentences."""
        if self._prompt.documents:
            return list(find(self._prompt.question, self._prompt.documents, self._skill, limit=most).evidence)
        whole = [Evidence("", sentence) for line in self._text.splitlines() for sentence in sentences(line)]
        listed = [unit for unit in whole if re.match(r"\s*(?:[-*•]|\d+[.)])\s", unit.sentence)]
        return (listed or [unit for unit in whole if not unit.sentence.endswith(":")])[:most]

    def _near(self, unit: Evidence | None) -> str:
        """Return the text a field is looked for in."""
        return unit.sentence if unit else self._text

    def _worded(self, sentence: str) -> str:
        """Return a quotation: word for word, or without its articles where there was too much to hold."""
        return _ARTICLE.sub("", sentence) if self._prompt.overloaded else sentence

    def _number(self, name: str, schema: Schema, unit: Evidence | None) -> Any:
        label, whole = stems(schemas.label_of(name, schema)), schema["type"] == "integer"
        if _SCORE & set(label):
            return judging.scaled(judging.measure(self._prompt)[0], schema)
        text = self._near(unit)
        free = [
            value
            for value in values.candidates("number", text)
            if schemas.allows(schema, values.spoken_number(value.text), whole=whole)
        ]
        value = values.nearest(free, label, text, set() if unit else self._used)
        if value is None:
            return _ABSENT
        self._used.add(value.at)
        number = values.spoken_number(value.text)
        return int(number) if whole else number

    def _boolean(self, name: str, schema: Schema, unit: Evidence | None) -> bool:
        label = set(stems(schemas.label_of(name, schema)))
        if label & _VERDICT:
            return judging.measure(self._prompt)[0] >= 0.5  # noqa: PLR2004  # half
        spoken = [s for s in sentences(self._near(unit)) if label & set(stems(s))]
        return bool(spoken) and not _NEGATION.search(spoken[0])

    def _string(self, name: str, schema: Schema, unit: Evidence | None) -> Any:
        label = schemas.label_of(name, schema)
        meant = set(stems(name.replace("_", " ")))
        if meant & _REASON:
            return judging.measure(self._prompt)[1]
        if unit and self._prompt.documents and meant & _DOCUMENT and not meant & _QUOTE:
            return unit.document
        value = self._scalar(name, label, schema, unit)
        if value is not None:
            self._used.add(value.at)
            is_date = schema.get("format") == "date"
            return values.spoken_date(value.text) if is_date else value.text
        return self._passage(label, unit)

    def _scalar(self, name: str, label: str, schema: Schema, unit: Evidence | None) -> values.Value | None:
        """Return the labelled value, or one of the kind that the field's name means; None without."""
        text, used = self._near(unit), set() if unit else self._used
        named = values.labelled_value(name, text) or values.labelled_value(
            str(schema.get("title", name)), text
        )
        kind = _kind(name, schema)
        if kind is None:
            return named
        pool = list(values.candidates(kind, named.text if named else text))
        if named:
            return pool[0] if pool and kind not in ("quoted", "place", "code") else named
        if kind in ("quoted", "place", "code") and not pool:
            pool = list(values.candidates("quoted", text)) or list(values.candidates("name", text))
        return values.nearest(pool, stems(label), text, used)

    def _passage(self, label: str, unit: Evidence | None) -> Any:
        """Return the sentence that says most about a field."""
        if unit:
            return self._worded(unit.sentence)
        sources = self._prompt.documents or (Source("", self._text),)
        evidence = find(f"{label} {self._prompt.question}", sources, self._skill, limit=1).evidence
        return self._worded(evidence[0].sentence) if evidence else _ABSENT


def _kind(name: str, schema: Schema) -> str | None:
    """Return the kind of value that a field's format or name means; None for any other text."""
    if kind := _FORMATS.get(str(schema.get("format"))):
        return kind
    meant = set(stems(schemas.label_of(name, {})))
    return next((kind for kind, words in _KINDS if meant & set(stems(words))), None)

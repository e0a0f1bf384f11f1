"""Checks of a reply, one file a family; the registry by which a policy names them.

In reading order: `base` (what a verifier is), `schema`, `citations`, `grounded`, `tools`, `refusal`,
`text`, `language`, `confidence`, `judge`, `combine`, `custom`, and `spec` (how a policy writes them).
A check that demands something (citations, a pattern, a length) rejects a reply that has none of it; a
check that forbids something accepts it. What cannot be checked is not accepted, but for a language
that cannot be told.
"""

from collections.abc import Mapping
from types import MappingProxyType

from langroute.attempts import Verdict
from langroute.verifiers.base import PREFIX_CHARS, Asker, Case, Opinion, Verifier
from langroute.verifiers.citations import Citations
from langroute.verifiers.combine import AllOf, AnyOf, Sampled
from langroute.verifiers.confidence import Confidence, SelfRated
from langroute.verifiers.custom import Custom, Registered
from langroute.verifiers.grounded import Grounded
from langroute.verifiers.judge import Agreement, Judge
from langroute.verifiers.language import Language
from langroute.verifiers.learned import Learned
from langroute.verifiers.refusal import NoHedging, NoRefusal
from langroute.verifiers.schema import RequiredFields, Schema
from langroute.verifiers.spec import VerifierSpec
from langroute.verifiers.text import Length, NotDuplicate, NotEmpty, NotTruncated, Patterns
from langroute.verifiers.tools import NotRepeating, ToolCalls

__all__ = [
    "PREFIX_CHARS",
    "VERIFIERS",
    "Agreement",
    "AllOf",
    "AnyOf",
    "Asker",
    "Case",
    "Citations",
    "Confidence",
    "Custom",
    "Grounded",
    "Judge",
    "Language",
    "Learned",
    "Length",
    "NoHedging",
    "NoRefusal",
    "NotDuplicate",
    "NotEmpty",
    "NotRepeating",
    "NotTruncated",
    "Opinion",
    "Patterns",
    "Registered",
    "RequiredFields",
    "Sampled",
    "Schema",
    "SelfRated",
    "ToolCalls",
    "Verdict",
    "Verifier",
    "VerifierSpec",
]

VERIFIERS: Mapping[str, type[Verifier]] = MappingProxyType(
    {
        verifier.name: verifier
        for verifier in (
            Agreement,
            AllOf,
            AnyOf,
            Citations,
            Confidence,
            Registered,
            Grounded,
            Judge,
            Language,
            Learned,
            Length,
            NoHedging,
            NoRefusal,
            NotDuplicate,
            NotEmpty,
            NotRepeating,
            NotTruncated,
            Patterns,
            RequiredFields,
            Sampled,
            Schema,
            SelfRated,
            ToolCalls,
        )
    }
)
"""Every verifier that a policy can name, by its name."""

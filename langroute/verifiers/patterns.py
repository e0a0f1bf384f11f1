"""Regular expressions that take linear time on any text, because a reply may be hostile.

Python's `re` backtracks: `(a+)+$` on thirty characters can run for hours, and holds every thread
while it does. The engine here is Rust's `regex`, which pydantic brings along; it has no look-around
and no back-references, and refuses them when the policy is loaded.
"""

from functools import lru_cache

from pydantic_core import SchemaError, SchemaValidator, core_schema

__all__ = ["check_pattern", "found"]


def check_pattern(pattern: str) -> str:
    """Return `pattern` if it can be used.

    Raises:
        ValueError: It is no regular expression, or needs look-around or back-references.
    """
    try:
        _engine(pattern)
    except SchemaError as error:
        cause = str(error).rstrip().splitlines()[-1]
        raise ValueError(
            f"the pattern {pattern!r} cannot be used: {cause}. "
            "Patterns run in linear time: write it without look-around and back-references"
        ) from None
    return pattern


def found(pattern: str, text: str) -> bool:
    """Return whether `pattern` matches anywhere in `text`, in time linear in the text.

    Raises:
        ValueError: The pattern cannot be used.
    """
    check_pattern(pattern)
    # A lone surrogate, which JSON can carry, is no valid text for the engine.
    return _engine(pattern).isinstance_python(text.encode("utf-8", "replace").decode("utf-8"))


@lru_cache(maxsize=256)
def _engine(pattern: str) -> SchemaValidator:
    return SchemaValidator(core_schema.str_schema(pattern=pattern, regex_engine="rust-regex"))

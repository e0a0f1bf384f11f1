"""Which functions a policy names, and which of them nobody registered: a policy file never imports code."""

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from langroute.bindings import bindings, verifiers_of, within
from langroute.errors import PolicyProblem
from langroute.problems import Loc, closest, problem
from langroute.verifiers.custom import Registered

if TYPE_CHECKING:
    from langroute.policy import Policy

__all__ = ["functions_named", "functions_of", "stand_ins", "unregistered"]


def functions_of(policy: "Policy") -> dict[str, str]:
    """Return the functions that stand before models: name to the name of its endpoint."""
    found = (step.cascade.function for _, step in bindings(policy))
    return {rung.function: rung.endpoint for rung in found if rung is not None}


def unregistered(policy: "Policy", functions: Mapping[str, Any]) -> tuple[PolicyProblem, ...]:
    """Return every function that the policy names, where none was registered from Python by its name."""
    return tuple(
        problem(loc, name, *_lacking(name, functions))
        for loc, name in functions_named(policy)
        if not callable(functions.get(name))
    )


def _lacking(name: str, functions: Mapping[str, Any]) -> tuple[str, str]:
    """Return what is wrong with what stands under a name, and the remedy."""
    where = f"where the policy is bound: `functions={{{name!r}: …}}`."
    if name not in functions:
        remedy = closest(name, functions, f"Register it {where}")
        return "no function of this name is registered", remedy
    what = type(functions[name]).__name__
    return f"what is registered by this name is a {what}, and cannot be called", f"Give the function {where}"


def functions_named(policy: "Policy") -> Iterator[tuple[Loc, str]]:
    """Yield place and name of every function that the policy wants registered, checks among them."""
    for loc, step in bindings(policy):
        if step.cascade.function is not None:
            yield (*loc, "cascade", 0, "function"), step.cascade.function.function
        for at, verifier in verifiers_of(loc, step):
            yield from (
                (place, one.function) for place, one in within(verifier, at) if isinstance(one, Registered)
            )


def stand_ins(policy: "Policy") -> dict[str, Callable[[Any], None]]:
    """Return something under each name that the policy wants registered, for where nothing is called."""
    return dict.fromkeys((name for _, name in functions_named(policy)), _nothing)


def _nothing(_: Any) -> None:
    """Have no answer."""

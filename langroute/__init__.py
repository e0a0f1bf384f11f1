"""langroute routes each step of a LangGraph or LangChain pipeline to the cheapest tier that clears its bar.

Reading order of the code: `cascade` (the idea: one pure function), `policy` (what a person writes),
`steps` and `routing` (which step, which plan), `verifiers` (is the reply good enough), `drive` (the
four drivers of the cascade), `chat_model` and `graph` (the doors); then what came of it: `ledger`, `report`
and `tuning`.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from langroute.chat_model import RoutedChatModel
    from langroute.errors import LangrouteError, PolicyError
    from langroute.graph import add_routed_step, route_node, routed_step, tier_edge
    from langroute.histories import portable
    from langroute.ledger.ledger import Ledger
    from langroute.policy import Policy

__all__ = [
    "LangrouteError",
    "Ledger",
    "Policy",
    "PolicyError",
    "RoutedChatModel",
    "add_routed_step",
    "portable",
    "route_node",
    "routed_step",
    "tier_edge",
]

_HOME = {
    "LangrouteError": "langroute.errors",
    "Ledger": "langroute.ledger.ledger",
    "Policy": "langroute.policy",
    "PolicyError": "langroute.errors",
    "RoutedChatModel": "langroute.chat_model",
    "add_routed_step": "langroute.graph",
    "portable": "langroute.histories",
    "route_node": "langroute.graph",
    "routed_step": "langroute.graph",
    "tier_edge": "langroute.graph",
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used: `import langroute` alone stays cheap."""
    if name not in _HOME:
        raise AttributeError(f"module 'langroute' has no attribute {name!r}")
    value = getattr(import_module(_HOME[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)

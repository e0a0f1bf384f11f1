"""Models that are told what to say and how to fail: what langroute's tests stand on, and users' tests too.

LoopbackProvider     a real HTTP provider on 127.0.0.1 that speaks the OpenAI wire
ScriptedChatModel    a chat model in process, without HTTP
capture_decisions    every decision made inside a `with` block
"""

from langroute.testing.capture import capture_decisions
from langroute.testing.desk import Brain, ModelSpec, RecordedRequest
from langroute.testing.faults import Fault, FaultKind
from langroute.testing.loopback import LoopbackProvider, closed_port
from langroute.testing.scripted import ScriptedCall, ScriptedChatModel
from langroute.testing.wire import Answer

__all__ = [
    "Answer",
    "Brain",
    "Fault",
    "FaultKind",
    "LoopbackProvider",
    "ModelSpec",
    "RecordedRequest",
    "ScriptedCall",
    "ScriptedChatModel",
    "capture_decisions",
    "closed_port",
]

"""The end of the process while late calls still run in its threads.

Python kills a thread that wants to go on after the interpreter has ended, and before 3.14 that aborts the
whole process where compiled code (pydantic's) is on the thread's way. So a call that is busy then is asked to
end.
"""

import atexit
import threading
from weakref import WeakSet

__all__ = ["ends_with_the_process"]

_WAIT_S = 0.5
"""Seconds that all of them together have; one that waits for the network does not wake in that time."""

_threads: "WeakSet[threading.Thread]" = WeakSet()


def ends_with_the_process(thread: threading.Thread) -> None:
    """Have a daemon thread end before the interpreter does, if it is busy then."""
    _threads.add(thread)


@atexit.register
def _end() -> None:
    running = [thread for thread in list(_threads) if thread.is_alive()]
    if not running:
        return
    import ctypes

    for thread in running:
        ctypes.pythonapi.PyThreadState_SetAsyncExc(
            ctypes.c_ulong(thread.ident or 0), ctypes.py_object(SystemExit)
        )
    for thread in running:
        thread.join(_WAIT_S / len(running))

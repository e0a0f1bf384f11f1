"""The end of a process in which a late call still runs: quiet and soon, whatever the call does."""

import subprocess
import sys
import time

import pytest

SCRIPT = """
import threading
from langchain_core.language_models import BaseChatModel
from pydantic import BaseModel, model_validator
from langroute import RoutedChatModel
from langroute.testing import ScriptedChatModel


class Read(BaseModel):
    @model_validator(mode="after")
    def read(self):
        while True:
            {work}


class Late(BaseChatModel):
    @property
    def _llm_type(self):
        return "late"

    def _generate(self, *args, **kwargs):
        Read()


late = {{"model": Late(), "name": "late", "timeout_s": 0.1}}
chain = [late, {{"model": ScriptedChatModel(reply="ok"), "name": "good"}}]
model = RoutedChatModel({{"tiers": {{"small": {{"models": chain}}}}}})
print(model.invoke("?").text, model.router.health()["late"]["late_calls"])
"""


@pytest.mark.parametrize("work", ["pass", "threading.Event().wait()"])
def test_process_ends_well_and_soon_while_a_late_call_still_runs(work: str) -> None:
    began_s = time.monotonic()
    script = SCRIPT.format(work=work)
    ran = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False, timeout=120
    )
    assert (ran.stdout.strip(), ran.stderr, ran.returncode) == ("ok 1", "", 0)
    assert time.monotonic() - began_s < 60

"""The command of the quality benchmark, and how it reads recorded replies."""

import json
import os
import subprocess
import sys
from pathlib import Path

from quality.loaders import _tool_reply, _tool_request

HERE = Path(__file__).parent


def run(**environment):
    told = {k: v for k, v in os.environ.items() if k != "LANGROUTE_BENCH_DATA"} | environment
    return subprocess.run(
        [sys.executable, "-m", "quality"],
        env={**told, "PYTHONPATH": str(HERE)},
        capture_output=True,
        text=True,
        check=False,
    )


def test_without_the_data_the_command_says_so_and_fails():
    ran = run()
    assert ran.returncode == 2
    assert "LANGROUTE_BENCH_DATA is not set" in ran.stderr
    assert "README" in ran.stderr


def test_a_folder_without_the_files_is_told_which_are_missing(tmp_path):
    ran = run(LANGROUTE_BENCH_DATA=str(tmp_path))
    assert ran.returncode == 2
    assert "routellm.parquet, zeroeval.parquet, bfcl.parquet" in ran.stderr


def test_calls_written_as_python_are_read_with_their_arguments():
    reply = _tool_reply(json.dumps("[math.area(base=10, unit='cm'), go(x=1/6)]"))
    assert [(call["name"], call["args"]) for call in reply.tool_calls] == [
        ("math_area", {"base": 10, "unit": "cm"}),
        ("go", {"x": "1 / 6"}),
    ]


def test_native_calls_are_read_and_prose_is_no_call():
    assert _tool_reply(json.dumps([{"go": '{"x": 1}'}])).tool_calls[0]["args"] == {"x": 1}
    assert _tool_reply(json.dumps("I cannot do that.")).tool_calls == []
    assert _tool_reply('"[go(x=1), go(').tool_calls == []


def test_tools_are_bound_with_types_of_json_schema():
    class Row:
        prompt = "area of 3 by 4"
        meta = json.dumps(
            {
                "tools": [
                    {
                        "name": "math.area",
                        "parameters": {"type": "dict", "properties": {"a": {"type": "float"}}},
                    }
                ]
            }
        )

    (tool,) = _tool_request(Row).tools
    assert tool["function"]["name"] == "math_area"
    assert tool["function"]["parameters"] == {"type": "object", "properties": {"a": {"type": "number"}}}

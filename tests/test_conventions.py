"""The code's conventions as tests: what the chat model overrides, what modules export, what stays out."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from importlib import import_module
from inspect import getattr_static
from pathlib import Path
from types import ModuleType

import pytest
from langchain_core.language_models import BaseChatModel
from pydantic import BaseModel

from langroute import RoutedChatModel
from langroute.chat_model import _FORWARDED
from langroute.testing import LoopbackProvider

ROOT = Path(__file__).parents[1]
SOURCES = sorted((ROOT / "langroute").rglob("*.py"))
ALL_SOURCES = [*SOURCES, *sorted((ROOT / "tests").rglob("*.py")), *sorted((ROOT / "examples").rglob("*.py"))]


@cache
def tree(source: Path) -> ast.Module:
    return ast.parse(source.read_text())


# The chat model's surface --------------------------------------------------------------------------------

OWN = {
    *(
        "invoke",
        "ainvoke",
        "stream",
        "astream",
        "generate",
        "agenerate",
    ),  # route, and make no run of their own
    *("stream_events", "astream_events"),  # v3 routes; v1 and v2 are the host's over `astream`
    *("bind_tools", "with_structured_output"),  # tools and schemas are bound to each endpoint's own model
    "profile",  # what every endpoint can do
}
"""Overridden: what the routed model does itself."""

FORWARDED = {
    *("get_token_ids", "get_num_tokens", "get_num_tokens_from_messages"),  # the first rung's model counts
    *_FORWARDED,  # fields that, set on the routed model, hold for every endpoint's
}
"""Answered by the endpoints' own models."""

INHERITED = {
    # These call what is overridden above.
    *("batch", "abatch", "batch_as_completed", "abatch_as_completed", "generate_prompt", "agenerate_prompt"),
    *("transform", "atransform", "astream_log"),
    # These wrap the model, and call it by what is overridden above.
    *("as_tool", "assign", "bind", "configurable_alternatives", "configurable_fields", "map", "pick", "pipe"),
    *("with_alisteners", "with_config", "with_fallbacks", "with_listeners", "with_retry", "with_types"),
    # These describe any chat model, whatever it does.
    *("InputType", "OutputType", "config_schema", "config_specs", "get_config_jsonschema", "get_graph"),
    *("get_input_jsonschema", "get_input_schema", "get_name", "get_output_jsonschema", "get_output_schema"),
    *("get_prompts", "input_schema", "output_schema", "name"),
    # These serialise; the host refuses third parties, so the routed model is not serialisable.
    *("asdict", "get_lc_namespace", "is_lc_serializable", "lc_attributes", "lc_id", "lc_secrets"),
    *("to_json", "to_json_not_implemented"),
    # These reach the endpoints' runs through the config of each call.
    *("callbacks", "tags", "metadata"),
    *("set_verbose", "verbose"),  # the host's own debugging output
}
"""Right as the host has them."""

ADVICE = (
    "decide for each: does it make a model run, or name, count or cache for one model? Then RoutedChatModel"
    " must override it (OWN) or let the endpoints answer (FORWARDED); otherwise it may be INHERITED"
)


def surface() -> set[str]:
    """Return every public attribute of a chat model that is not pydantic's."""
    names = {*dir(BaseChatModel), *BaseChatModel.model_fields} - set(dir(BaseModel))
    return {name for name in names if not name.startswith("_")}


def test_every_attribute_of_a_chat_model_is_classified() -> None:
    unclassified = sorted(surface() - OWN - FORWARDED - INHERITED)
    assert not unclassified, f"langchain-core has {', '.join(unclassified)}: {ADVICE}"


def test_no_attribute_is_classified_twice() -> None:
    assert not (OWN & FORWARDED | OWN & INHERITED | FORWARDED & INHERITED)


def test_what_is_said_to_be_overridden_is_and_the_rest_is_not() -> None:
    methods = surface() - set(BaseChatModel.model_fields)
    assert methods & (OWN | FORWARDED) <= set(vars(RoutedChatModel))
    changed = {
        n for n in methods if getattr_static(RoutedChatModel, n) is not getattr_static(BaseChatModel, n)
    }
    assert changed == methods & (OWN | FORWARDED)


# Modules -------------------------------------------------------------------------------------------------


def imported(source: Path) -> ModuleType | None:
    """Return the module, None where it says that it needs a newer langchain-core than this."""
    try:
        return import_module(module_name(source))
    except ImportError as error:
        if "pip install -U 'langchain-core>=" in str(error):
            return None
        raise


def module_name(source: Path) -> str:
    return ".".join(source.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def exported_order(name: str) -> tuple[int, str]:
    """Return what `__all__` is sorted by: constants, classes, functions, as ruff sorts it."""
    return (0 if name.isupper() else 1 if name[0].isupper() else 2, name)


def test_modules_export_what_they_have_in_order() -> None:
    for source in SOURCES:
        if len(tree(source).body) == 1:
            continue  # a package that is a docstring exports nothing
        if (module := imported(source)) is None:
            continue
        exported = list(module.__all__)
        assert exported == sorted(exported, key=exported_order), source.name
        assert not [name for name in exported if not hasattr(module, name)], source.name


def test_modules_open_with_a_sentence() -> None:
    for source in SOURCES:
        first = (ast.get_docstring(tree(source)) or "").partition("\n\n")[0]
        assert re.search(r"^([A-Z`]|langroute).*[.:?]$", first, re.DOTALL), f"{source}: {first!r}"


# Size ----------------------------------------------------------------------------------------------------


def test_files_are_no_longer_than_400_lines() -> None:
    lengths = {source.name: len(source.read_text().splitlines()) for source in SOURCES}
    assert {name: lines for name, lines in lengths.items() if lines > 400} == {}


def test_functions_are_no_longer_than_50_lines_without_their_docstring() -> None:
    found = [(source.name, *function) for source in SOURCES for function in function_lengths(source)]
    assert [function for function in found if function[-1] > 50] == []


def function_lengths(source: Path) -> Iterator[tuple[str, int]]:
    for node in ast.walk(tree(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            last = node.end_lineno or node.lineno
            lines = last - node.lineno + 1
            if ast.get_docstring(node) is not None:
                lines -= (node.body[0].end_lineno or 0) - node.body[0].lineno + 1
            yield node.name, lines


# What stays out ------------------------------------------------------------------------------------------

ERROR_SHAPES = re.compile(r"status_code|\.body\b|context_length_exceeded|APIStatusError|insufficient_quota")


def test_provider_error_shapes_live_in_failures_alone() -> None:
    elsewhere = [path for path in SOURCES if not {"failures", "testing"}.intersection(path.parts)]
    found = {path.name: ERROR_SHAPES.findall(path.read_text()) for path in elsewhere}
    assert {name: shapes for name, shapes in found.items() if shapes} == {}, (
        "ask langroute.failures.classify instead"
    )


FORBIDDEN_IMPORTS = {"pickle", "cPickle", "dill", "shelve", "marshal", "cloudpickle"}
FORBIDDEN_CALLS = {"eval", "exec", "yaml.load", "yaml.unsafe_load", "yaml.full_load", "os.system", "compile"}


def test_nothing_is_unpickled_or_evaluated() -> None:
    for source in SOURCES:
        assert not FORBIDDEN_IMPORTS.intersection(imports(source)), source.name
        called = {ast.unparse(node.func) for node in ast.walk(tree(source)) if isinstance(node, ast.Call)}
        assert not FORBIDDEN_CALLS.intersection(called), source.name


def imports(source: Path) -> Iterator[str]:
    for node in ast.walk(tree(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module.partition(".")[0]


def test_no_comment_leaves_something_to_be_done() -> None:
    marks = re.compile(r"#.*\b(" + "|".join(["TO" + "DO", "FIX" + "ME"]) + r")\b")
    assert not [path.name for path in ALL_SOURCES if marks.search(path.read_text())]


def test_no_path_of_a_machine_stands_in_the_code() -> None:
    paths = re.compile("/" + r"(home|root|work|tmp)/\w")
    assert not [path.name for path in ALL_SOURCES if paths.search(path.read_text())]


HEAVY = ("langgraph", "langchain", "langchain_core", "langchain_openai", "openai", "sqlalchemy", "pydantic")


def test_importing_langroute_imports_nothing_heavy() -> None:
    code = f"import sys, langroute; print(sorted(set({HEAVY!r}) & set(sys.modules)))"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"


def test_importing_the_chat_model_imports_no_graph_and_no_agents() -> None:
    heavy = ("langgraph", "langchain", "sqlalchemy", "openai")
    code = (
        f"import sys; from langroute import RoutedChatModel; print(sorted(set({heavy!r}) & set(sys.modules)))"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"


# The README ----------------------------------------------------------------------------------------------

README = (ROOT / "README.md").read_text()


def blocks(language: str) -> list[str]:
    """Return the README's fenced blocks of a language."""
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("block", blocks("python") or ["# the README has no python yet"])
def test_readme_code_runs(block: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from langroute.testing.standins import large

    policy = next(iter(blocks("yaml")), "")
    (tmp_path / "langroute.yaml").write_text(policy)
    monkeypatch.chdir(tmp_path)
    served = dict.fromkeys(re.findall(r"openai:([\w.-]+)", README) or ["none"], large)
    with LoopbackProvider(served) as provider:
        monkeypatch.setenv("OPENAI_BASE_URL", provider.base_url)
        monkeypatch.setenv("OPENAI_API_KEY", "loopback")
        exec(compile(block, "README.md", "exec"), {"__name__": "readme"})  # noqa: S102 - our own README


def test_readme_has_no_placeholder() -> None:
    readme = (ROOT / "README.md").read_text()
    assert "@@" not in readme


def test_readme_has_every_module_in_its_table_of_the_code() -> None:
    table = README.partition("## Reading the code")[2].partition("\n## ")[0]
    rows = [row.split("|")[1] for row in table.splitlines() if row.startswith("| `")]
    named = {name for row in rows for name in re.findall(r"`([\w.]+/?)`", row)}
    package = ROOT / "langroute"
    found = {path.name for path in package.glob("*.py")} - {"__init__.py"}
    found |= {f"{path.parent.name}/" for path in package.glob("*/__init__.py")}
    assert named - {"examples/"} == found

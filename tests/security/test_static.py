"""Nothing in langroute or its examples runs what it reads: no pickle, no eval, no unsafe YAML, no shell."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = sorted([*(ROOT / "langroute").rglob("*.py"), *(ROOT / "examples").rglob("*.py")])

MODULES = {"pickle", "_pickle", "cPickle", "dill", "cloudpickle", "joblib", "marshal", "shelve", "jsonpickle"}
BUILTINS = {"eval", "exec", "compile", "__import__"}
CALLS = {"os.system", "os.popen", "subprocess.getoutput", "subprocess.getstatusoutput"}
UNSAFE_YAML = {"unsafe_load", "unsafe_load_all", "full_load", "full_load_all", "load_all", "load"}
UNSAFE_LOADERS = {"Loader", "UnsafeLoader", "FullLoader", "CLoader", "CUnsafeLoader", "CFullLoader"}
PARALLEL = {"Parallel", "delayed"}
"""What of joblib reads no file: it shares out work among processes of the same person."""
FLAGS = {"shell", "allow_dangerous_deserialization", "pickle_fallback", "allow_dangerous_code"}


def dangers(source: str) -> list[str]:
    """Return what a source does that could run data, by line."""
    return [f"{node.lineno}: {what}" for node in ast.walk(ast.parse(source)) for what in _of(node)]  # type: ignore[attr-defined]  # only nodes with a line are named


def _of(node: ast.AST) -> Iterator[str]:
    match node:
        case ast.Import(names=names):
            yield from (alias.name for alias in names if alias.name.partition(".")[0] in MODULES)
        case ast.ImportFrom(module="joblib", names=names):
            yield from (f"joblib.{a.name}" for a in names if a.name not in PARALLEL)
        case ast.ImportFrom(module=str(module)) if module.partition(".")[0] in MODULES:
            yield module
        case ast.ImportFrom(module="yaml", names=names):
            yield from (f"yaml.{a.name}" for a in names if a.name in UNSAFE_YAML | UNSAFE_LOADERS)
        case ast.Attribute(attr=attr, value=ast.Name(id="yaml")) if attr in UNSAFE_YAML - {"load"}:
            yield f"yaml.{attr}"
        case ast.Attribute(attr=attr, value=ast.Name(id="yaml")) if attr in UNSAFE_LOADERS:
            yield f"yaml.{attr}"
        case ast.Call(func=ast.Name(id=name)) if name in BUILTINS:
            yield f"{name}()"
        case ast.Call(func=function, keywords=keywords):
            name = ast.unparse(function)
            if name in CALLS or (name == "yaml.load" and not _safe_loader(keywords, node.args)):
                yield f"{name}()"
            yield from (f"{k.arg}=" for k in keywords if k.arg in FLAGS and not _is_false(k.value))


def _safe_loader(keywords: list[ast.keyword], args: list[ast.expr]) -> bool:
    given = [k.value for k in keywords if k.arg == "Loader"] + args[1:]
    return bool(given) and ast.unparse(given[0]) not in {f"yaml.{name}" for name in UNSAFE_LOADERS}


def _is_false(value: ast.expr) -> bool:
    return isinstance(value, ast.Constant) and not value.value


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_source_runs_what_it_reads(path: Path) -> None:
    assert dangers(path.read_text("utf-8")) == []


@pytest.mark.parametrize(
    "bad",
    [
        "import pickle",
        "from marshal import loads",
        "import shelve as s",
        "import joblib",
        "from joblib import Parallel, load",
        "eval('1')",
        "exec(text)",
        "import yaml\nyaml.load(text)",
        "import yaml\nyaml.load(text, Loader=yaml.Loader)",
        "import yaml\nyaml.unsafe_load(text)",
        "import subprocess\nsubprocess.run(line, shell=True)",
        "import os\nos.system(line)",
        "FAISS.load_local(path, e, allow_dangerous_deserialization=True)",
        "JsonPlusSerializer(pickle_fallback=True)",
    ],
)
def test_the_check_finds(bad: str) -> None:
    assert dangers(bad)

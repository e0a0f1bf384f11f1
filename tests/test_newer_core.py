"""Decision models need langchain-core 1.8: without it the import says so, with it they are tried in full."""

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from langroute import RoutedChatModel
from langroute.testing import ScriptedChatModel

ROOT = Path(__file__).parents[1]
WANTED = ("langchain-core>=1.8,<2", "langchain>=1.5,<2")
INSTALL_LINE = "pip install -U 'langchain-core>=1.8'"

older_core = pytest.mark.skipif(
    find_spec("langchain_core.decisions") is not None, reason="this langchain-core has decision models"
)


@older_core
def test_import_on_an_older_core_says_what_to_install():
    with pytest.raises(ImportError) as raised:
        import langroute.decision_model  # noqa: F401
    assert str(raised.value).endswith(INSTALL_LINE)


@older_core
@pytest.mark.parametrize("keyword", ["classifier", "difficulty_classifier"])
def test_classifier_given_on_an_older_core_says_what_to_install(keyword):
    tiers = {"small": {"models": [ScriptedChatModel(reply="ok")]}}
    with pytest.raises(ImportError) as raised:
        RoutedChatModel({"tiers": tiers}, **{keyword: object()})
    assert str(raised.value).endswith(INSTALL_LINE)


@pytest.fixture(scope="session")
def newer_core(tmp_path_factory):
    """A folder with a newer core and langchain, without what they ask for: that resolves nowhere yet."""
    folder = tmp_path_factory.mktemp("newer_core")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--retries", "1", "--timeout", "10"]
    install = [*pip, "install", "--quiet", "--no-deps", "--target", str(folder), *WANTED]
    try:
        ran = subprocess.run(install, capture_output=True, text=True, timeout=120, check=False)
    except subprocess.TimeoutExpired:
        pytest.skip("langchain-core 1.8 cannot be had here: the registry does not answer")
    if ran.returncode:
        pytest.skip(f"langchain-core 1.8 cannot be had here: {ran.stderr.strip().splitlines()[-1:]}")
    return folder


@older_core
def test_decision_models_work_with_a_core_that_has_them(newer_core):
    command = [sys.executable, "-m", "pytest", "-q", str(ROOT / "tests" / "newer_core")]
    path = os.pathsep.join((str(newer_core), str(ROOT)))
    environment = {**os.environ, "PYTHONPATH": path}
    ran = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=600, check=False
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "skipped" not in ran.stdout

"""Histories are sent through the real integrations of five providers, which are fetched for it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
INTEGRATIONS = (
    "langchain-anthropic>=1.7,<1.8",
    "langchain-aws>=1.9,<1.10",
    "langchain-google-genai>=4.4,<4.5",
    "langchain-mistralai>=1.1,<1.2",
)
NEEDED = (
    *("anthropic", "opentelemetry-api", "docstring-parser"),
    *("boto3", "botocore", "s3transfer", "jmespath", "python-dateutil", "six"),
    *("google-genai", "google-auth", "filetype", "tenacity"),
    *("httpx-sse", "tokenizers"),
)
"""What they import beyond what is here: all that they ask for would be 140 MB."""


@pytest.fixture(scope="session")
def integrations(tmp_path_factory):
    """A folder with the integrations; the environment itself is left as it is."""
    folder = tmp_path_factory.mktemp("integrations")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--retries", "1", "--timeout", "10"]
    how = ["install", "--quiet", "--no-deps", "--no-compile", "--target", str(folder)]
    try:
        ran = subprocess.run(
            [*pip, *how, *INTEGRATIONS, *NEEDED], capture_output=True, text=True, timeout=180, check=False
        )
    except subprocess.TimeoutExpired:
        pytest.skip(f"{', '.join(INTEGRATIONS)} cannot be had here: the registry does not answer")
    if ran.returncode:
        pytest.skip(f"{', '.join(INTEGRATIONS)} cannot be had here: {ran.stderr.strip().splitlines()[-1:]}")
    return folder


def test_histories_travel_between_all_five_providers(integrations, capsys):
    matrix = ROOT / "tests" / "portable" / "test_portable_matrix.py"
    command = [sys.executable, "-m", "pytest", "-q", "-W", "ignore", str(matrix)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join((str(integrations), str(ROOT)))}
    ran = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=900, check=False
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "to bedrock" in ran.stdout, "an integration is missing"
    with capsys.disabled():
        sys.stdout.write(ran.stdout)

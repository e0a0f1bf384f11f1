"""The exact skips in LangChain's standard suites: any other fails, and so does one that skips no longer."""

from collections.abc import Generator

import pytest

SKIPS = {
    "test_serdes": "the host refuses to deserialise third parties",
    "test_pdf_inputs": "downloads its input",
    "test_audio_inputs": "downloads its input",
    "test_image_inputs": "downloads its input",
    "test_image_tool_message": "downloads its input",
    "test_pdf_tool_message": "downloads its input",
    "test_anthropic_inputs": "another provider's format, and downloads its input",
    "test_stream_time": "plays a recorded cassette",
}


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Function, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Turn an unexpected skip, and an expected one that did not happen, into a failure."""
    report = yield
    may_skip = item.originalname in SKIPS
    if report.skipped and not may_skip:
        report.outcome, report.longrepr = "failed", f"skipped, and is not in SKIPS: {report.longrepr}"
    elif call.when == "call" and report.passed and may_skip:
        report.outcome, report.longrepr = "failed", f"no longer skips: take {item.originalname} out of SKIPS"
    return report

"""How an error body reaches the program: through the real client, else as a class shaped like its SDK's."""

import functools
import json

import httpx
import pytest

from langroute.testing import Fault

STATUS_NAMES = {
    400: "BadRequestError",
    401: "AuthenticationError",
    403: "PermissionDeniedError",
    404: "NotFoundError",
    409: "ConflictError",
    422: "UnprocessableEntityError",
    429: "RateLimitError",
}


def raised(provider, wire, case):
    """Return the error that a case's body comes as."""
    return WIRES[wire](provider, case) if wire in ("openai", "sse") else WIRES[wire](case)


def openai(provider, case):
    """Raise through the real client: what the loopback provider sends, ChatOpenAI raises."""
    body = case["body"]
    text = body if isinstance(body, str) else json.dumps(body)
    kind = "text/html" if text.startswith("<") else "text/plain" if text is body else "application/json"
    headers = {"content-type": kind, **case.get("headers", {})}
    fault = Fault("status", status=case["status"], body=text, headers=headers)
    return from_client(provider, fault, lambda model: model.invoke("hi"))


def sse(provider, case):
    """Raise through the real client from an event of a stream that began well."""
    body = f"data: {json.dumps(case['body'])}\n\n"
    fault = Fault("status", status=200, body=body, headers={"content-type": "text/event-stream"})
    return from_client(provider, fault, lambda model: list(model.stream("hi")))


def from_client(provider, fault, call):
    provider.heal("m")
    provider.fail("m", fault)
    with pytest.raises(Exception) as caught:  # noqa: PT011 - what is raised is the question
        call(client(provider))
    return caught.value


@functools.cache
def client(provider):
    return provider.chat_model("m")


def shaped(name, base=Exception, text="", **attributes):
    """Return an error of a class of that name, with those attributes."""
    error = type(name, (base,), {})(text)
    for key, value in attributes.items():
        setattr(error, key, value)
    return error


def response(case):
    body = case["body"]
    return httpx.Response(
        case.get("status", 200),
        request=httpx.Request("POST", "http://127.0.0.1/"),
        headers=case.get("headers"),
        text=body if isinstance(body, str) else json.dumps(body),
    )


def anthropic(case):
    """Shaped like anthropic's: an error event of a stream is an `APIStatusError` of status 200."""
    status, answer = case.get("status", 200), response(case)
    name = STATUS_NAMES.get(status, "InternalServerError" if status >= 500 else "APIStatusError")
    text = case["body"]["error"]["message"] if status == 200 else f"Error code: {status} - {case['body']}"
    return shaped(
        name, shape("APIError"), text, status_code=status, body=case["body"], response=answer, message=text
    )


def botocore(case):
    text = f"An error occurred ({case['code']}) when calling the Converse operation: {case['body']}"
    parsed = {
        "Error": {"Code": case["code"], "Message": case["body"]},
        "ResponseMetadata": {"HTTPStatusCode": case["status"], "HTTPHeaders": case.get("headers", {})},
    }
    return shaped("ClientError", text=text, response=parsed, operation_name="Converse")


def google(case):
    """Shaped like google-genai's, which has the status as `code` and the whole body as `details`."""
    error = case["body"]["error"]
    return shaped(
        "ServerError" if case["status"] >= 500 else "ClientError",
        shape("APIError"),
        f"{case['status']} {error['status']}. {case['body']}",
        code=case["status"],
        status=error["status"],
        message=error["message"],
        details=case["body"],
        response=response(case),
    )


def ollama(case):
    class ResponseError(Exception):
        def __str__(self):
            return f"{self.error} (status code: {self.status_code})"

    error = ResponseError(case["body"]["error"])
    error.error, error.status_code = case["body"]["error"], case["status"]
    return error


def mistral(case):
    """Raise httpx's own error, as langchain-mistralai does, with the body in its text."""
    answer = response(case)
    text = f"Error response {case['status']} while fetching {answer.request.url}: {answer.text}"
    return httpx.HTTPStatusError(text, request=answer.request, response=answer)


def cohere(case):
    names = {
        400: "BadRequestError",
        401: "UnauthorizedError",
        404: "NotFoundError",
        429: "TooManyRequestsError",
    }
    text = f"headers: {{'x-trace-id': 'abc'}}, status_code: {case['status']}, body: {case['body']}"
    return shaped(
        names.get(case["status"], "ApiError"),
        text=text,
        status_code=case["status"],
        body=case["body"],
        headers=case.get("headers", {}),
    )


def plain(case):
    """Raise text alone, as wrappers do that keep nothing else."""
    return shaped(case.get("raises", "RuntimeError"), text=case["body"])


def shape(name):
    return type(name, (Exception,), {})


WIRES = {
    "anthropic": anthropic,
    "botocore": botocore,
    "cohere": cohere,
    "google": google,
    "mistral": mistral,
    "ollama": ollama,
    "openai": openai,
    "plain": plain,
    "sse": sse,
}

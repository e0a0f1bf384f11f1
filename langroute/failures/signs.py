"""What providers' codes, statuses, class names and sentences mean: the table, and nothing but the table."""

import re
from collections.abc import Mapping
from typing import Literal, get_args

__all__ = [
    "BY_NAME",
    "BY_STATUS",
    "BY_VAGUE_CODE",
    "FREE",
    "KINDS",
    "LAST_OF_CALLERS",
    "PLAIN_CODES",
    "REMEDIES",
    "VAGUE",
    "WORDS",
    "WORDS_MAY_TELL",
    "Kind",
]

Kind = Literal[
    "auth",
    "bad_response",
    "connection",
    "content_filter",
    "context_overflow",
    "cut_stream",
    "invalid_request",
    "not_found",
    "overloaded",
    "permission",
    "quota",
    "rate_limit",
    "refusal",
    "server",
    "timeout",
    "unknown",
]
"""What can go wrong with a call. `connection`: the provider was never reached; `cut_stream`: it was, and the
connection ended before the whole reply had come."""

KINDS: tuple[str, ...] = get_args(Kind)

FREE: frozenset[Kind] = frozenset(
    {
        "auth",
        "connection",
        "context_overflow",
        "invalid_request",
        "not_found",
        "overloaded",
        "permission",
        "quota",
        "rate_limit",
    }
)
"""Kinds where the provider did no work."""

REMEDIES: Mapping[str, Literal["larger_context", "stop"]] = {
    "context_overflow": "larger_context",
    "invalid_request": "stop",
}
"""For every other kind the next endpoint is called."""

VAGUE: frozenset[Kind] = frozenset({"invalid_request", "server"})
"""Kinds that a status or a type says of anything: whatever is more precise comes first."""

BY_STATUS: Mapping[int, Kind] = {
    401: "auth",
    402: "quota",
    403: "permission",
    404: "not_found",
    405: "not_found",
    407: "auth",
    408: "timeout",
    409: "server",
    410: "not_found",
    413: "context_overflow",
    421: "server",
    423: "overloaded",
    424: "server",
    425: "server",
    426: "server",
    429: "rate_limit",
    451: "permission",
    498: "overloaded",  # Groq's flex tier
    499: "server",
    503: "overloaded",
    504: "timeout",
    522: "timeout",  # this and the next are Cloudflare's
    524: "timeout",
    529: "overloaded",
}
"""Every other 4xx up to 431 is `invalid_request`; what lies beyond is no standard's but a proxy's word, and
`server` like every other 5xx."""

LAST_OF_CALLERS = 431


def _by_word(listed: Mapping[Kind, str]) -> Mapping[str, Kind]:
    return {word: kind for kind, words in listed.items() for word in words.split()}


def _by_code(listed: Mapping[Kind, str]) -> Mapping[str, Kind]:
    """Return the kind by code, the codes in lower case and without punctuation."""
    return {code.replace("_", ""): kind for code, kind in _by_word(listed).items()}


PLAIN_CODES: Mapping[str, Kind] = _by_code(
    {
        "auth": (
            "access_token_expired api_key_invalid expired_token expired_token_exception incomplete_signature"
            " invalid_api_key invalid_authentication_error invalid_client_token_id"
            " invalid_signature_exception missing_authentication_token_exception signature_does_not_match"
            " unrecognized_client_exception"
        ),
        "bad_response": "incomplete_generation json_validate_failed output_parse_failed tool_use_failed",
        "content_filter": (
            "content_filter content_filtered content_policy_violation data_inspection_failed invalid_prompt"
            " prohibited_content responsible_ai_policy_violation"
        ),
        "context_overflow": (
            "context_length_exceeded context_window_exceeded context_window_exceeded_error"
            " exceed_context_size_error tokens_limit_reached"
        ),
        "cut_stream": "model_stream_error_exception",
        "not_found": (
            "deployment_not_found invalid_model model_decommissioned model_not_available model_not_exist"
            " model_not_found model_not_supported operation_not_supported resource_not_found_exception"
            " unavailable_model unknown_model"
        ),
        "overloaded": (
            "capacity_exceeded engine_overloaded engine_overloaded_error model_not_ready_exception overloaded"
            " overloaded_error server_overloaded service_tier_capacity_exceeded slow_down unavailable_error"
        ),
        "permission": (
            "consumer_suspended model_permission_blocked_org model_permission_blocked_project"
            " organization_restricted service_disabled unsupported_country_region_territory"
        ),
        "quota": (
            "arrearage billing_disabled billing_error billing_hard_limit_reached billing_not_active"
            " budget_exceeded credit_limit enforced_spend_limit_reached exceeded_current_quota_error"
            " insufficient_balance insufficient_balance_error insufficient_credits insufficient_quota"
            " insufficient_user_quota payment_required service_quota_exceeded_exception token_quota_reached"
        ),
        "server": "model_error_exception",
        "timeout": "model_timeout_exception",
    }
)
"""Codes that leave no doubt."""

BY_VAGUE_CODE: Mapping[str, Kind] = _by_code(
    {
        "auth": "authentication_error unauthenticated unauthorized",
        "context_overflow": "request_too_large",
        "invalid_request": (
            "bad_request bad_request_error failed_precondition invalid_argument invalid_request_error"
            " validation_exception"
        ),
        "not_found": "not_found not_found_error",
        "overloaded": (
            "service_unavailable service_unavailable_error service_unavailable_exception unavailable"
        ),
        "permission": "access_denied access_denied_exception forbidden permission_denied permission_error",
        "rate_limit": (
            "rate_limit_error rate_limit_exceeded rate_limit_reached rate_limited resource_exhausted"
            " throttling throttling_error throttling_exception too_many_requests too_many_requests_exception"
        ),
        "server": (
            "api_error internal internal_error internal_server_error internal_server_exception server_error"
        ),
        "timeout": "deadline_exceeded gateway_timeout request_timeout timeout timeout_error",
    }
)
"""Codes that say what a status says: the provider's sentence may still tell more."""

BY_NAME: Mapping[str, Kind] = _by_word(
    {
        "auth": (
            "AuthenticationError CredentialRetrievalError DefaultCredentialsError NoCredentialsError"
            " PartialCredentialsError RefreshError SSOTokenLoadError TokenRetrievalError Unauthenticated"
            " UnauthorizedError UnauthorizedSSOTokenError"
        ),
        "bad_response": (
            "APIResponseValidationError ContentTypeError DecodingError JSONDecodeError"
            " LengthFinishReasonError OutputParserException ResponseValidationError TooManyRedirects"
            " UnicodeDecodeError ValidationError"
        ),
        "connection": (
            "APIConnectionError ClientConnectionError ConnectError ConnectTimeout ConnectTimeoutError"
            " ConnectionError ConnectionTimeoutError EndpointConnectionError HTTPClientError"
            " LocalProtocolError NetworkError NewConnectionError PoolTimeout ProxyError SSLError"
            " TransportError URLError gaierror"
        ),
        "content_filter": (
            "BlockedPromptException ContentFilterFinishReasonError ContentPolicyViolationError"
            " StopCandidateException"
        ),
        "context_overflow": "ContextWindowExceededError RequestTooLargeError",
        "cut_stream": (
            "BrokenPipeError BrokenResourceError ChunkedEncodingError ClientPayloadError CloseError"
            " ClosedResourceError ConnectionAbortedError ConnectionClosed ConnectionClosedError"
            " ConnectionResetError EndOfStream IncompleteRead IncompleteReadError ProtocolError ReadError"
            " ResponseStreamingError ServerDisconnectedError WriteError"
        ),
        "invalid_request": "BadRequestError InvalidArgument UnprocessableEntityError",
        "not_found": "NotFound NotFoundError",
        "overloaded": "OverloadedError ServiceUnavailable ServiceUnavailableError",
        "permission": "ForbiddenError PermissionDenied PermissionDeniedError",
        "quota": "BudgetExceededError",
        "rate_limit": "RateLimitError ResourceExhausted TooManyRequests TooManyRequestsError",
        "server": "ConflictError InternalServerError",
        "timeout": (
            "APITimeoutError DeadlineExceeded DeadlineExceededError GatewayTimeoutError ReadTimeoutError"
            " ServerTimeoutError Timeout TimeoutError TimeoutException"
        ),
    }
)
"""Looked up from the most specific class upwards: builtins, httpx, aiohttp, requests, botocore, the SDKs."""


def _any(patterns: str) -> re.Pattern[str]:
    """Return the pattern that fits where one of the lines does."""
    return re.compile("|".join(line.strip() for line in patterns.strip().splitlines()))


WORDS: Mapping[Kind, re.Pattern[str]] = {
    "context_overflow": _any(
        r"""
        (?:exceed|longer|maximum|larger).{0,80}?context[ _-]?(?:length|window|size|limit)
        (?:only|available|beyond|fit|over|too) .{0,80}?context[ _-]?(?:length|window|size|limit)
        context[ _-]?(?:length|window|size|limit).{0,60}?(?:exceed|reached|too )
        (?:prompt|input|message|request|conversation|text)s? (?:is|are|was) too (?:long|large)
        (?:prompt|input|context|conversation)\b.{0,40}?exceed(?:s|ed)?\b.{0,30}?(?:length|token|context|window|max_model_len)
        too many (?:input |prompt )?tokens(?!,? please wait| per|: max tokens)
        token count .{0,60}?(?:exceed|only supports)
        tokens .{0,40}?cannot exceed|tokens exceed n_ctx
        exceed(?:s|ed)? .{0,20}token limit|token limit exceeded|max length exceeded|range of input length
        reduce the length of the (?:input|messages|prompt)|maximum number of input tokens
        configured context size|slot context: \d|超过.{0,4}最大长度|上下文长度
        prompt contains \d+ tokens|maximum prompt length|maximum model length
        must have less than \d+ tokens|must be <= \d+\. given: \d+ .{0,9}tokens
        max_tokens must be at least 1, got -
        payload size exceeds|contextwindowexceeded
        """
    ),
    "content_filter": _any(
        r"""
        content[ _](?:management policy|filter|polic)|responsible ai|safety (?:system|filter)
        flagged (?:as|by|for)|violat.{0,40}(?:polic|guideline)|content exists risk
        requires moderation
        """
    ),
    "quota": _any(
        r"""
        credit balance|insufficient.{0,12}(?:quota|balance|credits?|funds)|more credits
        (?:out of|any|available|included) credits|credits .{0,20}exhausted
        exceeded your current quota|quota exceeded|quota .{0,40}(?:reached|exhausted|used up)
        billing (?:hard limit|details|is not active|to be)
        (?:key|credit|spend|spending|budget|monthly|daily|usage) limits? (?:exceeded|reached)
        usage limit|spending limit|budget has been exceeded|calls / month|per[ -]day|perday
        payment[ _](?:instrument|required)|free allocation|extra usage is required
        余额不足|额度不足|欠费
        """
    ),
    "auth": _any(
        r"""
        api[ _-]?key (?:is )?(?:not valid|invalid|expired|not found|was reported)
        api[ _-]?key: \S+ is invalid|api[ _-]?key .{0,60}?must be (?:given|passed|provided|set)
        (?:incorrect|invalid|missing|expired|revoked) (?:x-)?api[ _-]?(?:key|token)
        unauthori[sz]ed|no auth credentials|invalid authentication|authentication fail
        not authenticated|credentials (?:were )?not found|unable to locate credentials
        illegal header value
        """
    ),
    "not_found": _any(
        r"""
        model .{0,80}?(?:not exist|not found|decommissioned)|model identifier is invalid
        (?:invalid|no such|unknown|unsupported) model|not a valid model|no endpoints found
        on-demand throughput
        """
    ),
    "permission": _any(
        r"""
        location is not supported|territory not supported|must be verified|operation not allowed
        not allowed to (?:access|call|sample|use)|(?:not|n't) have (?:access|permission)
        (?:organization|account) (?:has been|is) (?:disabled|restricted|suspended)
        """
    ),
    "overloaded": _any(
        r"""
        overloaded|(?:at|over) capacity|capacity (?:temporarily )?exceeded|temporarily unavailable
        too busy|server busy|high demand|no healthy upstream|queue is full
        loading model|currently loading
        """
    ),
    "rate_limit": _any(
        r"""
        rate[ _-]?limit|too many requests|throttl|resource (?:has been )?exhausted|too many tokens
        """
    ),
    "timeout": _any(
        r"""
        tim(?:ed|e)[ -]?out|deadline (?:exceeded|expired)
        """
    ),
    "cut_stream": _any(
        r"""
        connection (?:was )?(?:reset|closed|lost|aborted|broken)|server disconnected|peer closed
        incomplete (?:chunked )?read|remote end closed|unexpected eof|ended prematurely
        payload is not completed
        """
    ),
    "connection": _any(
        r"""
        connection (?:error|refused|attempts failed)|(?:failed|unable) to connect|cannot connect
        establish a new connection|name or service not known|certificate verify failed
        network is unreachable|no route to host
        """
    ),
    "bad_response": _any(
        r"""
        unexpected response type|null value for choices|no generation chunks|response missing
        expecting value: line|unterminated string starting|extra data: line
        """
    ),
    "server": _any(
        r"""
        internal (?:server )?error|bad gateway|error (?:while |occurred while )?processing
        upstream (?:request failed|error)
        """
    ),
}
"""Sentences, looked for in lower case and without URLs; the first kind of which a line fits tells."""

WORDS_MAY_TELL: Mapping[str, frozenset[Kind]] = {
    "connection": frozenset({"auth", "cut_stream"}),
    "invalid_request": frozenset(
        {"auth", "content_filter", "context_overflow", "not_found", "permission", "quota", "server"}
    ),
    "permission": frozenset({"auth", "content_filter", "quota"}),
    "rate_limit": frozenset({"overloaded", "quota"}),
    "server": frozenset({"context_overflow", "overloaded", "quota"}),
    "unknown": frozenset(WORDS),
}
"""Which kinds the text may still turn a kind into: a 401 stays a 401 whatever it says."""

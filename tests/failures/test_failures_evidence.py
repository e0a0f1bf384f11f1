"""What an error says of itself, to the letter: where it is looked for, in which order, and how much of it."""

from http import HTTPStatus
from itertools import pairwise
from types import SimpleNamespace

import httpx
import pytest
from raising import shape, shaped

from langroute.failures.evidence import Evidence, chain, handled, leaves, names, read

CHARS = 1_000
PARSED_CHARS = 20_000


def of(**attributes):
    """Return what an error with these attributes, and no text, says of itself."""
    return read(shaped("E", **attributes))


def test_an_error_with_nothing_but_text_says_that():
    assert read(ValueError("a 7")) == Evidence(
        ("ValueError", "Exception", "BaseException", "object"), "a 7", "", None, (), {}
    )


def test_an_error_of_a_provider_says_all_of_it():
    body = {"error": {"code": "Some_Code", "type": "T", "message": "No.", "status": 422}}
    error = shaped("E", text="printed", body=body, headers={"Retry-After": 3}, status_code=418)
    assert read(error) == Evidence(
        names(error), "printed", "No.", 418, ("somecode", "t"), {"retry-after": "3"}
    )


@pytest.mark.parametrize("depth", ["text", "args", "body"])
def test_what_raises_when_it_is_looked_into_leaves_the_class_and_the_text(depth):
    class Trap(dict):
        def get(self, *_):
            raise RuntimeError

    error = shaped("TrapError", text="told", body=Trap(error={"code": "x"}))
    assert read(error) == Evidence(names(error), "told")


# What it prints ------------------------------------------------------------------------------------------


def test_of_what_it_prints_the_head_is_kept():
    assert read(ValueError("x" * CHARS + "y")).text == "x" * CHARS


def test_an_error_object_as_its_only_argument_is_not_printed():
    body = {"message": "No."}
    assert read(ValueError(body)) == Evidence(names(ValueError()), "", "No.", None, (), {})
    assert read(ValueError(body, "and more")).text == "({'message': 'No.'}, 'and more')"
    assert read(ValueError([body])).text == "[{'message': 'No.'}]"


def test_an_error_that_cannot_be_printed_says_nothing():
    class Mute(Exception):
        def __str__(self):
            raise RuntimeError

    assert read(Mute("x")).text == ""


# Bodies --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["body", "details", "error", "json_body"])
def test_a_body_is_kept_under_many_names(name):
    assert of(**{name: {"message": "No."}}).said == "No."
    assert of(**{name: '{"message": "No."}'}).said == "No."
    assert of(**{name: b'{"message": "No."}'}).said == "No."


@pytest.mark.parametrize(
    ("response", "said"),
    [
        ({"message": "No."}, "No."),
        (SimpleNamespace(_content=b'{"message": "No."}'), "No."),
        (SimpleNamespace(_content='{"message": "No."}'), ""),
        (httpx.Response(400, json={"message": "No."}), "No."),
        (httpx.Response(400, text="plain"), "plain"),
    ],
)
def test_the_body_of_a_response_is_read_where_it_is_there(response, said):
    assert of(response=response).said == said


def test_a_first_argument_is_a_body_unless_it_is_text():
    assert read(ValueError(shaped("Inner", message="No."))).said == "No."
    assert read(ValueError(b'{"message": "No."}', 1)).said == "No."
    assert read(ValueError('"quoted"')) == Evidence(names(ValueError()), '"quoted"', "", None, (), {})


def test_bodies_are_read_in_the_order_of_their_places():
    error = shaped(
        "E",
        body={"message": "one"},
        details={"message": "two"},
        error={"message": "three"},
        json_body={"message": "four"},
        response={"message": "five"},
    )
    error.args = ({"message": "six"},)
    assert read(error).said == "one two three four five six"


def test_a_grpc_error_says_its_status_and_its_details():
    class InactiveRpcError(Exception):
        def code(self):
            return SimpleNamespace(name="UNAVAILABLE")

        def details(self):
            return "try later"

    found = read(InactiveRpcError("printed"))
    assert (found.said, found.codes) == ("try later", ("unavailable",))
    plain = type("PlainError", (Exception,), dict(vars(InactiveRpcError)))
    assert read(plain("printed")).said == ""


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ('{"message": "No."}', "No."),
        ('[{"message": "No."}]', "No."),
        (' {"message": "No."}', ' {"message": "No."}'),
        ('{"message": "No."', '{"message": "No."'),
        ('"No."', '"No."'),
        (b'{"message": "\xff"}', "\ufffd"),
        ("[" * 10_000, "[" * CHARS),
        ("  ", ""),
    ],
)
def test_a_body_of_text_is_data_where_it_is_json(body, said):
    assert of(body=body).said == said


@pytest.mark.parametrize("kind", [str, bytes])
@pytest.mark.parametrize(("chars", "read_as"), [(PARSED_CHARS, "data"), (PARSED_CHARS + 1, "text")])
def test_a_body_of_text_is_read_as_data_up_to_a_length(kind, chars, read_as):
    text = '{"message": "' + "x" * (chars - 15) + '"}'
    assert len(text) == chars
    found = of(body=text if kind is str else text.encode())
    assert found.said == ("x" * CHARS if read_as == "data" else text[:CHARS])


def test_an_object_inside_the_text_is_read_where_there_is_no_other():
    text = 'Error 429: {"message": "No.", "code": "a"} and more'
    assert read(RuntimeError(text)).said == "No."
    assert read(RuntimeError("{")).said == ""
    assert read(RuntimeError("{" * 900)).said == ""
    assert read(shaped("E", text=text, body={"message": "Yes."})).said == "Yes."
    assert read(shaped("E", text=text, body=[{"message": "Yes."}])).said == "Yes."
    assert read(shaped("E", text=text, body="a page")).said == "a page No."


@pytest.mark.parametrize(
    "inside",
    [
        *("error", "Error", "errors", "innererror", "inner_error", "detail", "details"),
        *("violations", "metadata", "raw", "message", "response"),
    ],
)
def test_an_object_is_read_inside_others(inside):
    assert of(body={inside: {"code": "deep"}}).codes == ("deep",)
    assert of(body={inside: [{"code": "deep"}]}).codes == ("deep",)
    assert of(body={inside: '{"code": "deep"}'}).codes == ("deep",)
    assert of(body={inside: shaped("Inner", code="deep")}).codes == ("deep",)


@pytest.mark.parametrize(
    ("message", "codes"),
    [
        ('litellm.BadRequestError: XException - {"code": "deep"}', ("deep",)),
        ('ApiException: {"code": "deep"} and more', ("deep",)),
        ('BadRequestError - {"code": "deep"', ()),
        ('Badness - {"code": "deep"}', ()),
        ("BadRequestError" + " " * 101 + '{"code": "deep"}', ()),
        ("XError " + '{"code": "' + "d" * 900 + '"}', ("d" * 900,)),
        ("XError " + '{"code": "' + "d" * PARSED_CHARS + '"}', ()),
    ],
)
def test_an_object_that_a_proxys_message_wraps_is_read(message, codes):
    assert of(body={"message": message}).codes == codes


def test_objects_are_read_from_the_outside_in():
    body = {"error": {"message": "two", "error": {"message": "four"}}, "detail": {"message": "three"}}
    assert of(body={**body, "message": "one"}).said == "one two three four"


def test_of_a_list_four_are_read_and_of_all_objects_twenty_four_places():
    assert of(body=[{"code": f"c{'x' * number}"} for number in range(9)]).codes == ("c", "cx", "cxx", "cxxx")
    deep = {"code": "last"}
    for _ in range(18):
        deep = {"error": deep}
    # The six places of an error, of which five hold nothing here, come before what stands in them.
    assert of(body=deep).codes == ("last",)
    assert of(body={"error": deep}).codes == ()


# Sentences -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["message", "Message", "msg", "detail", "error", "error_description", "raw", "quotaId"]
)
def test_a_sentence_is_kept_under_many_names(name):
    assert of(body={name: "No."}).said == "No."
    assert of(body={name: 7}).said == ""


def test_sentences_are_told_once_those_that_stand_alone_first():
    found = of(body={"message": "two", "msg": "three", "error": {"message": "two"}}, details="one")
    assert found.said == "one two three"
    assert of(body={"message": " ", "msg": "\n"}).said == ""


def test_of_a_sentence_a_thousand_characters_are_kept_and_twice_that_of_all():
    assert of(body={"message": "x" * CHARS + "y"}).said == "x" * CHARS
    assert of(body="x" * CHARS + "y").said == "x" * CHARS
    body = {"message": "x" * CHARS, "msg": "y" * CHARS}
    assert of(body=body).said == "x" * CHARS + " " + "y" * (CHARS - 1)


def test_its_sentence_is_the_providers_else_what_it_prints():
    assert read(shaped("E", text="printed", body={"message": "No."})).sentence == "No."
    assert read(shaped("E", text="printed")).sentence == "printed"


# Statuses, codes -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["status_code", "http_status", "status", "code", "raw_status_code", "statusCode"]
)
def test_a_status_is_kept_under_many_names(name):
    assert of(**{name: 418}).status == 418
    assert of(body={name: "418"}).status == 418


@pytest.mark.parametrize(
    ("value", "status"),
    [
        (400, 400),
        (599, 599),
        (399, None),
        (600, None),
        ("400", 400),
        ("0400", None),
        ("4e2", None),
        ("٤٠٠", None),
        (" 40", None),
        ("200", None),
        (HTTPStatus.CONFLICT, 409),
        (400.0, None),
    ],
)
def test_a_status_is_one_of_https_errors(value, status):
    found = of(status_code=value).status
    assert found == status
    assert type(found) in (int, type(None))


def test_the_status_of_the_response_comes_first_then_the_errors_then_the_bodys():
    everywhere = {"status_code": 420, "body": {"status": 430, "error": {"code": 440}}}
    aws = {"ResponseMetadata": {"HTTPStatusCode": 411}}
    assert of(response=SimpleNamespace(status_code=410), **everywhere).status == 410
    assert of(response=aws, **everywhere).status == 411
    assert of(response={"status_code": 409, **aws}, **everywhere).status == 409
    assert of(response=SimpleNamespace(status_code=200), **everywhere).status == 420
    assert of(body=everywhere["body"]).status == 430
    assert of(code="x", body={"error": {"code": 440}}).status == 440


@pytest.mark.parametrize(
    "name", ["code", "Code", "type", "status", "reason", "error_type", "__type", "errorCode"]
)
def test_a_code_is_kept_under_many_names(name):
    assert of(body={name: "Rate_Limit-Exceeded 9"}).codes == ("ratelimitexceeded9",)
    assert of(**{name: "Rate.Limit"}).codes == ("ratelimit",)
    assert of(body={name: 7}).codes == ()


@pytest.mark.parametrize(
    ("code", "plain"),
    [
        ("com.amazon#Throttling", "throttling"),
        ("a#b#Throttling:http://internal:8", "throttling"),
        ("x" * CHARS + "y", "x" * CHARS),
        ("ÄÖ", ""),
    ],
)
def test_a_code_is_told_without_namespace_link_and_punctuation(code, plain):
    assert of(code=code).codes == (plain,)


def test_codes_are_told_from_the_outside_in():
    found = of(code="one", type="two", body={"type": "four", "code": "three", "error": {"code": "five"}})
    assert found.codes == ("one", "two", "three", "four", "five")


# Headers -------------------------------------------------------------------------------------------------


def test_headers_are_the_errors_then_the_responses_then_the_bodys():
    found = of(
        headers={"A": 1},
        response=SimpleNamespace(headers={"a": 2, "B": 2}),
        body={"headers": {"b": 3, "C": 3}, "error": {"headers": {"c": 4, "D": 4}}},
    )
    assert found.headers == {"a": "1", "b": "2", "c": "3", "d": "4"}
    aws = {"ResponseMetadata": {"HTTPHeaders": {"a": 5, "E": 5}}, "headers": {"a": 1}}
    assert of(response=aws).headers == {"a": "1", "e": "5"}


def test_a_delay_in_the_body_is_a_header_of_its_own():
    assert of(body={"details": [{"retryDelay": "7s"}, {"retryDelay": "8s"}]}).headers == {"retrydelay": "7s"}
    assert of(body={"retryDelay": 7}).headers == {}
    assert of(headers={"RetryDelay": "1s"}, body={"retryDelay": "7s"}).headers == {"retrydelay": "1s"}


def test_of_headers_a_hundred_are_read_and_of_each_a_hundred_characters():
    found = of(headers={f"H{number}": "x" * 100 + "y" for number in range(101)}).headers
    assert found == {f"h{number}": "x" * 100 for number in range(100)}


def test_what_is_no_mapping_is_no_headers():
    assert of(headers="Retry-After: 3", response=SimpleNamespace(headers=7)).headers == {}


def test_headers_whose_look_raises_are_none():
    class Odd(dict):
        def items(self):
            raise RuntimeError

    assert of(headers=Odd(a=1), response=SimpleNamespace(headers={"b": 2})).headers == {"b": "2"}


# Chains and groups ---------------------------------------------------------------------------------------


def linked(*errors):
    for effect, cause in pairwise(errors):
        effect.__cause__ = cause
    return errors


def test_eight_errors_of_a_chain_are_read_the_outermost_first():
    errors = linked(*(ValueError(number) for number in range(9)))
    assert list(chain(errors[0])) == list(errors[:8])


def test_an_error_in_a_circle_is_read_once():
    first, second = linked(ValueError(1), ValueError(2))
    second.__cause__ = first
    assert list(chain(first)) == [first, second]


def test_what_a_group_holds_comes_before_its_cause_and_eight_of_it_are_read():
    inner = [ValueError(number) for number in range(9)]
    cause = KeyError()
    (group, _) = linked(ExceptionGroup("g", inner[:2]), cause)
    assert list(chain(group)) == [group, *inner[:2], cause]
    assert list(chain(ExceptionGroup("g", inner)))[1:] == inner[:7]
    twice = ExceptionGroup("g", [inner[0], inner[0], inner[1]])
    assert list(chain(twice)) == [twice, inner[0], inner[1]]


def test_a_cause_that_is_no_error_ends_its_chain_and_no_other():
    first = linked(ExceptionGroup("g", [ValueError(1), ValueError(2)]), KeyError())[0]
    assert [type(error).__name__ for error in chain(first)] == [
        "ExceptionGroup",
        "ValueError",
        "ValueError",
        "KeyError",
    ]


def test_the_leaves_of_a_group_are_what_it_holds_at_any_depth():
    one, two, three = ValueError(1), KeyboardInterrupt(), KeyError(3)
    group = BaseExceptionGroup("g", [BaseExceptionGroup("h", [one, two]), three])
    assert set(leaves(group)) == {one, two, three}
    assert list(leaves(one)) == [one]


def test_a_group_that_raises_when_it_is_looked_into_has_no_leaves():
    class Odd(ExceptionGroup):
        def __getattribute__(self, name):
            if name == "exceptions":
                raise RuntimeError
            return super().__getattribute__(name)

    group = Odd("g", [ValueError()])
    assert list(leaves(group)) == []
    assert list(chain(group)) == [group]


# What was being handled ----------------------------------------------------------------------------------


def raised(error):
    try:
        raise error
    except type(error) as caught:
        return caught


def deeper(error):
    raise error


def while_handling(first, second, where):
    """Raise `second` while `first` is handled, each in this frame or in one below."""
    try:
        try:
            deeper(first) if "first" in where else raised_here(first)
        except type(first):
            if "second" in where:
                deeper(second)
            raise second  # noqa: B904 - the context is the question
    except type(second) as caught:
        return caught


def raised_here(error):
    raise error


@pytest.mark.parametrize("where", ["", "first", "second", "first second"])
def test_the_error_that_was_handled_in_the_same_call_is_found_from_any_depth(where):
    first, second = KeyError(), ValueError()
    assert handled(while_handling(first, second, where)) is first


def test_an_error_without_a_context_was_raised_while_nothing_was_handled():
    assert handled(raised(ValueError())) is None
    assert handled(ValueError()) is None
    never_raised = ValueError()
    never_raised.__context__ = KeyError()
    assert handled(never_raised) is None


def test_a_context_that_the_program_suppressed_is_none():
    second = while_handling(KeyError(), ValueError(), "")
    second.__suppress_context__ = True
    assert handled(second) is None


def test_names_are_those_of_the_classes_the_most_specific_first():
    assert names(shaped("Own", shape("Base"))) == ("Own", "Base", "Exception", "BaseException", "object")

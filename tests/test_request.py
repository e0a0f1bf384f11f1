"""What is read off a request, and what it costs to read it."""

import time

import pytest
from langchain_core.documents import Document as LangChainDocument
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage, ToolMessage
from langchain_core.tools import Tool, tool
from pydantic import BaseModel, Field

from langroute.request import Document, Request, as_documents, tool_name


def said(*texts):
    return Request(tuple(HumanMessage(text) for text in texts))


@tool
def search(query: str, limit: int = 5) -> str:
    """Search the archive for a phrase."""
    return query * limit


class Invoice(BaseModel):
    """An invoice."""

    total: float = Field(description="Sum of all lines, taxes included")


ANTHROPIC_FORM = """<documents><document index="1">
<source>a</source><document_content>One</document_content>
</document></documents>"""


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        ('<document id="a.txt">One</document>', [("a.txt", "One")]),
        ("<doc id='two words'>One</doc>", [("two words", "One")]),
        ("<source name=x>\n One \n</source>", [("x", "One")]),
        ("<DOCUMENT INDEX=1>One</Document>", [("1", "One")]),
        ("<passage id=1>One</passage> and <passage id=2>Two</passage>", [("1", "One"), ("2", "Two")]),
        (ANTHROPIC_FORM, [("1", "<source>a</source><document_content>One</document_content>")]),
        ("<document id=1>left open <document id=2>One</document>", [("2", "One")]),
        ("<document>no id</document>", []),
        ("<document id=1>never closed", []),
        ("cite as <document id=...>", []),
        ("[1] Smith 2001\n[2] Jones 2002", []),
    ],
)
def test_documents_are_found_by_their_tags(prompt, expected):
    request = said(prompt)
    assert [(document.id, document.text) for document in request.documents] == expected
    assert request.document_count == len(expected)


def test_given_documents_win_over_tags_and_a_reply_is_no_source():
    tagged = HumanMessage("<doc id=1>a</doc>")
    assert Request((tagged,), given_documents=()).documents == ()
    assert Request((AIMessage(tagged.content),)).documents == ()
    assert Request((ToolMessage(tagged.content, tool_call_id="1"),)).document_count == 1


@pytest.mark.parametrize(
    "prompt",
    [
        "<document id=1 " * 60_000,
        "<document id=1>" * 60_000,
        "<document " + " " * 900_000,
        "</document>" * 80_000,
    ],
)
def test_search_for_documents_stays_linear_on_hostile_prompts(prompt):
    started_s = time.process_time()
    assert said(prompt).documents == ()
    assert time.process_time() - started_s < 1.0  # takes some 20 ms; quadratic would take minutes


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, []),
        (["One", "Two"], [("1", "One"), ("2", "Two")]),
        ("One", [("1", "One")]),
        ([LangChainDocument("One", metadata={"source": "a.txt"})], [("a.txt", "One")]),
        ([LangChainDocument("One", metadata={"title": "T", "id": 7}, id="uuid")], [("7", "One")]),
        ([LangChainDocument("One", id="x")], [("x", "One")]),
        ([{"text": "One", "source": "b"}], [("b", "One")]),
        ([{"page_content": "One", "metadata": {"title": "T"}}], [("T", "One")]),
        ({"content": "One"}, [("1", "One")]),
        ((Document("9", "One"),), [("9", "One")]),
    ],
)
def test_documents_come_in_every_usual_form(value, expected):
    assert [(document.id, document.text) for document in as_documents(value)] == expected


@pytest.mark.parametrize("value", [[3], [{"id": "1"}], [None]])
def test_what_is_no_document_is_refused_by_position(value):
    with pytest.raises(TypeError, match=r"document 1, a .* has no text"):
        as_documents(value)


def test_estimated_tokens_count_messages_tool_calls_tools_and_schema():
    call = {"name": "search", "args": {"query": "q" * 400}, "id": "1"}
    plain = said("x" * 400).estimated_tokens
    assert plain == 103
    assert Request((HumanMessage("x" * 400), AIMessage("", tool_calls=[call]))).estimated_tokens > plain + 100
    assert Request(said("x" * 400).messages, tools=(search,)).estimated_tokens > plain + 40
    assert Request(said("x" * 400).messages, schema=Invoice).estimated_tokens > plain + 40


def test_tool_is_sized_alike_in_every_form():
    def look(query: str) -> str:
        """Search the archive for a phrase."""
        return query

    openai = {"type": "function", "function": {"name": "look", "description": look.__doc__, "parameters": {}}}
    bare = Tool("look", look, look.__doc__)
    sizes = [Request((), tools=(form,)).estimated_tokens for form in (search, look, openai, tool(look), bare)]
    assert max(sizes) < 2 * min(sizes)


@pytest.mark.parametrize(
    ("text", "least", "most"), [("分析" * 500, 700, 800), ("да " * 500, 550, 650), ("é" * 400, 190, 210)]
)
def test_text_beyond_ascii_is_measured_in_bytes(text, least, most):
    assert least <= said(text).estimated_tokens <= most


def test_pictures_count_nothing_and_text_blocks_count():
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * 9_000}}
    request = Request((HumanMessage([{"type": "text", "text": "x" * 40}, image]),))
    assert (request.characters, request.question) == (40, "x" * 40)


def test_sample_is_head_and_tail_whatever_the_number_of_messages():
    long = said("a" * 3_000, "b" * 3_000, "c" * 3_000).sample
    assert long == "a" * 2_000 + "\n" + "c" * 2_000
    assert said("a" * 5_000).sample == "a" * 2_000 + "\n" + "a" * 2_000
    assert said("a", "b").sample == "a\nb"
    assert Request(()).sample == ""


def test_question_is_the_last_human_message_and_asked_leaves_its_documents_out():
    request = Request((HumanMessage("first"), HumanMessage("<doc id=1>a</doc>Who?"), AIMessage("hm")))
    assert request.question == "<doc id=1>a</doc>Who?"
    assert request.asked == "<doc id=1>\n</doc>Who?"
    assert Request((SystemMessage("Only this"),)).asked == "Only this"
    assert said("plain").asked == "plain"


def test_holder_and_its_prefix_are_those_of_the_latest_reply():
    first = AIMessage("a" * 40, response_metadata={"langroute": {"endpoint": "x"}})
    request = Request((HumanMessage("q" * 40), first, HumanMessage("z" * 400)))
    assert (request.holder, request.held_tokens) == ("x", 26)
    foreign = Request((*request.messages, AIMessage("from elsewhere"), HumanMessage("z")))
    assert (foreign.holder, said("q").holder, said("q").held_tokens) == (None, None, 0)


@pytest.mark.parametrize("record", ["x", {"endpoint": 3}, None])
def test_odd_record_in_a_reply_holds_nothing(record):
    assert Request((AIMessage("a", response_metadata={"langroute": record}),)).holder is None


def test_tool_results_that_end_the_conversation_are_named_by_their_call():
    calls = [{"id": "1", "name": "search", "args": {}}, {"id": "2", "name": "read", "args": {}}]
    results = (ToolMessage("r", tool_call_id="2"), ToolMessage("s", tool_call_id="1", name="search"))
    request = Request((HumanMessage("q"), AIMessage("", tool_calls=calls), *results))
    assert (request.last_tool_messages, request.last_tool_names) == (results, ("read", "search"))
    assert said("q").last_tool_names == ()
    assert Request(results[:1]).last_tool_names == ("",)


def test_digest_depends_on_roles_and_texts_alone():
    one = Request((HumanMessage("a", id="1"), AIMessage("b")))
    assert one.digest == Request((HumanMessage("a", id="2"), AIMessage("b")), metadata={"x": 1}).digest
    others = [Request((AIMessage("a"), HumanMessage("b"))), said("a", "b"), said("ab"), said("a\nhuman 1\nb")]
    assert len({one.digest, *(other.digest for other in others)}) == 5
    assert said("\ud800").digest


@pytest.mark.parametrize(
    ("bound", "name"),
    [
        (search, "search"),
        (Invoice, "Invoice"),
        ({"title": "T"}, "T"),
        ({"function": {"name": "f"}}, "f"),
        ({}, ""),
    ],
)
def test_tool_has_its_name_in_every_form(bound, name):
    assert tool_name(bound) == name

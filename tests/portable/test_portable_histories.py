"""What `portable` mends, case by case."""

import pytest
from langchain_core.messages import AIMessage, AIMessageChunk, HumanMessage, SystemMessage, ToolMessage
from writers import Writer, histories

from langroute import Policy, portable
from langroute.endpoints import Endpoints

LONG = "x" * 65
ASK = HumanMessage("Hi?")


def called(*ids, text="", tool="search", **more):
    calls = [{"name": tool, "args": {"n": n}, "id": call_id} for n, call_id in enumerate(ids)]
    return AIMessage(text, tool_calls=calls, **more)


def answer(call_id, text="found", **more):
    return ToolMessage(text, tool_call_id=call_id, **more)


def test_usual_conversation_is_the_same_object():
    usual = (SystemMessage("Be brief."), ASK, AIMessage("Hello."), HumanMessage("So?"))
    for to in (
        "openai",
        "anthropic:claude-opus-4-5",
        "google_genai",
        "mistralai",
        "bedrock_converse",
        "vllm",
    ):
        assert portable(usual, to=to) is usual


def test_id_over_openai_s_limit_becomes_the_same_nine_characters_each_time():
    history = [ASK, called(LONG), answer(LONG)]
    sent = portable(history, to="openai")
    new = sent[1].tool_calls[0]["id"]
    assert sent[2].tool_call_id == new
    assert len(new) == 9
    assert new.isalnum()
    longer = portable([*history, AIMessage("It is."), HumanMessage("So?")], to="openai")
    assert longer[1].tool_calls[0]["id"] == new
    assert history[1].tool_calls[0]["id"] == LONG


def test_id_that_is_fit_is_kept_beside_one_that_is_not():
    sent = portable([ASK, called("call_1", LONG), answer("call_1"), answer(LONG)], to="openai")
    assert sent[1].tool_calls[0]["id"] == sent[2].tool_call_id == "call_1"


def test_ids_that_a_server_counts_anew_are_told_apart():
    history = [ASK, called("call_0"), answer("call_0", "one"), called("call_0"), answer("call_0", "two")]
    sent = portable(history, to="anthropic")
    first, second = sent[1].tool_calls[0]["id"], sent[3].tool_calls[0]["id"]
    assert first == "call_0" != second
    assert [(each.tool_call_id, each.content) for each in sent if each.type == "tool"] == [
        ("call_0", "one"),
        (second, "two"),
    ]


def test_call_without_an_id_gets_one():
    sent = portable([ASK, called(None), answer("")], to="openai")
    assert sent[1].tool_calls[0]["id"] == sent[2].tool_call_id != ""


def test_id_is_changed_in_the_blocks_of_a_model_s_own_reply_too():
    reply = called(LONG, response_metadata={"model_provider": "openai"})
    reply = reply.model_copy(
        update={"content": [{"type": "function_call", "call_id": LONG, "name": "search", "arguments": "{}"}]}
    )
    sent = portable([ASK, reply, answer(LONG)], to="openai")
    assert sent[1].content[0]["call_id"] == sent[1].tool_calls[0]["id"] == sent[2].tool_call_id


def test_results_are_put_in_the_order_of_the_calls_where_order_is_all_there_is():
    history = [ASK, called("a", "b"), answer("b", "second"), answer("a", "first")]
    assert [each.content for each in portable(history, to="google_genai")[2:]] == ["first", "second"]
    assert portable(history, to="openai") is history


def test_call_without_a_result_gets_one_that_says_so():
    sent = portable([ASK, called("a", "b"), answer("a"), HumanMessage("So?")], to="openai")
    assert [each.type for each in sent] == ["human", "ai", "tool", "tool", "human"]
    assert sent[3].tool_call_id == "b"
    assert sent[3].status == "error"
    assert "not carried out" in sent[3].content


def test_result_without_its_call_becomes_a_person_s_message_with_its_text():
    sent = portable([ASK, answer("a", "42 hits", name="search"), AIMessage("Hello."), ASK], to="openai")
    assert sent[1].type == "human"
    assert sent[1].content == "Result of the tool search:\n42 hits"


def test_result_that_comes_late_is_put_after_its_call():
    sent = portable([ASK, called("a"), HumanMessage("Well?"), answer("a")], to="anthropic")
    assert [each.type for each in sent] == ["human", "ai", "tool", "human"]


def test_call_that_could_not_be_read_is_kept_where_it_was_answered_only():
    bad = [{"name": "search", "args": "{", "id": n, "error": None, "type": "invalid_tool_call"} for n in "ab"]
    sent = portable([ASK, AIMessage("", invalid_tool_calls=bad), answer("b", "bad JSON")], to="openai")
    assert [(call["id"], call["args"]) for call in sent[1].tool_calls] == [("b", {})]
    assert sent[1].invalid_tool_calls == []
    assert sent[2].tool_call_id == "b"


@pytest.mark.parametrize("wire", ["responses", "anthropic", "google", "mistral", "bedrock"])
def test_another_model_s_reply_keeps_its_text_and_its_calls(wire):
    history = histories(wire)["tool call"]
    sent = portable(history, to="openai:gpt-5-mini")
    reply = sent[2]
    assert reply.content == "I look."
    assert reply.tool_calls == history[2].tool_calls
    assert not reply.additional_kwargs
    assert not reply.response_metadata


def test_refusal_and_picture_of_another_model_are_told_in_words():
    stamp = {"model_provider": "openai"}
    refused = AIMessage("", additional_kwargs={"refusal": "I cannot."}, response_metadata=stamp)
    drawn = AIMessage([{"type": "image_generation_call", "id": "ig_1"}], response_metadata=stamp)
    sent = portable([ASK, refused, ASK, drawn, ASK], to="anthropic")
    assert sent[1].content == "I cannot."
    assert "picture" in sent[3].content


def test_reply_of_an_unknown_writer_is_judged_by_its_blocks():
    thought = {"type": "thinking", "thinking": "I think.", "signature": "s"}
    signed = [ASK, AIMessage([thought, {"type": "text", "text": "Hello."}]), ASK]
    assert portable(signed, to="anthropic") is signed
    assert portable(signed, to="mistralai")[1].content == "Hello."


def test_reply_is_its_endpoint_s_own_by_langroute_s_record():
    tiers = {"all": {"models": ["anthropic:claude-opus-4-5", "anthropic:claude-haiku-4-5"]}}
    opus, haiku = Endpoints(Policy.load({"tiers": tiers})).by_name.values()
    reply = Writer("anthropic").reply("Hello.", thinks=True)
    reply.response_metadata["langroute"] = {"endpoint": opus.name}
    history = [ASK, reply, ASK]
    assert portable(history, to=opus) is history
    assert portable(history, to=haiku)[1].content == "Hello."


def test_late_system_message_moves_to_the_front_where_it_may_not_stay():
    history = [ASK, AIMessage("Hello."), SystemMessage("In French."), ASK]
    assert portable(history, to="openai") is history
    assert [each.type for each in portable(history, to="google_genai")] == ["system", "human", "ai", "human"]


def test_text_beside_a_call_reaches_mistral_in_a_reply_of_its_own():
    sent = portable([ASK, called("abcdefghi", text="I look."), answer("abcdefghi")], to="mistralai")
    assert [(each.content, bool(each.tool_calls)) for each in sent[1:3]] == [("I look.", False), ("", True)]


def test_last_human_message_stays_though_it_is_empty():
    empty = [HumanMessage("")]
    assert portable(empty, to="anthropic") is empty


def test_replies_put_together_from_chunks_are_mended_like_others():
    chunk = AIMessageChunk("", tool_calls=[{"name": "search", "args": {}, "id": LONG}])
    sent = portable([ASK, chunk, answer(LONG)], to="openai")
    assert sent[1].tool_calls[0]["id"] == sent[2].tool_call_id != LONG


def test_documents_and_marks_are_respelt():
    source = {"type": "base64", "media_type": "application/pdf", "data": "JVBERg=="}
    note = {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "A note."}}
    blocks = [
        {"type": "document", "source": source, "cache_control": {"type": "ephemeral"}},
        note,
        {"text": "Bedrock's."},
    ]
    (sent,) = portable([HumanMessage(blocks)], to="openai")
    assert sent.content == [
        {"type": "file", "mime_type": "application/pdf", "base64": "JVBERg=="},
        {"type": "text", "text": "A note."},
        {"type": "text", "text": "Bedrock's."},
    ]


def test_unknown_provider_gets_pairs_and_no_more():
    history = [
        ASK,
        called(LONG, text="I look."),
        answer(LONG),
        SystemMessage("In French."),
        HumanMessage(" "),
    ]
    assert portable(history, to="vllm") is history
    assert [each.type for each in portable([ASK, called("a"), ASK], to="vllm")] == [
        "human",
        "ai",
        "tool",
        "human",
    ]


def test_reply_of_a_known_provider_is_told_in_words_to_an_unknown_one():
    history = histories("anthropic")["thinking"]
    assert portable(history, to="vllm")[2].content == "Hello."

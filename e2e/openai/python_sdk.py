"""The official OpenAI package for Python against the gateway.

    PATCHBAY_URL=http://127.0.0.1:4766 PATCHBAY_TOKEN=… PATCHBAY_UPSTREAM_PORT=… python3 python_sdk.py

The gateway has the providers `up` (OpenAI's wire) and `claude` (Anthropic's), both at the upstream
port, where this script answers as their vendor. The last line is `N passed, N failed`.
"""

import base64
import json
import os
import struct
import sys
import threading
import traceback
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import openai
from pydantic import BaseModel

URL, TOKEN = os.environ["PATCHBAY_URL"].rstrip("/") + "/v1", os.environ["PATCHBAY_TOKEN"]
PORT = int(os.environ["PATCHBAY_UPSTREAM_PORT"])
WORDS = ["Hello", " from", " the", " upstream"]
USAGE = {"prompt_tokens": 5, "completion_tokens": 4, "total_tokens": 9}
WEATHER = {"type": "function", "function": {"name": "weather", "parameters": {
    "type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"], "additionalProperties": False}}}
ARGUMENTS = '{"city": "Oslo"}'
TOOL = {"type": "function", "strict": True, **WEATHER["function"]}


class Vendor(BaseHTTPRequestHandler):
    """Both vendors at once."""

    protocol_version = "HTTP/1.1"
    seen = []

    def log_message(self, *_):
        pass

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        Vendor.seen.append(body)
        if self.path == "/v1/embeddings":
            vectors = [{"object": "embedding", "index": 0, "embedding": [0.5, -1.25, 2.0]}]
            self.json(200, {"object": "list", "model": "embedder", "data": vectors, "usage": {"prompt_tokens": 1, "total_tokens": 1}})
        elif self.path == "/v1/messages":
            self.events(self.anthropic(body))
        elif body["model"] == "busy":
            error = {"message": "slow down", "type": "requests", "param": None, "code": "rate_limit_exceeded"}
            self.json(429, {"error": error}, {"retry-after": "7"})
        elif body.get("stream"):
            self.events(self.chunks(body))
        else:
            self.json(200, self.completion(body))

    def completion(self, body):
        message, finish = {"role": "assistant", "content": self.text(body)}, "stop"
        if body.get("tools"):
            call = {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": ARGUMENTS}}
            message, finish = {"role": "assistant", "content": None, "tool_calls": [call]}, "tool_calls"
        return {"id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "vendor-name",
                "choices": [{"index": 0, "message": message, "finish_reason": finish}], "usage": USAGE}

    @staticmethod
    def text(body):
        return '{"city": "Oslo", "degrees": 7}' if "response_format" in body else "".join(WORDS)

    def chunks(self, body):
        def chunk(delta, finish=None):
            return {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "vendor-name",
                    "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]}
        yield chunk({"role": "assistant", "content": ""})
        # An agent offers its own tools, and the turn shall end with words.
        is_answered = any(message["role"] == "tool" for message in body["messages"])
        if not is_answered and any(tool["function"]["name"] == "weather" for tool in body.get("tools", [])):
            yield chunk({"tool_calls": [{"index": 0, "id": "call_1", "type": "function", "function": {"name": "weather", "arguments": ""}}]})
            yield chunk({"tool_calls": [{"index": 0, "function": {"arguments": ARGUMENTS[:7]}}]})
            yield chunk({"tool_calls": [{"index": 0, "function": {"arguments": ARGUMENTS[7:]}}]})
            yield chunk({}, "tool_calls")
        elif "response_format" in body:
            yield chunk({"content": self.text(body)})
            yield chunk({}, "stop")
        else:
            for word in WORDS:
                yield chunk({"content": word})
            if body["model"] == "cut":
                return
            yield chunk({}, "stop")
        yield {**chunk({}), "choices": [], "usage": USAGE}
        yield None

    @staticmethod
    def anthropic(body):
        usage = {"input_tokens": 5, "output_tokens": 1}
        yield {"type": "message_start", "message": {"id": "m", "type": "message", "role": "assistant", "model": "x", "content": [],
                                                    "stop_reason": None, "stop_sequence": None, "usage": usage}}
        if body.get("tools"):
            yield {"type": "content_block_start", "index": 0, "content_block": {"type": "tool_use", "id": "toolu_1", "name": "weather", "input": {}}}
            for part in (ARGUMENTS[:7], ARGUMENTS[7:]):
                yield {"type": "content_block_delta", "index": 0, "delta": {"type": "input_json_delta", "partial_json": part}}
        else:
            yield {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}
            for word in WORDS:
                yield {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": word}}
        yield {"type": "content_block_stop", "index": 0}
        reason = "tool_use" if body.get("tools") else "end_turn"
        yield {"type": "message_delta", "delta": {"stop_reason": reason, "stop_sequence": None}, "usage": {"output_tokens": 4}}
        yield {"type": "message_stop"}

    def json(self, status, value, headers=()):
        data = json.dumps(value).encode()
        self.send_response(status)
        for name, text in {"content-type": "application/json", "content-length": str(len(data)), **dict(headers)}.items():
            self.send_header(name, text)
        self.end_headers()
        self.wfile.write(data)

    def events(self, events):
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()
        for event in events:
            data = "[DONE]" if event is None else json.dumps(event)
            name = f"event: {event['type']}\n" if event and "type" in event else ""
            piece = f"{name}data: {data}\n\n".encode()
            self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
        self.wfile.write(b"0\r\n\r\n")


class Server(ThreadingHTTPServer):
    daemon_threads = True
    allow_reuse_address = True


client = openai.OpenAI(base_url=URL, api_key=TOKEN, max_retries=0, timeout=30)
HI = [{"role": "user", "content": "hi"}]
TESTS = []


def test(function):
    TESTS.append(function)
    return function


def refused(kind, call):
    try:
        call()
    except kind as error:
        return error
    raise AssertionError(f"no {kind.__name__}")


@test
def models_are_listed_and_read():
    ids = [model.id for model in client.models.list()]
    assert "up/scripted" in ids and "agent/main" in ids and len(ids) == len(set(ids)), ids
    model = client.models.retrieve("up/scripted")
    assert (model.id, model.owned_by, model.created) == ("up/scripted", "up", 0)
    refused(openai.NotFoundError, lambda: client.models.retrieve("nobody/x"))


@test
def whole_answers():
    for model in ("up/scripted", "claude/scripted", "agent/main", "main"):
        answer = client.chat.completions.create(model=model, messages=HI)
        assert answer.choices[0].message.content == "Hello from the upstream", answer
        assert (answer.model, answer.choices[0].finish_reason, answer.object) == (model, "stop", "chat.completion")
        assert answer.usage.total_tokens == 9, answer.usage


@test
def streams():
    for model in ("up/scripted", "claude/scripted", "agent/main"):
        chunks = list(client.chat.completions.create(model=model, messages=HI, stream=True, stream_options={"include_usage": True}))
        assert chunks[0].choices[0].delta.role == "assistant"
        assert "".join(c.choices[0].delta.content or "" for c in chunks if c.choices) == "Hello from the upstream"
        assert [c.choices[0].finish_reason for c in chunks if c.choices][-1] == "stop"
        assert (chunks[-1].choices, chunks[-1].usage.total_tokens) == ([], 9)
        assert {c.model for c in chunks} == {model} and len({c.id for c in chunks}) == 1


@test
def the_stream_helper():
    for model in ("up/scripted", "claude/scripted", "agent/main"):
        with client.chat.completions.stream(model=model, messages=HI) as stream:
            text = "".join(event.delta for event in stream if event.type == "content.delta")
            final = stream.get_final_completion()
        assert text == final.choices[0].message.content == "Hello from the upstream"
        assert final.choices[0].message.role == "assistant"


@test
def tools():
    for model in ("up/scripted", "claude/scripted"):
        answer = client.chat.completions.create(model=model, messages=HI, tools=[WEATHER])
        call = answer.choices[0].message.tool_calls[0]
        assert (call.type, call.function.name, json.loads(call.function.arguments)) == ("function", "weather", {"city": "Oslo"})
        assert answer.choices[0].finish_reason == "tool_calls"
        follow_up = HI + [answer.choices[0].message, {"role": "tool", "tool_call_id": call.id, "content": "7 degrees"}]
        assert client.chat.completions.create(model=model, messages=follow_up).choices[0].message.content


@test
def streamed_tools():
    for model in ("up/scripted", "claude/scripted"):
        with client.chat.completions.stream(model=model, messages=HI, tools=[WEATHER]) as stream:
            final = stream.get_final_completion()
        call = final.choices[0].message.tool_calls[0]
        assert (call.function.name, json.loads(call.function.arguments)) == ("weather", {"city": "Oslo"}), call
        assert final.choices[0].finish_reason == "tool_calls"


@test
def client_tools_on_an_agent():
    answer = client.chat.completions.create(model="agent/main", messages=HI, tools=[WEATHER])
    message = answer.choices[0].message
    call = message.tool_calls[0]
    assert (call.function.name, json.loads(call.function.arguments)) == ("weather", {"city": "Oslo"}), call
    assert (message.content, answer.choices[0].finish_reason) == (None, "tool_calls")
    result = {"role": "tool", "tool_call_id": call.id, "content": "7 degrees"}
    final = client.chat.completions.create(model="agent/main", messages=[*HI, message, result], tools=[WEATHER])
    assert (final.choices[0].message.content, final.choices[0].finish_reason) == ("".join(WORDS), "stop")
    assert Vendor.seen[-1]["messages"][-1]["content"] == "7 degrees"
    with client.chat.completions.stream(model="agent/main", messages=HI, tools=[WEATHER], tool_choice="required") as stream:
        kinds = [event.type for event in stream]
        final = stream.get_final_completion()
    assert Vendor.seen[-1]["tool_choice"] == "required"
    assert "tool_calls.function.arguments.done" in kinds, kinds
    assert json.loads(final.choices[0].message.tool_calls[0].function.arguments) == {"city": "Oslo"}
    assert final.choices[0].finish_reason == "tool_calls"


@test
def whole_responses():
    for model in ("up/scripted", "claude/scripted", "agent/main", "main"):
        response = client.responses.create(model=model, input="hi", instructions="be brief")
        assert (response.output_text, response.status, response.model) == ("".join(WORDS), "completed", model), response
        assert (response.usage.total_tokens, response.instructions, response.error) == (9, "be brief", None)


@test
def streamed_responses():
    for model in ("up/scripted", "claude/scripted", "agent/main"):
        events = list(client.responses.create(model=model, input=[{"role": "user", "content": "hi"}], stream=True))
        kinds = [event.type for event in events]
        assert kinds[:4] == ["response.created", "response.in_progress", "response.output_item.added", "response.content_part.added"]
        assert kinds[-4:] == ["response.output_text.done", "response.content_part.done", "response.output_item.done", "response.completed"]
        assert [event.sequence_number for event in events] == list(range(len(events)))
        assert "".join(event.delta for event in events if event.type == "response.output_text.delta") == "".join(WORDS)
        assert events[-1].response.output_text == "".join(WORDS)


@test
def the_stream_helper_of_responses():
    for model in ("up/scripted", "claude/scripted", "agent/main"):
        with client.responses.stream(model=model, input="hi") as stream:
            text = "".join(event.delta for event in stream if event.type == "response.output_text.delta")
            final = stream.get_final_response()
        assert text == final.output_text == "".join(WORDS)
        with client.responses.stream(model=model, input="hi", tools=[TOOL]) as stream:
            done = [event for event in stream if event.type == "response.function_call_arguments.done"]
            final = stream.get_final_response()
        assert [json.loads(event.arguments) for event in done] == [{"city": "Oslo"}]
        assert (final.output[-1].type, final.output[-1].name) == ("function_call", "weather")


@test
def responses_go_on():
    for model in ("up/scripted", "agent/main"):
        first = client.responses.create(model=model, input="hi", tools=[TOOL])
        call = first.output[0]
        assert (call.type, call.name, json.loads(call.arguments)) == ("function_call", "weather", {"city": "Oslo"}), first
        result = {"type": "function_call_output", "call_id": call.call_id, "output": "7 degrees"}
        second = client.responses.create(model=model, previous_response_id=first.id, input=[result], tools=[TOOL])
        assert (second.output_text, second.previous_response_id) == ("".join(WORDS), first.id)
        sent = client.responses.create(model=model, input=[{"role": "user", "content": "hi"}, *first.output, result], tools=[TOOL], store=False)
        assert sent.output_text == "".join(WORDS)
        third = client.responses.create(model=model, previous_response_id=second.id, input="thanks")
        said = [message["content"] for message in Vendor.seen[-1]["messages"] if message["role"] == "user"]
        assert said == ["hi", "thanks"] and third.output_text, said
        refused(openai.NotFoundError, lambda: client.responses.retrieve(sent.id))


@test
def responses_are_kept_and_deleted():
    response = client.responses.create(model="agent/main", input="hi", metadata={"a": "b"})
    assert client.responses.retrieve(response.id) == response
    client.responses.delete(response.id)
    refused(openai.NotFoundError, lambda: client.responses.retrieve(response.id))
    error = refused(openai.BadRequestError, lambda: client.responses.create(model="main", input="hi", previous_response_id=response.id))
    assert (error.param, error.code) == ("previous_response_id", "previous_response_not_found")
    error = refused(openai.BadRequestError, lambda: client.responses.create(model="main", input="hi", background=True))
    assert error.param == "background"


class Weather(BaseModel):
    city: str
    degrees: int


@test
def parsed_answers():
    answer = client.chat.completions.parse(model="up/scripted", messages=HI, response_format=Weather)
    assert answer.choices[0].message.parsed == Weather(city="Oslo", degrees=7)
    with client.chat.completions.stream(model="up/scripted", messages=HI, response_format=Weather) as stream:
        assert stream.get_final_completion().choices[0].message.parsed == Weather(city="Oslo", degrees=7)


@test
def parsed_responses():
    response = client.responses.parse(model="up/scripted", input="hi", text_format=Weather)
    assert response.output_parsed == Weather(city="Oslo", degrees=7)
    with client.responses.stream(model="up/scripted", input="hi", text_format=Weather) as stream:
        assert stream.get_final_response().output_parsed == Weather(city="Oslo", degrees=7)


@test
def every_field_reaches_an_upstream_of_this_api():
    fields = {"temperature": 0.5, "seed": 3, "logit_bias": {"5": -1}, "user": "u", "metadata": {"a": "b"}}
    client.chat.completions.create(model="up/scripted", messages=HI, extra_body={"x_vendor": [1]}, **fields)
    seen = Vendor.seen[-1]
    assert seen == {"model": "scripted", "messages": HI, "x_vendor": [1], **fields}, seen


@test
def parts_and_roles():
    messages = [{"role": "developer", "content": "be brief"},
                {"role": "user", "content": [{"type": "text", "text": "look"},
                                             {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}]}]
    for model in ("up/scripted", "claude/scripted"):
        assert client.chat.completions.create(model=model, messages=messages).choices[0].message.content
    assert Vendor.seen[-1]["messages"][0]["content"][1]["source"]["data"] == "AAAA"


@test
def errors_are_those_of_the_sdk():
    error = refused(openai.RateLimitError, lambda: client.chat.completions.create(model="up/busy", messages=HI))
    assert (error.response.headers["retry-after"], error.code, error.body["message"]) == ("7", "rate_limit_exceeded", "slow down")
    stranger = client.with_options(api_key="nobody-knows-this-token")
    refused(openai.AuthenticationError, lambda: stranger.models.list())
    refused(openai.NotFoundError, lambda: client.chat.completions.create(model="agent/nobody", messages=HI))
    own = {"type": "function", "function": {"name": "current_time"}}
    error = refused(openai.BadRequestError, lambda: client.chat.completions.create(model="agent/main", messages=HI, tools=[own]))
    assert error.param == "tools" and "current_time" in error.message
    error = refused(openai.BadRequestError, lambda: client.chat.completions.create(model="agent/main", messages=HI, temperature=3))
    assert (error.type, error.param) == ("invalid_request_error", "temperature")
    refused(openai.BadRequestError, lambda: client.chat.completions.create(model="agent/main", messages=[]))


@test
def a_stream_that_breaks_raises():
    seen = []

    def read():
        for chunk in client.chat.completions.create(model="up/cut", messages=HI, stream=True):
            seen.append(chunk)
    error = refused(openai.APIError, read)
    assert error.message == "Internal server error" and len(seen) == 5, (error, len(seen))


@test
def embeddings():
    default = client.embeddings.create(model="text-embedding-3-small", input="hello")
    assert default.data[0].embedding == [0.5, -1.25, 2.0], default
    plain = client.embeddings.create(model="up/embedder", input="hello", encoding_format="float")
    assert (plain.data[0].embedding, plain.model) == ([0.5, -1.25, 2.0], "up/embedder")
    raw = client.embeddings.create(model="up/embedder", input="hello", encoding_format="base64")
    assert struct.unpack("<3f", base64.b64decode(raw.data[0].embedding)) == (0.5, -1.25, 2.0)
    refused(openai.BadRequestError, lambda: client.embeddings.create(model="up/embedder", input=[]))


def main():
    server = Server(("127.0.0.1", PORT), Vendor)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    failed = 0
    for function in TESTS:
        try:
            function()
            print(f"ok {function.__name__}")
        except Exception:  # noqa: BLE001: a test may fail in any way
            failed += 1
            print(f"not ok {function.__name__}\n{traceback.format_exc()}")
    server.shutdown()
    print(f"{len(TESTS) - failed} passed, {failed} failed")
    sys.exit(failed > 0)


main()

// The official OpenAI package for Node.js against the gateway.
//
//     PATCHBAY_URL=http://127.0.0.1:4766 PATCHBAY_TOKEN=… PATCHBAY_UPSTREAM_PORT=… node node_sdk.mjs
//
// The gateway has the providers `up` (OpenAI's wire) and `claude` (Anthropic's), both at the upstream
// port, where this script answers as their vendor. The last line is `N passed, N failed`.

import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer } from "node:http";

import OpenAI from "openai";
import { zodResponseFormat, zodTextFormat } from "openai/helpers/zod";
import { z } from "zod";

const baseURL = process.env.PATCHBAY_URL.replace(/\/$/, "") + "/v1";
const client = new OpenAI({ baseURL, apiKey: process.env.PATCHBAY_TOKEN, maxRetries: 0, timeout: 30_000 });
const TEXT = "Hello from the upstream";
const WORDS = ["Hello", " from", " the", " upstream"];
const USAGE = { prompt_tokens: 5, completion_tokens: 4, total_tokens: 9 };
const ARGUMENTS = '{"city": "Oslo"}';
const WEATHER = {
  type: "function",
  function: {
    name: "weather",
    parameters: { type: "object", properties: { city: { type: "string" } }, required: ["city"], additionalProperties: false },
  },
};
const TOOL = { type: "function", strict: true, ...WEATHER.function };
const messages = [{ role: "user", content: "hi" }];

// The vendors.

const seen = [];

async function vendor(request, response) {
  let text = "";
  for await (const piece of request.setEncoding("utf8")) text += piece;
  const body = JSON.parse(text);
  seen.push(body);
  const json = (status, value, headers = {}) =>
    response.writeHead(status, { "content-type": "application/json", ...headers }).end(JSON.stringify(value));
  const stream = (events) => {
    response.writeHead(200, { "content-type": "text/event-stream" });
    for (const event of events) {
      const name = event?.type ? `event: ${event.type}\n` : "";
      response.write(`${name}data: ${event === null ? "[DONE]" : JSON.stringify(event)}\n\n`);
    }
    response.end();
  };
  if (request.url === "/v1/embeddings") {
    const data = [{ object: "embedding", index: 0, embedding: [0.5, -1.25, 2] }];
    json(200, { object: "list", model: "embedder", data, usage: { prompt_tokens: 1, total_tokens: 1 } });
  } else if (request.url === "/v1/messages") stream(anthropic(body));
  else if (body.model === "busy") {
    json(429, { error: { message: "slow down", type: "requests", param: null, code: "rate_limit_exceeded" } }, { "retry-after": "7" });
  } else if (body.stream) stream(chunks(body));
  else json(200, completion(body));
}

const isAnswered = (body) => body.messages.some((message) => message.role === "tool");
const wantsTool = (body) => body.tools?.some((tool) => tool.function.name === "weather") && !isAnswered(body);
const said = (body) => (body.response_format ? '{"city": "Oslo", "degrees": 7}' : TEXT);

function completion(body) {
  const call = { id: "call_1", type: "function", function: { name: "weather", arguments: ARGUMENTS } };
  const message = wantsTool(body)
    ? { role: "assistant", content: null, tool_calls: [call] }
    : { role: "assistant", content: said(body) };
  const choices = [{ index: 0, message, finish_reason: wantsTool(body) ? "tool_calls" : "stop" }];
  return { id: "chatcmpl-1", object: "chat.completion", created: 1, model: "vendor-name", choices, usage: USAGE };
}

function* chunks(body) {
  const head = { id: "chatcmpl-1", object: "chat.completion.chunk", created: 1, model: "vendor-name" };
  const chunk = (delta, finish_reason = null) => ({ ...head, choices: [{ index: 0, delta, finish_reason }] });
  yield chunk({ role: "assistant", content: "" });
  if (wantsTool(body)) {
    yield chunk({ tool_calls: [{ index: 0, id: "call_1", type: "function", function: { name: "weather", arguments: "" } }] });
    for (const part of [ARGUMENTS.slice(0, 7), ARGUMENTS.slice(7)]) {
      yield chunk({ tool_calls: [{ index: 0, function: { arguments: part } }] });
    }
    yield chunk({}, "tool_calls");
  } else {
    for (const content of body.response_format ? [said(body)] : WORDS) yield chunk({ content });
    if (body.model === "cut") return;
    yield chunk({}, "stop");
  }
  yield { ...head, choices: [], usage: USAGE };
  yield null;
}

function* anthropic(body) {
  const usage = { input_tokens: 5, output_tokens: 1 };
  const message = { id: "m", type: "message", role: "assistant", model: "x", content: [], stop_reason: null, stop_sequence: null, usage };
  yield { type: "message_start", message };
  if (body.tools) {
    yield { type: "content_block_start", index: 0, content_block: { type: "tool_use", id: "toolu_1", name: "weather", input: {} } };
    for (const partial_json of [ARGUMENTS.slice(0, 7), ARGUMENTS.slice(7)]) {
      yield { type: "content_block_delta", index: 0, delta: { type: "input_json_delta", partial_json } };
    }
  } else {
    yield { type: "content_block_start", index: 0, content_block: { type: "text", text: "" } };
    for (const text of WORDS) yield { type: "content_block_delta", index: 0, delta: { type: "text_delta", text } };
  }
  yield { type: "content_block_stop", index: 0 };
  yield { type: "message_delta", delta: { stop_reason: body.tools ? "tool_use" : "end_turn", stop_sequence: null }, usage: { output_tokens: 4 } };
  yield { type: "message_stop" };
}

// The tests.

const tests = {
  async "models are listed and read"() {
    const ids = [];
    for await (const model of client.models.list()) ids.push(model.id);
    assert.ok(ids.includes("up/scripted") && ids.includes("agent/main"));
    assert.equal(new Set(ids).size, ids.length);
    assert.equal((await client.models.retrieve("up/scripted")).id, "up/scripted");
    await assert.rejects(client.models.retrieve("nobody/x"), OpenAI.NotFoundError);
  },

  async "whole answers"() {
    for (const model of ["up/scripted", "claude/scripted", "agent/main", "main"]) {
      const answer = await client.chat.completions.create({ model, messages });
      const [choice] = answer.choices;
      assert.deepEqual([choice.message.content, choice.finish_reason, answer.model, answer.usage.total_tokens], [TEXT, "stop", model, 9]);
    }
  },

  async "streams"() {
    for (const model of ["up/scripted", "claude/scripted", "agent/main"]) {
      const stream = await client.chat.completions.create({ model, messages, stream: true, stream_options: { include_usage: true } });
      const all = [];
      for await (const chunk of stream) all.push(chunk);
      assert.equal(all[0].choices[0].delta.role, "assistant");
      assert.equal(all.map((chunk) => chunk.choices[0]?.delta.content ?? "").join(""), TEXT);
      assert.deepEqual([all.at(-1).choices, all.at(-1).usage.total_tokens], [[], 9]);
      assert.deepEqual([...new Set(all.map((chunk) => chunk.model))], [model]);
    }
  },

  async "the stream helper"() {
    for (const model of ["up/scripted", "claude/scripted", "agent/main"]) {
      const stream = client.chat.completions.stream({ model, messages });
      let text = "";
      stream.on("content", (delta) => (text += delta));
      assert.equal(await stream.finalContent(), TEXT);
      assert.equal(text, TEXT);
      assert.equal((await stream.finalMessage()).role, "assistant");
    }
  },

  async "tools"() {
    for (const model of ["up/scripted", "claude/scripted"]) {
      const answer = await client.chat.completions.create({ model, messages, tools: [WEATHER] });
      const [call] = answer.choices[0].message.tool_calls;
      assert.deepEqual([call.function.name, JSON.parse(call.function.arguments)], ["weather", { city: "Oslo" }]);
      assert.equal(answer.choices[0].finish_reason, "tool_calls");
      const final = await client.chat.completions.stream({ model, messages, tools: [WEATHER] }).finalChatCompletion();
      assert.deepEqual(JSON.parse(final.choices[0].message.tool_calls[0].function.arguments), { city: "Oslo" });
    }
  },

  async "the loop of tools"() {
    const asked = [];
    const weather = { ...WEATHER.function, parse: JSON.parse, function: (args) => (asked.push(args), "7 degrees") };
    const tools = [{ type: "function", function: weather }];
    const run = client.chat.completions.runTools({ model: "up/scripted", messages, tools });
    assert.equal(await run.finalContent(), TEXT);
    assert.deepEqual(asked, [{ city: "Oslo" }]);
  },

  async "client tools on an agent"() {
    const asked = [];
    const weather = { ...WEATHER.function, parse: JSON.parse, function: (args) => (asked.push(args), "7 degrees") };
    const tools = [{ type: "function", function: weather }];
    const run = client.chat.completions.runTools({ model: "agent/main", messages, tools });
    assert.equal(await run.finalContent(), TEXT);
    const streamed = client.chat.completions.runTools({ model: "agent/main", messages, tools, stream: true });
    assert.equal(await streamed.finalContent(), TEXT);
    assert.deepEqual(asked, [{ city: "Oslo" }, { city: "Oslo" }]);
    assert.equal(seen.at(-1).messages.at(-1).content, "7 degrees");
    const final = await client.chat.completions.stream({ model: "agent/main", messages, tools: [WEATHER] }).finalChatCompletion();
    assert.equal(final.choices[0].finish_reason, "tool_calls");
    assert.deepEqual(JSON.parse(final.choices[0].message.tool_calls[0].function.arguments), { city: "Oslo" });
  },

  async "whole responses"() {
    for (const model of ["up/scripted", "claude/scripted", "agent/main", "main"]) {
      const response = await client.responses.create({ model, input: "hi", instructions: "be brief" });
      assert.deepEqual([response.output_text, response.status, response.model, response.usage.total_tokens], [TEXT, "completed", model, 9]);
    }
  },

  async "streamed responses"() {
    for (const model of ["up/scripted", "claude/scripted", "agent/main"]) {
      const all = [];
      for await (const event of await client.responses.create({ model, input: "hi", stream: true })) all.push(event);
      assert.deepEqual(all.map((event) => event.sequence_number), [...all.keys()]);
      assert.deepEqual([all[0].type, all[1].type, all.at(-1).type], ["response.created", "response.in_progress", "response.completed"]);
      const deltas = all.filter((event) => event.type === "response.output_text.delta");
      assert.equal(deltas.map((event) => event.delta).join(""), TEXT);
    }
  },

  async "the stream helper of responses"() {
    for (const model of ["up/scripted", "claude/scripted", "agent/main"]) {
      const stream = client.responses.stream({ model, input: "hi" });
      let text = "";
      stream.on("response.output_text.delta", (event) => (text += event.delta));
      assert.equal((await stream.finalResponse()).output_text, TEXT);
      assert.equal(text, TEXT);
      const [call] = (await client.responses.stream({ model, input: "hi", tools: [TOOL] }).finalResponse()).output;
      assert.deepEqual([call.type, call.name, JSON.parse(call.arguments)], ["function_call", "weather", { city: "Oslo" }]);
    }
  },

  async "responses go on"() {
    for (const model of ["up/scripted", "agent/main"]) {
      const first = await client.responses.create({ model, input: "hi", tools: [TOOL] });
      const [call] = first.output;
      assert.deepEqual([call.type, call.name], ["function_call", "weather"]);
      const result = { type: "function_call_output", call_id: call.call_id, output: "7 degrees" };
      const second = await client.responses.create({ model, previous_response_id: first.id, input: [result], tools: [TOOL] });
      assert.deepEqual([second.output_text, second.previous_response_id], [TEXT, first.id]);
      const input = [...messages, ...first.output, result];
      assert.equal((await client.responses.create({ model, input, tools: [TOOL], store: false })).output_text, TEXT);
      const kept = await client.responses.retrieve(second.id);
      assert.deepEqual([kept.id, kept.output_text], [second.id, TEXT]);
      await client.responses.delete(second.id);
      await assert.rejects(client.responses.retrieve(second.id), OpenAI.NotFoundError);
      const lost = await client.responses.create({ model, previous_response_id: second.id, input: "hi" }).catch((error) => error);
      assert.deepEqual([lost.code, lost.param], ["previous_response_not_found", "previous_response_id"]);
    }
  },

  async "parsed responses"() {
    const text = { format: zodTextFormat(z.object({ city: z.string(), degrees: z.number() }), "weather") };
    const response = await client.responses.parse({ model: "up/scripted", input: "hi", text });
    assert.deepEqual(response.output_parsed, { city: "Oslo", degrees: 7 });
    const final = await client.responses.stream({ model: "up/scripted", input: "hi", text }).finalResponse();
    assert.deepEqual(final.output_parsed, { city: "Oslo", degrees: 7 });
  },

  async "parsed answers"() {
    const response_format = zodResponseFormat(z.object({ city: z.string(), degrees: z.number() }), "weather");
    const answer = await client.chat.completions.parse({ model: "up/scripted", messages, response_format });
    assert.deepEqual(answer.choices[0].message.parsed, { city: "Oslo", degrees: 7 });
    const final = await client.chat.completions.stream({ model: "up/scripted", messages, response_format }).finalChatCompletion();
    assert.deepEqual(final.choices[0].message.parsed, { city: "Oslo", degrees: 7 });
  },

  async "parts and roles"() {
    const parts = [
      { type: "text", text: "look" },
      { type: "image_url", image_url: { url: "data:image/png;base64,AAAA" } },
    ];
    const conversation = [{ role: "developer", content: "be brief" }, { role: "user", content: parts }];
    for (const model of ["up/scripted", "claude/scripted"]) {
      const answer = await client.chat.completions.create({ model, messages: conversation });
      assert.equal(answer.choices[0].message.content, TEXT);
    }
    assert.equal(seen.at(-1).messages[0].content[1].source.data, "AAAA");
  },

  async "errors are those of the SDK"() {
    const create = (fields) => client.chat.completions.create({ messages, ...fields });
    const busy = await create({ model: "up/busy" }).catch((error) => error);
    assert.ok(busy instanceof OpenAI.RateLimitError);
    assert.deepEqual([busy.headers.get("retry-after"), busy.code], ["7", "rate_limit_exceeded"]);
    const stranger = new OpenAI({ baseURL, apiKey: "nobody-knows-this-token", maxRetries: 0 });
    await assert.rejects(stranger.models.list(), OpenAI.AuthenticationError);
    await assert.rejects(create({ model: "agent/nobody" }), OpenAI.NotFoundError);
    const own = { type: "function", function: { name: "current_time" } };
    const mixed = await create({ model: "agent/main", tools: [own] }).catch((error) => error);
    assert.ok(mixed instanceof OpenAI.BadRequestError);
    assert.equal(mixed.param, "tools");
    const hot = await create({ model: "agent/main", temperature: 3 }).catch((error) => error);
    assert.deepEqual([hot.type, hot.param], ["invalid_request_error", "temperature"]);
  },

  async "a stream that breaks throws"() {
    const all = [];
    const read = async () => {
      for await (const chunk of await client.chat.completions.create({ model: "up/cut", messages, stream: true })) all.push(chunk);
    };
    await assert.rejects(read(), OpenAI.APIError);
    assert.equal(all.length, 5);
  },

  async "a stream can be left"() {
    const stream = await client.chat.completions.create({ model: "up/scripted", messages, stream: true });
    for await (const chunk of stream) {
      assert.equal(chunk.model, "up/scripted");
      break;
    }
    assert.ok(stream.controller.signal.aborted);
    assert.equal((await client.chat.completions.create({ model: "up/scripted", messages })).choices.length, 1);
  },

  async "embeddings"() {
    const vector = [0.5, -1.25, 2];
    const standard = await client.embeddings.create({ model: "text-embedding-3-small", input: "hello" });
    assert.deepEqual([...standard.data[0].embedding], vector);
    const plain = await client.embeddings.create({ model: "up/embedder", input: "hello", encoding_format: "float" });
    assert.deepEqual([plain.data[0].embedding, plain.model], [vector, "up/embedder"]);
    await assert.rejects(client.embeddings.create({ model: "up/embedder", input: [] }), OpenAI.BadRequestError);
  },
};

const server = createServer((request, response) => void vendor(request, response));
server.listen(Number(process.env.PATCHBAY_UPSTREAM_PORT), "127.0.0.1");
await once(server, "listening");
let failed = 0;
for (const [name, test] of Object.entries(tests)) {
  try {
    await test();
    console.log(`ok ${name}`);
  } catch (error) {
    failed += 1;
    console.log(`not ok ${name}\n${error.stack}`);
  }
}
server.closeAllConnections();
server.close();
console.log(`${Object.keys(tests).length - failed} passed, ${failed} failed`);
process.exitCode = failed > 0 ? 1 : 0;

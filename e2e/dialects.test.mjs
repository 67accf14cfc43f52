// One run and the clients of all dialects: whoever starts it, the others see it, and may stop it.

import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, beforeEach, test } from "node:test";
import { OpenClawClient } from "openclaw-node";
import WebSocket from "ws";
import { startGateway } from "./support/gateway.mjs";
import { startUpstream } from "./support/upstream.mjs";

const TIMEOUT = { timeout: 60_000 };

let upstream;
let gateway;
/** Opened by the test; until then answers to messages with `wait` in them stop after their first word. */
let gate;

function openable() {
  const made = {};
  made.promise = new Promise((resolve) => (made.open = resolve));
  return made;
}

before(async () => {
  upstream = await startUpstream(async function* ({ messages }) {
    yield "Half ";
    if (JSON.stringify(messages.at(-1)).includes("wait")) await gate.promise;
    yield "and whole.";
  });
  gateway = await startGateway(upstream.settings);
});

beforeEach(() => {
  gate = openable();
});

after(async () => {
  gate?.open();
  await gateway?.stop();
  await upstream?.stop();
});

/** The published client of ArgentOS's protocol, as a device that nobody has seen before. */
async function openclaw(t) {
  const folder = mkdtempSync(join(tmpdir(), "patchbay-device-"));
  const { urls, token } = gateway;
  const deviceIdentityPath = join(folder, "device.json");
  const client = new OpenClawClient({ url: urls.argent, token, deviceIdentityPath, autoReconnect: false });
  t.after(async () => {
    await client.disconnect();
    rmSync(folder, { recursive: true, force: true });
  });
  await client.connect();
  return client;
}

/** A bare WebSocket that speaks Aleph's JSON-RPC and listens to everything. */
async function aleph(t) {
  const socket = new WebSocket(gateway.urls.aleph);
  t.after(() => socket.close());
  const inbox = reader();
  socket.on("message", (data) => inbox.put(JSON.parse(String(data))));
  await new Promise((resolve, reject) => socket.once("open", resolve).once("error", reject));
  let lastId = 0;
  const call = async (method, params) => {
    const id = ++lastId;
    socket.send(JSON.stringify({ jsonrpc: "2.0", id, method, params }));
    const answer = await inbox.take((frame) => frame.id === id);
    assert.equal(answer.error, undefined, JSON.stringify(answer.error));
    return answer.result;
  };
  const event = async (topic, run_id) => {
    const wanted = ({ params }) => params?.topic === topic && (run_id === undefined || params.data.run_id === run_id);
    return (await inbox.take(wanted)).params.data;
  };
  await call("connect", { token: gateway.token });
  await call("events.subscribe", { patterns: ["agent.*", "stream.chunk"] });
  return { call, event };
}

/** Comis's events, as a page reads them. */
async function comis(t) {
  const stop = new AbortController();
  t.after(() => stop.abort());
  const response = await fetch(`${gateway.urls.comis}/api/events`, {
    headers: { authorization: `Bearer ${gateway.token}` },
    signal: stop.signal,
  });
  assert.equal(response.headers.get("content-type")?.split(";")[0], "text/event-stream");
  const inbox = reader();
  void readEvents(response.body, inbox).catch((error) => stop.signal.aborted || Promise.reject(error));
  const event = async (name, runId) => (await inbox.take((item) => item.event === name && names(item, runId))).data;
  return { event };
}

const names = (item, runId) => JSON.stringify(item.data).includes(runId);

async function readEvents(body, inbox) {
  let text = "";
  for await (const piece of body.pipeThrough(new TextDecoderStream())) {
    text += piece;
    for (let end = text.indexOf("\n\n"); end >= 0; end = text.indexOf("\n\n")) {
      const lines = text.slice(0, end).split("\n");
      text = text.slice(end + 2);
      const field = (name) => lines.find((line) => line.startsWith(`${name}: `))?.slice(name.length + 2);
      const data = field("data");
      if (data) inbox.put({ event: field("event"), data: JSON.parse(data) });
    }
  }
}

/** What came in, until somebody takes it. */
function reader() {
  const items = [];
  let look = () => {};
  const put = (item) => {
    items.push(item);
    look();
  };
  const take = (wanted) =>
    new Promise((resolve) => {
      look = () => {
        const at = items.findIndex(wanted);
        if (at < 0) return;
        look = () => {};
        resolve(items.splice(at, 1)[0]);
      };
      look();
    });
  return { put, take };
}

test("the published ArgentOS client completes a turn and says goodbye", TIMEOUT, async (t) => {
  const client = await openclaw(t);
  const chunks = [];
  for await (const chunk of client.chat("hello", { sessionKey: "agent:main:turn" })) chunks.push(chunk);
  const text = chunks.filter(({ type }) => type === "text").map(({ text }) => text);
  assert.equal(text.join(""), "Half and whole.");
  assert.ok(chunks.some(({ type }) => type === "done"), JSON.stringify(chunks));
  const history = await client.sessions.history("agent:main:turn", { limit: 10 });
  assert.deepEqual(history.messages.map(({ role }) => role), ["user", "assistant"]);
  await client.disconnect();
});

test("a run of the ArgentOS client is followed and cancelled through Aleph, and seen through Comis", TIMEOUT, async (t) => {
  const [client, watcher, page] = [await openclaw(t), await aleph(t), await comis(t)];
  const types = [];
  const turn = (async () => {
    for await (const chunk of client.chat("wait", { sessionKey: "agent:main:followed" })) types.push(chunk.type);
  })().catch((error) => types.push(String(error)));
  const accepted = await watcher.event("agent.accepted");
  assert.equal(accepted.session_key, "agent:main:followed");
  assert.equal((await watcher.event("stream.chunk", accepted.run_id)).content, "Half ");
  await page.event("message:received", accepted.run_id);
  const { cancelled } = await watcher.call("agent.cancel", { run_id: accepted.run_id });
  assert.equal(cancelled, true);
  assert.equal((await watcher.event("agent.cancelled", accepted.run_id)).reason, "user");
  await turn;
  assert.ok(types.length > 0, "the client was told of the end");
});

test("a run of an Aleph client is cancelled by the ArgentOS client", TIMEOUT, async (t) => {
  const [client, owner] = [await openclaw(t), await aleph(t)];
  const { run_id } = await owner.call("agent.run", { message: "wait", session_key: "agent:main:other" });
  assert.equal((await owner.event("stream.chunk", run_id)).content, "Half ");
  const aborted = await client.chatAbort("agent:main:other", run_id);
  assert.deepEqual([aborted.aborted, aborted.runIds], [true, [run_id]]);
  assert.equal((await owner.event("agent.cancelled", run_id)).run_id, run_id);
});

test("a run of a Comis client is followed through Aleph to its end", TIMEOUT, async (t) => {
  const watcher = await aleph(t);
  const answer = fetch(`${gateway.urls.comis}/api/chat`, {
    method: "POST",
    headers: { authorization: `Bearer ${gateway.token}`, "content-type": "application/json" },
    body: JSON.stringify({ message: "wait for it" }),
  }).then((response) => response.json());
  const { run_id } = await watcher.event("agent.accepted");
  assert.equal((await watcher.event("stream.chunk", run_id)).content, "Half ");
  gate.open();
  assert.equal((await watcher.event("agent.completed", run_id)).response, "Half and whole.");
  assert.equal((await answer).response, "Half and whole.");
});

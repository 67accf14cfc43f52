// The page's typed client against the released program, over a connection that is lost on the way.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import WebSocket from "ws";
import { startGateway } from "./support/gateway.mjs";
import { startLink } from "./support/link.mjs";
import { complaints, load } from "./support/typescript.mjs";
import { startUpstream } from "./support/upstream.mjs";

const CLIENT = new URL("../web/src/api/client.ts", import.meta.url);
const TIMEOUT = { timeout: 60_000 };

const { GatewayClient, GatewayError } = await load(CLIENT);
let upstream;
let gateway;
/** Holds the second half of answers to messages that contain `wait`. */
let gate = openable();

function openable() {
  const made = {};
  made.promise = new Promise((resolve) => (made.resolve = resolve));
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

after(async () => {
  await gateway?.stop();
  await upstream?.stop();
});

/** A client that keeps what it is told: its sockets, its states, its events and its gaps. */
function listen(t, { url = gateway.url, token = () => gateway.token } = {}) {
  const sockets = [];
  const open = (url) => {
    const socket = new WebSocket(url);
    // The client learns of it by the `close` that follows.
    socket.on("error", () => {});
    sockets.push(socket);
    return socket;
  };
  const client = new GatewayClient({ url, token, open });
  t.after(() => client.close());
  const seen = { events: [], states: [], gaps: 0 };
  const waiting = new Set();
  const changed = () => [...waiting].forEach((look) => look());
  client.onState((state, error) => {
    seen.states.push({ state, error });
    changed();
  });
  const onEvent = (event) => {
    seen.events.push(event);
    changed();
  };
  const onGap = () => {
    seen.gaps += 1;
    changed();
  };
  /** Resolves with what `find` gives as soon as it gives something. */
  const until = (find) =>
    new Promise((resolve) => {
      const look = () => {
        const found = find(seen);
        if (found === undefined || found === false) return;
        waiting.delete(look);
        resolve(found);
      };
      waiting.add(look);
      look();
    });
  const isIn = (state) => until(() => client.state === state);
  const event = (topic, run_id) => until(({ events }) => of(events, topic, run_id)[0]);
  client.subscribe(["stream.*", "agent.*"], onEvent, onGap);
  client.connect();
  return { client, sockets, seen, until, isIn, event };
}

function of(events, topic, run_id) {
  return events.filter((event) => event.topic === topic && event.data.run_id === run_id);
}

function textOf(events, run_id) {
  return of(events, "stream.chunk", run_id).map((event) => event.data.text).join("");
}

test("the client and its generated types hold under strict", () => {
  assert.deepEqual(complaints(CLIENT), []);
  assert.deepEqual(complaints(new URL("ts-client.types.ts", import.meta.url)), []);
});

test("a run streams its text and completes", TIMEOUT, async (t) => {
  const { client, seen, isIn, event } = listen(t);
  await isIn("ready");
  const { run_id } = await client.call("agent.run", { message: "hello", session_key: "agent:main:stream" });
  const completed = await event("agent.completed", run_id);
  assert.equal(completed.data.response, "Half and whole.");
  assert.equal(typeof completed.cursor, "number");
  assert.equal(textOf(seen.events, run_id), "Half and whole.");
  assert.equal(of(seen.events, "stream.token", run_id).length, 0, "deltas come under one name");
});

test("parameters that do not fit are a typed error", TIMEOUT, async (t) => {
  const { client, isIn } = listen(t);
  await isIn("ready");
  await assert.rejects(client.call("agent.run", { message: 5 }), (error) => {
    assert.ok(error instanceof GatewayError);
    assert.equal(error.code, -32602);
    assert.match(error.message, /message/);
    return true;
  });
  assert.equal(client.state, "ready");
});

test("a token that nobody has is refused, and not tried again", TIMEOUT, async (t) => {
  const { seen, sockets, isIn } = listen(t, { token: () => "not-a-token" });
  await isIn("refused");
  const { error } = seen.states.at(-1);
  assert.ok(error instanceof GatewayError);
  assert.equal(error.code, -32001);
  assert.equal(sockets.length, 1);
});

test("what happens while the connection is lost is told after it, once", TIMEOUT, async (t) => {
  gate = openable();
  const link = await startLink(gateway);
  t.after(link.stop);
  const bystander = listen(t);
  const loser = listen(t, { url: link.url });
  await Promise.all([bystander.isIn("ready"), loser.isIn("ready")]);
  const { run_id } = await loser.client.call("agent.run", { message: "wait", session_key: "agent:main:lost" });
  await loser.event("stream.chunk", run_id);

  link.cut();
  await loser.isIn("waiting");
  gate.resolve();
  await bystander.event("agent.completed", run_id);
  assert.equal(of(loser.seen.events, "agent.completed", run_id).length, 0);

  link.mend(gateway);
  const completed = await loser.event("agent.completed", run_id);
  assert.equal(completed.data.response, "Half and whole.");
  // A later run proves that the replay is over.
  await loser.isIn("ready");
  const later = await loser.client.call("agent.run", { message: "again", session_key: "agent:main:lost" });
  await loser.event("agent.completed", later.run_id);

  const durable = (seen) => seen.events.filter((event) => event.cursor !== undefined);
  const names = (seen) => durable(seen).map((event) => `${event.cursor} ${event.topic}`);
  await bystander.event("agent.completed", later.run_id);
  assert.deepEqual(names(loser.seen), names(bystander.seen));
  assert.equal(loser.seen.gaps, 0);
});

test("a gateway that does not know the place to go on from makes a gap", TIMEOUT, async (t) => {
  const link = await startLink(gateway);
  t.after(link.stop);
  const { client, seen, isIn, event, until } = listen(t, { url: link.url });
  await isIn("ready");
  const before = await client.call("agent.run", { message: "one", session_key: "agent:main:gap" });
  await event("agent.completed", before.run_id);

  link.cut();
  await isIn("waiting");
  await gateway.stop();
  gateway = await startGateway(upstream.settings);
  link.mend(gateway);
  await until(() => seen.gaps > 0);
  await isIn("ready");

  const behind = await client.call("agent.run", { message: "two", session_key: "agent:main:gap" });
  const completed = await event("agent.completed", behind.run_id);
  assert.equal(completed.data.response, "Half and whole.");
  assert.equal(seen.gaps, 1);
});

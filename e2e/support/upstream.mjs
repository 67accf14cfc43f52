// A vendor on loopback that speaks as much of the Chat Completions wire as a turn needs.

import { once } from "node:events";
import { createServer } from "node:http";

/**
 * Starts it. `answer` is an async generator: given the request's body it yields the pieces of text
 * that are streamed. `settings` is the part of a `config.toml` that makes it the only provider.
 */
export async function startUpstream(answer) {
  const server = createServer((request, response) => void serve(request, response, answer));
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const settings = [
    "[providers.up]",
    'kind = "openai"',
    `base_url = "http://127.0.0.1:${server.address().port}/v1"`,
    'models = ["scripted"]',
    "discover = false",
    "[agents.main]",
    'model = "up/scripted"',
    "",
  ].join("\n");
  const stop = () => {
    server.closeAllConnections();
    return new Promise((resolve) => server.close(resolve));
  };
  return { settings, stop };
}

async function serve(request, response, answer) {
  if (request.method !== "POST" || request.url !== "/v1/chat/completions") {
    response.writeHead(404).end();
    return;
  }
  let text = "";
  for await (const piece of request.setEncoding("utf8")) text += piece;
  response.writeHead(200, { "content-type": "text/event-stream" });
  const send = (delta, finish_reason = null) => {
    const choices = [{ index: 0, delta, finish_reason }];
    const chunk = { id: "c", object: "chat.completion.chunk", created: 1, model: "scripted", choices };
    response.write(`data: ${JSON.stringify(chunk)}\n\n`);
  };
  for await (const content of answer(JSON.parse(text))) send({ content });
  send({}, "stop");
  response.end("data: [DONE]\n\n");
}

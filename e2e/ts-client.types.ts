// What the compiler must take and must refuse of a caller of the typed client. Checked, never run.

import { GatewayClient } from "../web/src/api/client";

export async function calls(client: GatewayClient): Promise<string> {
  const { run_id } = await client.call("agent.run", { message: "hello", session_key: "agent:main:types" });
  await client.call("version");

  // @ts-expect-error a message is a text
  await client.call("agent.run", { message: 5 });
  // @ts-expect-error the message is required
  await client.call("agent.run", {});
  // @ts-expect-error and so are the parameters
  await client.call("agent.run");
  // @ts-expect-error there is no such method
  await client.call("agent.fly", {});

  return run_id;
}

export function events(client: GatewayClient): void {
  client.subscribe<"stream.chunk">(["stream.chunk"], ({ data }) => data.text.trim());
  client.subscribe(["agent.*"], (event) => {
    if (event.topic === "agent.completed") event.data.response.trim();
    // @ts-expect-error only some topics have a response
    event.data.response;
  });
}

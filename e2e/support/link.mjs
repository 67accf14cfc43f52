// A network between a client and a gateway that can be cut and mended.

import { once } from "node:events";
import { connect, createServer } from "node:net";

/** Starts it; `url` is the gateway's address by way of the link. */
export async function startLink(gateway) {
  const sockets = new Set();
  let target = gateway.port;
  const server = createServer((near) => {
    if (target === undefined) return void near.destroy();
    const far = connect(target, "127.0.0.1");
    for (const [socket, other] of [[near, far], [far, near]]) {
      sockets.add(socket);
      socket.pipe(other);
      socket.on("error", () => other.destroy());
      socket.on("close", () => {
        sockets.delete(socket);
        other.destroy();
      });
    }
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const url = new URL(gateway.url);
  url.port = String(server.address().port);
  const cut = () => {
    target = undefined;
    for (const socket of sockets) socket.destroy();
  };
  return {
    url: url.href,
    /** Breaks every connection and lets none through. */
    cut,
    /** Lets connections through again, to a gateway that may be another one. */
    mend: ({ port }) => {
      target = port;
    },
    stop: () => {
      cut();
      return new Promise((resolve) => server.close(resolve));
    },
  };
}

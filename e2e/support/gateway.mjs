// The released program, started in a home of its own on a port that the system chooses.

import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

const PROGRAM = process.env.PATCHBAY ?? fileURLToPath(new URL("../../target/release/patchbay", import.meta.url));

/**
 * Starts a gateway with `config` as its `config.toml`; resolves when it is ready. `url` is Aleph's,
 * `urls` has each dialect's. `stop` kills it and removes its home.
 */
export async function startGateway(config) {
  const home = mkdtempSync(join(tmpdir(), "patchbay-e2e-"));
  writeFileSync(join(home, "config.toml"), config);
  const listeners = ["aleph", "comis", "argent"].flatMap((dialect) => ["--listen", `${dialect}=127.0.0.1:0`]);
  const child = spawn(PROGRAM, ["serve", ...listeners, "--home", home], {
    env: { ...process.env, PATCHBAY_LOG: "error" },
    stdio: ["ignore", "pipe", "inherit"],
  });
  const exited = once(child, "exit");
  const stop = async () => {
    child.kill("SIGKILL");
    await exited;
    rmSync(home, { recursive: true, force: true });
  };
  try {
    const urls = await addresses(child, exited);
    const token = readFileSync(join(home, "admin.token"), "utf8").trim();
    return { url: urls.aleph, urls, port: Number(new URL(urls.aleph).port), token, stop };
  } catch (error) {
    await stop();
    throw error;
  }
}

/** The addresses in the line `ready {"aleph": "ws://…", …}`. */
async function addresses(child, exited) {
  const lines = createInterface({ input: child.stdout });
  const line = once(lines, "line").then(([text]) => text);
  const ended = exited.then(([code, signal]) => {
    throw new Error(`the gateway ended before it was ready: ${code ?? signal}`);
  });
  const text = await Promise.race([line, ended]);
  if (!text.startsWith("ready ")) throw new Error(`not a ready line: ${text}`);
  return JSON.parse(text.slice("ready ".length));
}

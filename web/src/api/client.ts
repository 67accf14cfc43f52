// The page's one connection to the gateway: JSON-RPC 2.0 over a WebSocket, as the Aleph protocol has it.
//
// Calls are typed by the generated `MethodMap`, events by `EventMap`. A lost connection is opened again
// with growing pauses, and events go on behind the last one that was seen. A call that was on its way
// when the connection was lost fails: only the caller knows whether it may be repeated.

import type { MethodMap } from "./aleph";
import type { EventMap } from "./events";

export type Method = keyof MethodMap;
export type Params<M extends Method> = MethodMap[M]["params"];
export type Result<M extends Method> = MethodMap[M]["result"];
export type Topic = keyof EventMap;

/**
 * An event as it came in. Durable ones have `cursor`, the place to go on from; of several frames of one event only
 * the last has it, those before it have `part_of`.
 */
export type GatewayEvent<T extends Topic = Topic> = {
  [K in T]: { topic: K; data: EventMap[K]; timestamp: number; cursor?: number; part_of?: number };
}[T];

export type ConnectionState = "connecting" | "ready" | "waiting" | "closed" | "refused";

/** An error that the gateway answered. */
export class GatewayError extends Error {
  override readonly name = "GatewayError";

  constructor(
    readonly code: number,
    message: string,
    readonly data?: unknown,
  ) {
    super(message);
  }
}

/** The connection went away, or was not there, before an answer came. */
export class ConnectionLost extends Error {
  override readonly name = "ConnectionLost";
}

/** No answer came in time. The gateway may still be at work on it. */
export class CallTimeout extends Error {
  override readonly name = "CallTimeout";
}

export interface ClientOptions {
  /** `ws://` or `wss://`; on the page, that of the page's own host. */
  url: string;
  /** Asked for before each connect, so that a changed token is taken. */
  token: () => string | undefined;
  /** How the gateway's list of clients names this one. */
  clientId?: string;
  /** Milliseconds after which an unanswered call fails; 30,000 when not given. */
  timeoutMs?: number;
  /** For tests, and for Node.js, where the caller brings an implementation. */
  open?: (url: string) => WebSocket;
}

const PAUSE_MS_FIRST = 500;
const PAUSE_MS_MAX = 30_000;
const TIMEOUT_MS = 30_000;
/** JSON-RPC codes of a connect that will never succeed with the same token. */
const REFUSALS = new Set([-32000, -32001, -32002]);

interface Pending {
  resolve: (result: unknown) => void;
  reject: (error: Error) => void;
  timer: ReturnType<typeof setTimeout>;
}

interface Listener {
  patterns: readonly string[];
  onEvent: (event: GatewayEvent) => void;
  onGap: (() => void) | undefined;
}

type Incoming = {
  id?: number;
  result?: unknown;
  error?: { code: number; message: string; data?: unknown };
  method?: string;
  params?: GatewayEvent;
};

export class GatewayClient {
  private socket: WebSocket | undefined;
  private status: ConnectionState = "closed";
  private lastId = 0;
  private pauseMs = PAUSE_MS_FIRST;
  private reconnectTimer: ReturnType<typeof setTimeout> | undefined;
  private readonly pending = new Map<number, Pending>();
  private readonly listeners = new Set<Listener>();
  private readonly watchers = new Set<(state: ConnectionState, error?: Error) => void>();
  /** Every durable event up to here was handed over; where events go on after a reconnect. */
  private after: number | undefined;
  /** What came of a durable event whose last frame did not come yet; a loss may part them. */
  private parts: { of: number; topics: Set<string> } | undefined;

  constructor(private readonly options: ClientOptions) {}

  get state(): ConnectionState {
    return this.status;
  }

  /** Opens the connection and keeps it open until `close`. */
  connect(): void {
    if (this.status === "connecting" || this.status === "ready") return;
    clearTimeout(this.reconnectTimer);
    this.enter("connecting");
    const socket = this.options.open?.(this.options.url) ?? new WebSocket(this.options.url);
    this.socket = socket;
    socket.onopen = () => void this.introduce(socket);
    socket.onmessage = (message) => this.receive(String(message.data));
    socket.onclose = () => this.lose(socket);
  }

  /** Closes the connection for good; waiting calls fail. */
  close(): void {
    clearTimeout(this.reconnectTimer);
    const socket = this.socket;
    this.socket = undefined;
    this.failPending(new ConnectionLost("the connection was closed"));
    this.enter("closed");
    socket?.close(1000);
  }

  /** Tells of every change of state, with the gateway's reason when it refused the connect. Returns the way to stop. */
  onState(watcher: (state: ConnectionState, error?: Error) => void): () => void {
    this.watchers.add(watcher);
    return () => this.watchers.delete(watcher);
  }

  /** Calls a method. Fails with `GatewayError`, `ConnectionLost` or `CallTimeout`. */
  call<M extends Method>(method: M, ...[params]: Record<string, never> extends Params<M> ? [params?: Params<M>] : [params: Params<M>]): Promise<Result<M>> {
    if (this.status !== "ready") return Promise.reject(new ConnectionLost("there is no connection to the gateway"));
    return this.send(method, params ?? {}) as Promise<Result<M>>;
  }

  /**
   * Hands over every event whose topic matches one of the patterns, from now on and over reconnects.
   * `onGap` is called when events may be missing, because the gateway no longer keeps them: load again
   * what is shown. Returns the way to stop.
   */
  subscribe<T extends Topic = Topic>(
    patterns: readonly string[],
    onEvent: (event: GatewayEvent<T>) => void,
    onGap?: () => void,
  ): () => void {
    const listener: Listener = { patterns, onEvent: onEvent as Listener["onEvent"], onGap };
    const before = this.patterns();
    this.listeners.add(listener);
    const added = patterns.filter((pattern) => !before.has(pattern));
    if (this.status === "ready" && added.length > 0) void this.ask("events.subscribe", { patterns: added });
    return () => {
      this.listeners.delete(listener);
      const left = this.patterns();
      const removed = patterns.filter((pattern) => !left.has(pattern));
      if (this.status === "ready" && removed.length > 0) void this.ask("events.unsubscribe", { patterns: removed });
    };
  }

  /** The first frames of a connection: who we are, then the subscriptions, from where they were left. */
  private async introduce(socket: WebSocket): Promise<void> {
    const token = this.options.token();
    try {
      await this.send("connect", {
        minProtocol: 1,
        maxProtocol: 1,
        role: "operator",
        client: { id: this.options.clientId ?? "dashboard", version: "1", platform: "web" },
        ...(token === undefined ? {} : { auth: { token } }),
        // Deltas under one name are enough; the default sends each of them twice.
        events: { chunk_topics: "chunk" },
      });
      const patterns = [...this.patterns()];
      if (patterns.length > 0) await this.resume(patterns);
    } catch (error) {
      if (socket !== this.socket) return;
      if (error instanceof GatewayError && REFUSALS.has(error.code)) {
        this.socket = undefined;
        this.failPending(error);
        this.enter("refused", error);
      }
      socket.close();
      return;
    }
    if (socket !== this.socket) return;
    this.pauseMs = PAUSE_MS_FIRST;
    this.enter("ready");
  }

  private async resume(patterns: string[]): Promise<void> {
    const answer = (await this.send("events.subscribe", {
      patterns,
      ...(this.after === undefined ? {} : { after: this.after }),
    })) as Result<"events.subscribe">;
    // With nothing seen yet, this is where a reconnect has to go on.
    this.after ??= answer.cursor;
  }

  /** A call of our own whose failure the reconnect mends. */
  private async ask(method: string, params: unknown): Promise<void> {
    try {
      const answer = (await this.send(method, params)) as Result<"events.subscribe" | "events.unsubscribe">;
      if ("cursor" in answer) this.after ??= answer.cursor;
    } catch (error) {
      if (!(error instanceof ConnectionLost)) this.socket?.close();
    }
  }

  private send(method: string, params: unknown): Promise<unknown> {
    const socket = this.socket;
    if (socket === undefined || socket.readyState !== 1) {
      return Promise.reject(new ConnectionLost("there is no connection to the gateway"));
    }
    const id = ++this.lastId;
    return new Promise((resolve, reject) => {
      const timeoutMs = this.options.timeoutMs ?? TIMEOUT_MS;
      const timer = setTimeout(() => {
        this.pending.delete(id);
        reject(new CallTimeout(`${method} was not answered within ${timeoutMs} ms`));
      }, timeoutMs);
      this.pending.set(id, { resolve, reject, timer });
      socket.send(JSON.stringify({ jsonrpc: "2.0", id, method, params }));
    });
  }

  private receive(text: string): void {
    const message = JSON.parse(text) as Incoming;
    if (message.method === "event" && message.params !== undefined) {
      this.deliver(message.params);
      return;
    }
    const call = message.id === undefined ? undefined : this.pending.get(message.id);
    if (message.id === undefined || call === undefined) return;
    this.pending.delete(message.id);
    clearTimeout(call.timer);
    const error = message.error;
    if (error === undefined) call.resolve(message.result);
    else call.reject(new GatewayError(error.code, error.message, error.data));
  }

  private deliver(event: GatewayEvent): void {
    if (!this.isNew(event)) return;
    if (event.topic === "system.resync") {
      this.after = event.data.cursor;
      this.parts = undefined;
    }
    if (event.topic === "system.resync" || event.topic === "system.events_dropped") {
      for (const listener of [...this.listeners]) listener.onGap?.();
    }
    for (const listener of [...this.listeners]) {
      if (listener.patterns.some((pattern) => topicMatches(pattern, event.topic))) listener.onEvent(event);
    }
  }

  /** Takes note of a frame of a durable event; a replay brings the parts of an unfinished one once more. */
  private isNew({ topic, cursor, part_of: of }: GatewayEvent): boolean {
    const place = cursor ?? of;
    if (place === undefined) return true;
    if (this.after !== undefined && place <= this.after) return false;
    if (cursor !== undefined) {
      this.after = cursor;
      this.parts = undefined;
      return true;
    }
    if (this.parts?.of !== place) this.parts = { of: place, topics: new Set() };
    if (this.parts.topics.has(topic)) return false;
    this.parts.topics.add(topic);
    return true;
  }

  private lose(socket: WebSocket): void {
    if (socket !== this.socket) return;
    this.socket = undefined;
    this.failPending(new ConnectionLost("the connection to the gateway was lost"));
    this.enter("waiting");
    // Up to half of the pause at random, so that many pages do not come back in the same moment.
    const pause = this.pauseMs * (0.5 + Math.random() / 2);
    this.pauseMs = Math.min(this.pauseMs * 2, PAUSE_MS_MAX);
    this.reconnectTimer = setTimeout(() => this.connect(), pause);
  }

  private failPending(error: Error): void {
    const calls = [...this.pending.values()];
    this.pending.clear();
    for (const call of calls) {
      clearTimeout(call.timer);
      call.reject(error);
    }
  }

  private patterns(): Set<string> {
    return new Set([...this.listeners].flatMap((listener) => listener.patterns));
  }

  private enter(state: ConnectionState, error?: Error): void {
    this.status = state;
    for (const watcher of [...this.watchers]) watcher(state, error);
  }
}

/** The gateway's own rule: a last `*` takes one or more segments, an inner one takes one, a star in a word any run. */
export function topicMatches(pattern: string, topic: string): boolean {
  if (pattern === "*" || pattern === "**") return true;
  const wanted = pattern.split(".");
  const segments = topic.split(".");
  const last = wanted[wanted.length - 1];
  const isOpen = last === "*" || last === "**";
  if (isOpen ? segments.length < wanted.length : segments.length !== wanted.length) return false;
  const fixed = isOpen ? wanted.slice(0, -1) : wanted;
  return fixed.every((part, at) => segmentMatches(part, segments[at] ?? ""));
}

function segmentMatches(pattern: string, segment: string): boolean {
  if (!pattern.includes("*")) return pattern === segment;
  const expression = pattern.split(/\*+/).map((part) => part.replace(/[^A-Za-z0-9_]/g, "\\$&"));
  return new RegExp(`^${expression.join(".*")}$`).test(segment);
}

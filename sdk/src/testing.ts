/**
 * A server in memory for the tests of applications: `import { createTestServer } from "herenow/testing"`. It speaks the
 * protocol as the real server does; the conversations of `fixtures/conversations.json` are held with both.
 *
 * Nothing of it waits for real time: messages take microtasks, and what lasts, such as a grace, uses the global timers. The
 * fake timers of Vitest, Jest and Node move the server and the client together.
 */
import { LEFT_CLOSE, type WebSocketClass, type WebSocketLike } from "./link.js";
import type { Member } from "./memory_channel.js";
import { type Connection, queue } from "./memory_connection.js";
import { MemoryHub } from "./memory_hub.js";
import type { Namespaces } from "./memory_rules.js";
import { type Claims, mint } from "./memory_token.js";
import { channelOf } from "./protocol.js";

export type { Member } from "./memory_channel.js";
export type { Auth, Namespace, Namespaces } from "./memory_rules.js";
export type { Claims } from "./memory_token.js";

/** Settings of the real server, with the same names and the same defaults. */
export interface TestServerOptions {
  /** How long the members of a broken connection stay, in ms. 0: not at all. */
  disconnectGraceMs?: number;
  /** How long a connection may be silent, in ms. */
  presenceTTL?: number;
  maxMembers?: number;
  maxChannelsPerConnection?: number;
  /** How long a connection may take to authenticate, in ms. */
  authTimeoutMs?: number;
  /** The rules, as in the configuration file of the server. */
  namespaces?: Namespaces;
}

export interface TestServer {
  /** For `createClient`. Nothing listens there. */
  readonly url: string;
  /** The option `WebSocket` of `createClient`. */
  readonly WebSocket: WebSocketClass;
  /** A token of this user. `claims` are added: `{ role: "speaker" }`, or an `exp` in seconds. */
  token(userId: string, claims?: Claims): string;
  /** Who is in the channel of this name, the one that was tracked longest ago first. */
  members(name: string): readonly Member[];
  /** The network fails: the connections of this user, or all, end without a farewell. They may come back at once. */
  drop(userId?: string): void;
  /** Nothing gets through to the open connections of this user, or of all, nor from them; new ones work. */
  stall(userId?: string): void;
  /** A backend removes a user, or one connection, from a channel, and keeps it out for this time. */
  kick(name: string, userOrConnectionId: string, forMs?: number): void;
  /** A backend disconnects a user, and refuses it for this time. */
  disconnect(userId: string, forMs?: number): void;
  /** The server is not there: it closes all connections, and new ones fail. */
  stop(): void;
  /** The server is there again, and knows nobody. */
  start(): void;
}

const DEFAULTS = {
  disconnectGraceMs: 0,
  presenceTTL: 60_000,
  maxMembers: 100_000,
  maxChannelsPerConnection: 100,
  authTimeoutMs: 5_000,
  namespaces: {},
};

/** The close code of a server that restarts, and of a connection that just ended. */
const RESTART = 1012;
const ABNORMAL = 1006;

/** How long the members of a page that went away stay at most. */
const PAGE_GRACE_MS = 15_000;

export function createTestServer(options: TestServerOptions = {}): TestServer {
  const settings = { ...DEFAULTS, ...options };
  const sockets = new Set<MemorySocket>();
  let epoch = 1;
  let hub: MemoryHub | undefined = new MemoryHub(settings, epoch);

  class ServedSocket extends MemorySocket {
    constructor(url: string) {
      super(url, () => hub, sockets);
    }
  }

  const socketsOf = (userId?: string): MemorySocket[] =>
    [...sockets].filter(({ connection }) => userId === undefined || connection?.auth?.id === userId);

  return {
    url: "ws://herenow.test",
    WebSocket: ServedSocket,
    token: mint,
    members: (name) => hub?.members(channelOf(name)) ?? [],
    drop: (userId) => socketsOf(userId).forEach((socket) => socket.terminate()),
    stall: (userId) => socketsOf(userId).forEach((socket) => socket.stall()),
    kick: (name, who, forMs = 0) => hub?.kick(channelOf(name), who, forMs),
    disconnect: (userId, forMs = 0) => hub?.disconnect(userId, forMs),
    stop() {
      hub = undefined;
      for (const socket of socketsOf()) socket.end(RESTART, '{"retryAfterMs":0}');
    },
    start: () => void (hub ??= new MemoryHub(settings, ++epoch)),
  };
}

/** Both ends of a connection. What is sent arrives in order, a microtask later. */
class MemorySocket implements WebSocketLike {
  onopen: ((event: never) => void) | null = null;
  onmessage: ((event: never) => void) | null = null;
  onclose: ((event: never) => void) | null = null;
  onerror: ((event: never) => void) | null = null;
  connection: Connection | undefined;
  readonly #sockets: Set<MemorySocket>;
  #hub: MemoryHub | undefined;
  #is: "opening" | "open" | "stalled" | "closed" = "opening";

  constructor(url: string, hub: () => MemoryHub | undefined, sockets: Set<MemorySocket>) {
    this.#sockets = sockets;
    queue(() => this.#open(url, hub()));
  }

  send(data: string): void {
    if (this.#is === "open") queue(() => this.connection && this.#hub?.received(this.connection, data));
  }

  close(code = 1005, reason = ""): void {
    if (this.#is === "closed") return;
    const { connection } = this;
    const isHeard = this.#is === "open";
    queue(() => {
      if (!isHeard || !connection) return;
      if (code === LEFT_CLOSE) this.#hub?.broke(connection, PAGE_GRACE_MS);
      else this.#hub?.closed(connection);
    });
    this.end(code, reason);
  }

  /** Ends it without a farewell. */
  terminate(): void {
    if (this.connection && this.#is === "open") this.#hub?.broke(this.connection);
    this.end(ABNORMAL);
  }

  stall(): void {
    if (this.#is !== "open") return;
    this.#is = "stalled";
    if (this.connection) this.#hub?.stalled(this.connection);
  }

  /** What was sent before it arrives before it. */
  end(code: number, reason = ""): void {
    if (this.#is === "closed") return;
    this.#is = "closed";
    this.#sockets.delete(this);
    queue(() => this.onclose?.({ code, reason } as never));
  }

  #open(url: string, hub: MemoryHub | undefined): void {
    if (this.#is !== "opening") return;
    if (!hub) return this.end(ABNORMAL);
    this.#is = "open";
    this.#hub = hub;
    this.#sockets.add(this);
    const line = {
      send: (frame: object): void => this.#deliver(JSON.stringify(frame)),
      close: (code: number, reason?: string): void => {
        if (this.#is === "open") this.end(code, reason);
      },
    };
    this.connection = hub.opened(line, new URL(url).searchParams.get("channel") || null);
    this.onopen?.({} as never);
  }

  #deliver(data: string): void {
    if (this.#is !== "open") return;
    queue(() => this.onmessage?.({ data } as never));
  }
}

/**
 * A server that does what the test says: it opens, answers and closes sockets by hand, and keeps what was sent.
 */
import { vi } from "vitest";
import type { ClientOptions, Client } from "../src/index.js";
import { createClient } from "../src/index.js";
import type { WebSocketLike } from "../src/link.js";

export type Frame = Record<string, unknown>;

export class FakeSocket implements WebSocketLike {
  onopen: ((event: never) => void) | null = null;
  onmessage: ((event: never) => void) | null = null;
  onclose: ((event: never) => void) | null = null;
  onerror: ((event: never) => void) | null = null;
  readonly sent: Frame[] = [];
  /** How the client closed it; absent while it did not. */
  closedWith: { code: number | undefined } | undefined;

  readonly url: string;

  constructor(url: string) {
    this.url = url;
  }

  /** The `ref` of each state, which stands in no frame here: it is another one each time. */
  readonly refs: unknown[] = [];

  send(data: string): void {
    const { ref, ...frame } = JSON.parse(data) as Frame;
    if (ref !== undefined) this.refs.push(ref);
    this.sent.push(frame);
  }

  close(code?: number): void {
    this.closedWith ??= { code };
  }

  /** What was sent since the last call. */
  take(): Frame[] {
    return this.sent.splice(0);
  }

  open(): void {
    this.onopen?.({} as never);
  }

  say(...frames: Frame[]): void {
    for (const frame of frames) this.onmessage?.({ data: JSON.stringify(frame) } as never);
  }

  raw(data: unknown): void {
    this.onmessage?.({ data } as never);
  }

  end(code: number, reason = ""): void {
    this.onclose?.({ code, reason } as never);
  }
}

export class FakeServer {
  readonly sockets: FakeSocket[] = [];
  readonly WebSocket: new (url: string) => FakeSocket;

  constructor() {
    const sockets = this.sockets;
    this.WebSocket = class extends FakeSocket {
      constructor(url: string) {
        super(url);
        sockets.push(this);
      }
    };
  }

  /** The newest socket. */
  get socket(): FakeSocket {
    const socket = this.sockets.at(-1);
    if (!socket) throw new Error("the client opened no socket");
    return socket;
  }

  client(options: ClientOptions = { token: "fixed" }): Client {
    return createClient("http://example.test", { WebSocket: this.WebSocket, ...options });
  }

  /** Opens the newest socket and accepts its token. */
  async accept(connectionId = "me"): Promise<FakeSocket> {
    await settle();
    this.socket.open();
    this.socket.say({ type: "auth_success", userId: "jane", connectionId });
    await settle();
    return this.socket;
  }
}

/** Lets microtasks and what waits for the end of the task run; no time passes. */
export async function settle(): Promise<void> {
  await vi.advanceTimersByTimeAsync(0);
}

export async function pass(ms: number): Promise<void> {
  await vi.advanceTimersByTimeAsync(ms);
}

export const CHANNEL = "presence:game-room";

export function entry(userId: string, connectionId: string, state: Frame = { n: 1 }): Frame {
  return { userId, connectionId, state };
}

export function sync(seq: number, ...presences: Frame[]): Frame {
  return { type: "presence_sync", channel: CHANNEL, epoch: 1, seq, presences };
}

export function join(seq: number, userId: string, connectionId: string, state: Frame = { n: 1 }): Frame {
  return { type: "presence_join", channel: CHANNEL, seq, userId, connectionId, state };
}

export function update(seq: number, userId: string, connectionId: string, state: Frame): Frame {
  return { type: "presence_update", channel: CHANNEL, seq, userId, connectionId, state };
}

export function leave(seq: number, userId: string, connectionId: string, reason = "disconnect"): Frame {
  return { type: "presence_leave", channel: CHANNEL, seq, userId, connectionId, reason };
}

export function error(code: string, channel?: string): Frame {
  return { type: "error", code, message: `Because of ${code}.`, ...(channel === undefined ? {} : { channel }) };
}

/** A token that ends `ms` from now; nobody checks its signature here. */
export function tokenFor(ms: number, mark = ""): string {
  const claims = { sub: "jane", exp: (Date.now() + ms) / 1000, mark };
  return `e30.${Buffer.from(JSON.stringify(claims)).toString("base64url")}.x`;
}

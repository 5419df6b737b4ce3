/**
 * Where one connection stands, as the socket holds it and as the application sees it. Decides nothing.
 */
import type { PresenceError, ServerMessage } from "./protocol.js";
import type { Resume } from "./resume.js";
import type { Token, Tokens } from "./token.js";

/**
 * `idle`: nothing is asked for. `connecting`: for the first time. `unstable`: it stands, and nothing is heard of the
 * server. `reconnecting`: after it stood. `closed`: by `close()`, for good. `failed`: only the application can help, by
 * `refresh()`.
 */
export type Status = "idle" | "connecting" | "connected" | "unstable" | "reconnecting" | "closed" | "failed";

/** What this library uses of a WebSocket. */
export interface WebSocketLike {
  onopen: ((event: never) => void) | null;
  onmessage: ((event: never) => void) | null;
  onclose: ((event: never) => void) | null;
  onerror: ((event: never) => void) | null;
  send(data: string): void;
  close(code?: number, reason?: string): void;
}

export type WebSocketClass = new (url: string) => WebSocketLike;

/**
 * Where the connection stands. What waits for something keeps the link of then: it is of no more interest once there is
 * another one. Each has one timer at most.
 */
export type Link =
  /** Nothing runs, and nothing will by itself. */
  | { is: "down" }
  /** Until it is time to try again, or the page is shown again. */
  | { is: "waiting" }
  /** For a token. */
  | { is: "asking" }
  | Line;

/** A WebSocket: it takes messages once it is open, and stands once the server has said so. */
export interface Line {
  is: "opening" | "open";
  readonly ws: WebSocketLike;
  token: Token | undefined;
  /** The token that was sent to take the place of that one. */
  offered?: Token;
  /** Since when it stands, in ms since 1970. */
  stoodAt?: number;
  /** Why the server is about to close it. */
  refusal?: PresenceError;
}

/** The one who is told. */
export interface SocketEvents {
  /** A new connection takes messages: all that is wanted must be said again. */
  opened(): void;
  received(message: ServerMessage): void;
  failed(error: PresenceError): void;
  statusChanged(): void;
  /** Whether anybody wants a connection now. */
  isWanted(): boolean;
}

export interface SocketOptions {
  url: string;
  tokens: Tokens;
  resume: Resume;
  WebSocket: WebSocketClass | undefined;
}

/**
 * Where one connection stands, as the socket holds it and as the application sees it, and how long that may take. Decides
 * nothing.
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
  /** Nothing runs, and nothing will by itself: `idle`, `closed` or `failed`. */
  | { is: "down"; status: Status }
  /** Until it is time to try again, or the page is shown again. */
  | { is: "waiting"; status?: Status }
  /** For a token. */
  | { is: "asking"; status?: Status }
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
  /** `connected` or `unstable`, once it stands. */
  status?: Status;
  /** Why the server is about to close it. */
  refused?: PresenceError;
}

/** From the start of a connection to `auth_success`, in ms. */
export const CONNECT_TIMEOUT_MS = 10_000;

/** `getToken` must answer within this time, in ms: one that hangs must not stop all reconnecting. */
export const TOKEN_TIMEOUT_MS = 15_000;

/** A connection that stood this long, in ms, clears the failures before it. */
export const STABLE_MS = 10_000;

/** With what a page that goes away closes its connection: the server waits a little for the next page. */
export const LEFT_CLOSE = 4010;

/** The one who is told. */
export interface SocketEvents {
  /** A new connection takes messages: all that is wanted must be said again. */
  opened(): void;
  received(message: ServerMessage): void;
  failed(error: PresenceError): void;
  /** The status, or its reason, may be another one. */
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

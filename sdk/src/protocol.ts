/**
 * The protocol as the client sees it: names, shapes, sizes and codes.
 *
 * Text becomes a `ServerMessage` here and nowhere else; what does not parse, or is not
 * known to this version, becomes `undefined`, so that a newer server may say more.
 * Knows nothing of sockets, time or who listens.
 */

/** A presence state: a JSON object of at most `MAX_STATE_BYTES` bytes. */
export type State = { readonly [key: string]: unknown };

/** The largest state, in bytes of UTF-8 of its `JSON.stringify`. */
export const MAX_STATE_BYTES = 1024;

/** How deep a state may nest: the server takes messages of 32 levels. */
export const MAX_STATE_LEVELS = 31;

/** The longest channel name, in bytes of UTF-8. */
export const MAX_NAME_BYTES = 200;

/** Why a member left. The client itself reports `unknown` if it received no reason. */
export type LeaveReason = "disconnect" | "timeout" | "leave" | "kicked" | "unknown";

export interface SnapshotRow {
  userId: string;
  connectionId: string;
  state: State;
  info?: State;
}

/** How many are in a channel. */
export interface Count {
  readonly users: number;
  readonly connections: number;
}

export interface Snapshot {
  type: "presence_sync";
  channel: string;
  epoch: number;
  seq: number;
  presences: SnapshotRow[];
}

interface DeltaBase {
  channel: string;
  seq: number;
  epoch?: number;
  userId: string;
  connectionId: string;
}

/** A new member, or a new state of a known one. */
export interface Put extends DeltaBase {
  type: "presence_join" | "presence_update";
  state: State;
  info?: State;
}

export interface Gone extends DeltaBase {
  type: "presence_leave";
  reason: LeaveReason;
}

export type Delta = Put | Gone;

export type ServerMessage =
  | Snapshot
  | Delta
  | ({ type: "presence_count"; channel: string } & Count)
  | { type: "auth_success"; userId: string; connectionId: string; resume?: string; revokedChannels?: undefined }
  | { type: "auth_error"; code: string; message: string }
  | { type: "auth_refreshed"; userId: string; revokedChannels: string[] }
  | { type: "subscribed"; channel: string }
  | { type: "unsubscribed"; channel: string; code?: string; retryAfterMs?: number }
  | { type: "PRESENCE_RESYNC"; channel: string }
  | { type: "error"; code: string; message: string; channel?: string; ref?: number; retryAfterMs?: number }
  | { type: "ack"; ref: number }
  | { type: "pong" };

/** Asks for the list of each channel and its changes, or only for how many there are. */
export interface Subscribe {
  type: "subscribe";
  channels: string[];
  mode: "count" | undefined;
}

/** What a client sends. */
export type ClientMessage =
  | { type: "auth"; token: string; resume?: string | undefined }
  | { type: "ping" }
  | Subscribe
  | { type: "unsubscribe" | "presence_leave"; channel: string }
  | { type: "presence_join"; channel: string; ref: number; state: State; expire: object | undefined };

/** Every code that an error of this library can have. A newer server may send others. */
export type ErrorCode = ServerErrorCode | ClientErrorCode | (string & {});

/** Codes that the server sends. */
export type ServerErrorCode =
  | "INVALID_JSON"
  | "UNKNOWN_TYPE"
  | "INVALID_MESSAGE"
  | "INVALID_CHANNEL"
  | "NOT_AUTHENTICATED"
  | "CHANNEL_ACCESS_DENIED"
  | "NOT_SUBSCRIBED"
  | "STATE_TOO_LARGE"
  | "INVALID_STATE"
  | "MEMBER_LIMIT"
  | "CHANNEL_LIMIT"
  | "RATE_LIMITED"
  | "AUTH_FAILED"
  | "AUTH_TIMEOUT"
  | "AUTH_REFRESH_FAILED"
  | "AUTH_USER_MISMATCH"
  | "AUTH_EXPIRED"
  | "SERVER_ERROR"
  | "KICKED";

/**
 * Codes of this library: no token is available, the URL is wrong, there is no WebSocket class, the server cannot be
 * reached, the connection was lost (only as the reason of a status), or the server ended this client's own member.
 */
export type ClientErrorCode =
  | "TOKEN_UNAVAILABLE"
  | "INVALID_URL"
  | "NO_WEBSOCKET"
  | "UNREACHABLE"
  | "CONNECTION_LOST"
  | "MEMBER_ENDED";

/** An error: `code` for programs, `message` for developers. */
export class PresenceError extends Error {
  declare readonly code: ErrorCode;
  /** The name of the channel that it concerns; absent if it concerns the whole connection. */
  declare readonly channel: string | undefined;
  /** With `KICKED`: how long the server refuses from then on, in ms. */
  declare readonly retryAfterMs: number | undefined;

  constructor(code: ErrorCode, message: string, channel?: string, retryAfterMs?: number) {
    super(message);
    Object.assign(this, { name: "PresenceError", code, channel, retryAfterMs });
  }
}

/** What the server said went wrong. */
export function errorOf(said: { code: string; message: string; channel?: string; retryAfterMs?: number }): PresenceError {
  return new PresenceError(said.code, said.message, said.channel && nameOf(said.channel), said.retryAfterMs);
}

/**
 * What a client does after a close:
 * - `soon`: reconnect from the shortest delay,
 * - `later`: reconnect, from a long delay, since the same would likely happen again at once,
 * - `new-token`: reconnect with another token, or not at all.
 */
export type CloseAdvice = "soon" | "later" | "new-token";

/** A backend disconnected the user. */
export const KICKED_CLOSE = 4005;

/** Codes after which the same would likely happen again at once: those of a fault here or in a proxy, and of a server in need. */
const LATER_CODES = /^(100[2379]|1013|40(01|03|29))$/;

/** The advice for a close code; 1001, 1006, 1012, 4008 and all unknown ones are `soon`. */
export function closeAdvice(code: number): CloseAdvice {
  // Auth failed or expired; a backend disconnected the user.
  if (code === 4002 || code === KICKED_CLOSE) return "new-token";
  return LATER_CODES.test(`${code}`) ? "later" : "soon";
}

/** A hint beyond this is not believed, in ms. */
const MAX_RETRY_AFTER_MS = 300_000;

/** The delay that a 1012 asks for, in ms, where its reason names one. */
export function retryAfterMs(reason: string): number {
  return Math.min((parse(reason) as { retryAfterMs?: number } | undefined)?.retryAfterMs as number, MAX_RETRY_AFTER_MS);
}

const CHANNEL_PREFIX = "presence:";

/** `game-room` -> `presence:game-room`; throws `INVALID_CHANNEL` for what no server would take. */
export function channelOf(name: string): string {
  if (!/^[^\p{Cc}\p{Cs}]+$/u.test(name) || utf8Bytes(name) > MAX_NAME_BYTES) {
    throw new PresenceError(
      "INVALID_CHANNEL",
      `A channel name has 1 to ${MAX_NAME_BYTES} bytes and no control characters.`,
    );
  }
  return CHANNEL_PREFIX + name;
}

/** `presence:game-room` -> `game-room`. */
export function nameOf(channel: string): string {
  return channel.slice(CHANNEL_PREFIX.length);
}

/** A copy of a state, checked; throws `INVALID_STATE` or `STATE_TOO_LARGE`. */
export function stateOf(state: unknown): State {
  const json = attempt(() => JSON.stringify(state)) ?? "";
  const copy = parse(json) as State | undefined;
  // A `toJSON` of its own may give anything, and a Map gives an empty object.
  if (json[0] !== "{" || Object.prototype.toString.call(state) !== "[object Object]" || isDeep(copy, MAX_STATE_LEVELS)) {
    throw new PresenceError("INVALID_STATE", `A state is a plain object without cycles and BigInts, at most ${MAX_STATE_LEVELS} levels deep.`);
  }
  const bytes = utf8Bytes(json);
  if (bytes > MAX_STATE_BYTES) {
    throw new PresenceError("STATE_TOO_LARGE", `A state has at most ${MAX_STATE_BYTES} bytes as JSON, not ${bytes}.`);
  }
  return copy as State;
}

/**
 * One frame's text as a message; `undefined` for what is none. The server is believed: a message of a known type has the
 * fields of that type. No part of the client takes one of another type.
 */
export function parse(text: unknown): ServerMessage | undefined {
  return attempt(() => JSON.parse(text as string) as ServerMessage);
}

/** What it gives, unless it throws. */
export function attempt<T>(run: () => T): T | undefined {
  try {
    return run();
  } catch {
    return undefined;
  }
}

function isDeep(value: unknown, levels: number): boolean {
  return Object(value) === value && (!levels || Object.values(value as object).some((part) => isDeep(part, levels - 1)));
}

function utf8Bytes(text: string): number {
  return new TextEncoder().encode(text).length;
}

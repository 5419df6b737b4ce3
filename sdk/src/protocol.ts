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

/** The longest channel name, in bytes of UTF-8. */
export const MAX_NAME_BYTES = 200;

/** A message may nest 32 levels deep, and the state is one level inside of it. */
export const MAX_STATE_DEPTH = 31;

/** Why a member left. The client itself reports `unknown` if it received no reason. */
export type LeaveReason = "disconnect" | "timeout" | "leave" | "kicked" | "unknown";

export interface SnapshotRow {
  userId: string;
  connectionId: string;
  state: State;
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
}

export interface Gone extends DeltaBase {
  type: "presence_leave";
  reason: LeaveReason;
}

export type Delta = Put | Gone;

export type ServerMessage =
  | Snapshot
  | Delta
  | { type: "auth_success"; userId: string; connectionId: string; resume?: string }
  | { type: "auth_error"; code: string; message: string }
  | { type: "auth_refreshed"; userId: string; revokedChannels: string[] }
  | { type: "subscribed"; channel: string }
  | { type: "unsubscribed"; channel: string; code?: string; retryAfterMs?: number }
  | { type: "PRESENCE_RESYNC"; channel: string }
  | { type: "error"; code: string; message: string; channel?: string; retryAfterMs?: number }
  | { type: "pong" | "ack" };

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

/** Codes of this library: no token is available, the URL is wrong, or there is no WebSocket class. */
export type ClientErrorCode = "TOKEN_UNAVAILABLE" | "INVALID_URL" | "NO_WEBSOCKET";

/** An error: `code` for programs, `message` for developers. */
export class PresenceError extends Error {
  readonly code: ErrorCode;
  /** The name of the channel that it concerns; absent if it concerns the whole connection. */
  readonly channel: string | undefined;
  /** With `KICKED`: how long the server refuses from then on, in ms. */
  readonly retryAfterMs: number | undefined;

  constructor(code: ErrorCode, message: string, channel?: string, retryAfterMs?: number) {
    super(message);
    this.name = "PresenceError";
    this.code = code;
    this.channel = channel;
    this.retryAfterMs = retryAfterMs;
  }
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

/** Codes after which the same would likely happen again at once. */
const LATER_CODES: readonly number[] = [
  1002, // protocol error: ours or a proxy's
  1003, // binary frame
  1007, // bad UTF-8
  1009, // message too big
  1013, // overloaded
  4001, // auth timeout
  4003, // the server has no key configured
  4029, // abuse
];

/** The advice for a close code; 1001, 1006, 1012, 4008 and all unknown ones are `soon`. */
export function closeAdvice(code: number): CloseAdvice {
  // Auth failed or expired; a backend disconnected the user.
  if (code === 4002 || code === KICKED_CLOSE) return "new-token";
  return LATER_CODES.includes(code) ? "later" : "soon";
}

/** The delay that a 1012 asks for, in ms, where its reason names one. */
export function retryAfterMs(reason: string): number | undefined {
  const hint = parseObject(reason)?.["retryAfterMs"];
  return isCount(hint) ? Math.min(hint, MAX_RETRY_AFTER_MS) : undefined;
}

/** A hint beyond this is not believed, in ms. */
const MAX_RETRY_AFTER_MS = 300_000;

/** The messages a client sends, as text. */
export const say = {
  auth: (token: string, resume?: string): string => JSON.stringify({ type: "auth", token, resume }),
  ping: (): string => JSON.stringify({ type: "ping" }),
  subscribe: (channel: string): string => inChannel("subscribe", channel),
  unsubscribe: (channel: string): string => inChannel("unsubscribe", channel),
  untrack: (channel: string): string => inChannel("presence_leave", channel),
  /** `stateJson` is the text that was measured: it is sent as it was checked. */
  track: (channel: string, stateJson: string): string =>
    `{"type":"presence_join","channel":${JSON.stringify(channel)},"state":${stateJson}}`,
};

const inChannel = (type: string, channel: string): string => JSON.stringify({ type, channel });

/** `game-room` -> `presence:game-room`; throws `INVALID_CHANNEL` for what no server would take. */
export function channelOf(name: string): string {
  const bytes = typeof name === "string" ? utf8Bytes(name) : 0;
  if (!bytes || bytes > MAX_NAME_BYTES || /[\p{Cc}\p{Cs}]/u.test(name)) {
    throw new PresenceError(
      "INVALID_CHANNEL",
      `A channel name has 1 to ${MAX_NAME_BYTES} bytes, and no control characters or lone surrogates.`,
    );
  }
  return CHANNEL_PREFIX + name;
}

/** `presence:game-room` -> `game-room`. */
export function nameOf(channel: string): string {
  return channel.slice(CHANNEL_PREFIX.length);
}

const CHANNEL_PREFIX = "presence:";

/** The JSON text of a state, checked; throws `INVALID_STATE` or `STATE_TOO_LARGE`. */
export function stateJson(state: unknown): string {
  const isPlain = Object.prototype.toString.call(state) === "[object Object]";
  let json: string | undefined;
  try {
    json = isPlain ? JSON.stringify(state) : undefined;
  } catch (error) {
    throw new PresenceError("INVALID_STATE", `A state is written as JSON: ${describe(error)}`);
  }
  const bytes = utf8Bytes(json ?? "");
  if (bytes > MAX_STATE_BYTES) {
    throw new PresenceError("STATE_TOO_LARGE", `A state has at most ${MAX_STATE_BYTES} bytes as JSON, not ${bytes}.`);
  }
  // A `toJSON` of its own may give anything.
  if (json?.[0] !== "{" || depth(JSON.parse(json)) > MAX_STATE_DEPTH) {
    throw new PresenceError("INVALID_STATE", `A state is a plain object of at most ${MAX_STATE_DEPTH} levels.`);
  }
  return json;
}

/** One frame's text as a message, or `undefined` for what this version does not know. */
export function parse(text: unknown): ServerMessage | undefined {
  const frame = parseObject(text);
  const fields = frame && FIELDS.get(frame["type"]);
  return fields && holds(frame, fields) ? (frame as unknown as ServerMessage) : undefined;
}

/** What an error says, whatever was thrown. */
export function describe(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

type Check = (value: unknown) => boolean;

const isText: Check = (value) => typeof value === "string";
const isCount = (value: unknown): value is number => typeof value === "number" && value >= 0;
const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === "object" && value !== null && !Array.isArray(value);
const listOf = (item: Check): Check => (value) => Array.isArray(value) && value.every(item);

/** A field is of one kind in every message that has it. */
const KINDS = Object.entries<Check>({
  channel: isText,
  userId: isText,
  connectionId: isText,
  resume: isText,
  code: isText,
  message: isText,
  reason: isText,
  epoch: isCount,
  seq: isCount,
  retryAfterMs: isCount,
  state: isObject,
  presences: listOf((row) => isObject(row) && holds(row, "userId connectionId state")),
  revokedChannels: listOf(isText),
});

const CHANNEL = "channel";
const DELTA = "channel seq userId connectionId";
const PUT = DELTA + " state";
const FAULT = "code message";

/** For each type of message, the fields it must have. It may have more. */
const FIELDS: ReadonlyMap<unknown, string> = new Map(
  Object.entries({
    presence_sync: "channel epoch seq presences",
    presence_join: PUT,
    presence_update: PUT,
    presence_leave: DELTA + " reason",
    auth_success: "userId connectionId",
    auth_error: FAULT,
    auth_refreshed: "userId revokedChannels",
    subscribed: CHANNEL,
    unsubscribed: CHANNEL,
    PRESENCE_RESYNC: CHANNEL,
    error: FAULT,
    pong: "type",
    ack: "type",
  }),
);

/** Whether an object has these fields, and each known field of its kind. */
function holds(value: Record<string, unknown>, fields: string): boolean {
  return (
    fields.split(" ").every((field) => value[field] !== undefined) &&
    KINDS.every(([field, isKind]) => value[field] === undefined || isKind(value[field]))
  );
}

function parseObject(text: unknown): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(text as string);
    return isObject(value) ? value : undefined;
  } catch {
    return undefined;
  }
}

const encoder = new TextEncoder();

function utf8Bytes(text: string): number {
  return encoder.encode(text).length;
}

/** How deep a value nests, of which the size is known to be small. */
function depth(value: unknown): number {
  return value instanceof Object ? 1 + Math.max(0, ...Object.values(value).map(depth)) : 0;
}

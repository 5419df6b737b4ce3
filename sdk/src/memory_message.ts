/**
 * What a client's frame says to the server in memory, or which error it is, in the order of the protocol: JSON, object,
 * `ref`, `type`, channel, state. Decides nothing about rights.
 */
import { channelOf, MAX_STATE_BYTES, type State } from "./protocol.js";

export type Ref = string | number;

export type Request =
  | { type: "auth"; token: unknown; resume: unknown }
  | { type: "ping" }
  | { type: "subscribe"; channels: string[]; isCounting: boolean }
  | { type: "unsubscribe" | "untrack" | "sync"; channel: string }
  | { type: "track"; channel: string; state: State; expire: Expire };

/** Fields that end by themselves, each after so many ms. */
export type Expire = Readonly<Record<string, number>>;

/** Why a message is refused. */
export interface Refusal {
  type: "refused";
  code: string;
  message: string;
  channel?: string | undefined;
}

export interface Parsed {
  ref: Ref | undefined;
  said: Request | Refusal;
}

type Fields = Record<string, unknown>;

const MAX_DEPTH = 32;
const MAX_REF_BYTES = 256;
const MAX_CHANNELS = 100;
const MAX_EXPIRING = 8;
const MIN_EXPIRE_MS = 1_000;
const MAX_EXPIRE_MS = 3_600_000;

/** The names of one row mean the same. */
const TYPES: Readonly<Record<string, Request["type"]>> = {
  auth: "auth",
  ping: "ping",
  subscribe: "subscribe",
  unsubscribe: "unsubscribe",
  presence_join: "track",
  presence_track: "track",
  presence_update: "track",
  presence_leave: "untrack",
  presence_untrack: "untrack",
  presence_sync: "sync",
};

/** `defaultChannel` is for messages without a channel. */
export function parseRequest(text: string, defaultChannel: string | null): Parsed {
  const { fields, refused } = objectOf(text);
  if (!fields) return { ref: undefined, said: refused };
  const ref = fields["ref"] ?? undefined;
  if (ref !== undefined && !isRef(ref)) return { ref: undefined, said: refusal("INVALID_MESSAGE", "A ref is a number or a string.") };
  return { ref, said: requestOf(fields, defaultChannel) };
}

export function refusal(code: string, message: string, channel?: string): Refusal {
  return { type: "refused", code, message, channel };
}

function objectOf(text: string): { fields: Fields; refused?: never } | { fields?: never; refused: Refusal } {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return { refused: refusal("INVALID_JSON", "The message is not JSON.") };
  }
  if (!isPlain(value, 0)) return { refused: refusal("INVALID_JSON", "The message nests too deeply, or has a number beyond a double.") };
  if (!isObject(value)) return { refused: refusal("INVALID_MESSAGE", "A message is a JSON object.") };
  return { fields: value };
}

function requestOf(fields: Fields, defaultChannel: string | null): Request | Refusal {
  const name = fields["type"];
  if (typeof name !== "string") return refusal("INVALID_MESSAGE", "A message has a type.");
  const type = Object.hasOwn(TYPES, name) ? TYPES[name] : undefined;
  if (!type) return refusal("UNKNOWN_TYPE", `A client sends no ${name}.`);
  if (type === "auth") return { type, token: fields["token"], resume: fields["resume"] };
  if (type === "ping") return { type };
  if (type === "subscribe" && Object.hasOwn(fields, "channels")) return subscribeAll(fields);
  const channel = channelIn(fields["channel"] ?? defaultChannel);
  if (!channel) return refusal("INVALID_CHANNEL", "A channel is presence:<name>.");
  if (type === "subscribe") return subscribe([channel], fields["mode"], channel);
  if (type !== "track") return { type, channel };
  const { state } = fields;
  if (!isObject(state)) return refusal("INVALID_STATE", "A state is a JSON object.", channel);
  const bytes = bytesOf(JSON.stringify(state));
  if (bytes > MAX_STATE_BYTES) {
    return refusal("STATE_TOO_LARGE", `A state has at most ${MAX_STATE_BYTES} bytes, not ${bytes}.`, channel);
  }
  const { expire = {} } = fields;
  if (isExpire(expire)) return { type, channel, state, expire };
  const range = `${MIN_EXPIRE_MS} to ${MAX_EXPIRE_MS}`;
  return refusal("INVALID_MESSAGE", `At most ${MAX_EXPIRING} fields expire, each after ${range} ms.`, channel);
}

function subscribeAll({ channel, channels, mode }: Fields): Request | Refusal {
  if (!isMode(mode)) return subscribe([], mode);
  const names = Array.isArray(channels) ? channels.slice(0, MAX_CHANNELS).map(channelIn) : [];
  if (names.includes(undefined)) return refusal("INVALID_CHANNEL", "A channel is presence:<name>.");
  if (!names.length || names.length < (channels as unknown[]).length || (channel ?? undefined) !== undefined) {
    return refusal("INVALID_MESSAGE", `There are 1 to ${MAX_CHANNELS} channels, without a channel beside them.`);
  }
  return subscribe(names as string[], mode);
}

function subscribe(channels: string[], mode: unknown, channel?: string): Request | Refusal {
  if (!isMode(mode)) return refusal("INVALID_MESSAGE", "The mode is count, or is left out.", channel);
  return { type: "subscribe", channels, isCounting: mode === "count" };
}

function isMode(mode: unknown): boolean {
  return mode === undefined || mode === "count";
}

function channelIn(text: unknown): string | undefined {
  const name = typeof text === "string" ? /^(?:realtime:)?presence:([^]*)$/.exec(text)?.[1] : undefined;
  try {
    return channelOf(name ?? "");
  } catch {
    return undefined;
  }
}

function isObject(value: unknown): value is Fields {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function isExpire(value: unknown): value is Expire {
  if (!isObject(value)) return false;
  const times = Object.values(value);
  const isTime = (ms: unknown): boolean => Number.isInteger(ms) && Number(ms) >= MIN_EXPIRE_MS && Number(ms) <= MAX_EXPIRE_MS;
  return times.length <= MAX_EXPIRING && times.every(isTime);
}

function isPlain(value: unknown, depth: number): boolean {
  if (typeof value === "number") return Number.isFinite(value);
  if (typeof value !== "object" || value === null) return true;
  return depth < MAX_DEPTH && Object.values(value).every((part) => isPlain(part, depth + 1));
}

function isRef(value: unknown): value is Ref {
  return typeof value === "number" || (typeof value === "string" && bytesOf(value) <= MAX_REF_BYTES);
}

function bytesOf(text: string): number {
  return new TextEncoder().encode(text).length;
}

/**
 * One client: one socket, and the channels that use it. Joins the two and holds what concerns all channels.
 */
import { type Channel, createChannel } from "./channel.js";
import { createListeners, type Unsubscribe } from "./listeners.js";
import { presenceOf } from "./presence.js";
import type { ErrorListener, MeListener, Presence, PresenceHost, PresenceOptions, StatusListener } from "./presence.js";
import { PresenceError, type ClientMessage, type ServerMessage, type State, type Subscribe } from "./protocol.js";
import type { Me } from "./roster.js";
import { createResume } from "./resume.js";
import type { Status, WebSocketClass } from "./link.js";
import { createSocket } from "./socket.js";
import type { ChannelHost } from "./standing.js";
import { createTokens, type GetToken } from "./token.js";

export interface ClientOptions {
  /** A fixed token. When the server refuses it, the client has `failed`. */
  token?: string | undefined;
  /** Called for a token at each connection that needs one, and about a minute before the current one expires. */
  getToken?: GetToken | undefined;
  /** The WebSocket class to use if there is no global one (Node 20: that of the package `ws`). */
  WebSocket?: WebSocketClass | undefined;
}

export interface Client {
  readonly realtime: {
    /** A handle of the channel `presence:<name>`. Throws `INVALID_CHANNEL`. */
    presence<S extends object = State>(name: string, options?: PresenceOptions): Presence<S>;
  };
  readonly status: Status;
  /** What ended the connection, or keeps it from being open; absent while nothing is wrong. */
  readonly statusReason: PresenceError | undefined;
  /** The connection's status, at once and at each change. */
  onStatus(listener: StatusListener): Unsubscribe;
  /** Who this client is: `undefined` until the server has said so, and after the client has `failed` or `closed`. */
  readonly me: Me | undefined;
  /** The same, at once and at each change. */
  onMe(listener: MeListener): Unsubscribe;
  /** All errors, of any channel and of the connection. Without a listener, errors are written to the console. */
  onError(listener: ErrorListener): Unsubscribe;
  /**
   * Uses `token`, or asks `getToken` for another one: the application has logged in, or its user's rights have
   * changed. Connects again after `failed`.
   */
  refresh(token?: string): void;
  /** Leaves all channels and disconnects, for good. */
  close(): void;
}

/** The fields of messages that the client itself reads. */
interface Said {
  channel: string;
  code: string;
  /** Of `auth_success` and `auth_refreshed`. */
  userId: string;
  revokedChannels: string[];
}

/** Where the server takes WebSockets, below its origin. */
const REALTIME_PATH = "/api/realtime";

/** How many channels one message may subscribe to. */
const MAX_CHANNELS = 100;

/**
 * A message with more characters than this takes no further name. A character has at most three bytes, so the message stays
 * below the 16,384 bytes that a server takes by default.
 */
const MAX_CHARACTERS = 5_000;

/** A connection that no channel uses is closed after this time, in ms. */
const UNUSED_MS = 30_000;

/**
 * A client of the server at `url` (http, https, ws or wss; in a page also relative to it). Connects when
 * the first listener is added or the first state is tracked. Throws `INVALID_URL`.
 */
export function createClient(url: string | URL, options: ClientOptions = {}): Client {
  const channels = new Map<string, Channel>();
  const onStatus = createListeners<[]>(() => []);
  const onMe = createListeners<[me: Me | undefined]>(() => [me]);
  const onError = createListeners<[error: PresenceError]>();
  const realtime = realtimeUrl(url);
  const resume = createResume(realtime);
  const tokens = createTokens(options.token, options.getToken);
  /**
   * The channels of which this connection has heard, and whether the answer to an `unsubscribe` is still to come. Until then, what
   * the server says of the channel belongs to the subscription that has ended, and nothing new is asked for.
   */
  const leaving = new Map<string, boolean>();
  let me: Me | undefined;
  /** The channels that one message subscribes to at the end of the microtask: several after a reconnect. */
  let asked: Subscribe | undefined;
  let unusedTimer: ReturnType<typeof setTimeout> | undefined;

  const failed = (error: PresenceError): void => {
    // An error that nobody hears would cost its developer an afternoon.
    if (!onError.size) console.error(`herenow: ${error.code}: ${error.message}`);
    onError.emit(error);
    if (error.code === "RATE_LIMITED" && !error.channel) channels.forEach((channel) => channel.limited());
  };

  /** Sends the subscriptions that were asked for before, and then `message`. */
  const send = (message?: ClientMessage): void => {
    if (asked) socket.send(asked);
    asked = undefined;
    if (message) socket.send(message);
  };

  const become = (next: Me | undefined): void => {
    if (me?.connectionId === next?.connectionId) return;
    me = next;
    onMe.emit(me);
  };

  const received = (message: ServerMessage): void => {
    const { channel: name, code, userId, revokedChannels } = message as Partial<Said>;
    if (name) {
      if (leaving.get(name)) {
        // The server answers each `unsubscribe` once, with this error if it had ended the subscription.
        if (message.type === "unsubscribed" ? code : code !== "NOT_SUBSCRIBED") return;
        leaving.set(name, false);
        return channels.get(name)?.opened();
      }
      channels.get(name)?.received(message);
      settleLater(name);
      // Without a token and without a public channel, the server would end the connection again and again.
      if (code === "NOT_AUTHENTICATED" && !me && [...channels.values()].every((channel) => channel.isKeptOut())) {
        socket.stop("failed", new PresenceError("NOT_AUTHENTICATED", "No token: call refresh() once there is one."));
      }
    } else if (message.type === "ack") {
      channels.forEach((channel) => channel.received(message));
    } else if (userId) {
      if (message.type === "auth_success") become(message);
      // A token may open what was refused before, also to an anonymous observer.
      channels.forEach((channel, name) => {
        if (revokedChannels?.includes(name)) channel.lost("CHANNEL_ACCESS_DENIED");
        else channel.refreshed();
      });
    }
  };

  /** A connection that was taken over may be, and be seen, where nobody here wants it any more. */
  const settleLater = (name: string): void => {
    const settle = (): void => {
      const channel = channels.get(name);
      if (channel) channel.settle();
      else host.unsubscribe(name);
    };
    if (resume.settleMs === undefined || leaving.has(name)) return;
    leaving.set(name, false);
    setTimeout(settle, resume.settleMs);
  };

  const socket = createSocket(
    { url: realtime, tokens, resume, WebSocket: options.WebSocket },
    {
      opened() {
        leaving.clear();
        channels.forEach((channel) => channel.opened());
      },
      received,
      failed,
      statusChanged() {
        if (!socket.isRunning()) become(undefined);
        if (!socket.isOpen()) channels.forEach((channel) => channel.feed.dropped());
        onStatus.emit();
      },
      isWanted: () => channels.size > 0,
    },
  );
  const host: ChannelHost & PresenceHost = {
    isOpen: (name) => socket.isOpen() && !leaving.get(name),
    get me() {
      return me;
    },
    send,
    subscribe(name, mode) {
      const isFull = asked && (asked.channels.length === MAX_CHANNELS || asked.channels.join().length > MAX_CHARACTERS);
      if (isFull || asked?.mode !== mode) send();
      if (!asked) queueMicrotask(() => send());
      (asked ??= { type: "subscribe", channels: [], mode }).channels.push(name);
    },
    unsubscribe(name) {
      leaving.set(name, true);
      send({ type: "unsubscribe", channel: name });
    },
    failed,
    forget(name) {
      channels.delete(name);
      if (!channels.size) unusedTimer = setTimeout(() => socket.stop("idle"), UNUSED_MS);
    },
    channel(name) {
      let channel = channels.get(name);
      if (!channel) {
        socket.start();
        clearTimeout(unusedTimer);
        channels.set(name, (channel = createChannel(name, host)));
        if (socket.status() === "closed") channel.stop();
      }
      return channel;
    },
    existing: (name) => channels.get(name),
    onStatus(listener) {
      // A listener may change the status while others are still to be told of the one before.
      let told: Status | undefined;
      const tell = (): void => {
        const status = socket.status();
        if (told !== status) listener((told = status), socket.reason());
      };
      return onStatus.add(tell);
    },
    onError: onError.add,
  };
  return {
    realtime: { presence: (name, options) => presenceOf(name, host, options) },
    get status() {
      return socket.status();
    },
    get statusReason() {
      return socket.reason();
    },
    get me() {
      return me;
    },
    onStatus: host.onStatus,
    onMe: onMe.add,
    onError: host.onError,
    refresh(token) {
      tokens.refused(token);
      socket.refresh();
    },
    close() {
      clearTimeout(unusedTimer);
      channels.forEach((channel) => channel.stop());
      channels.clear();
      socket.stop("closed");
    },
  };
}

/** `https://host/prefix/` -> `wss://host/prefix/api/realtime`. */
function realtimeUrl(url: string | URL): string {
  try {
    const { origin, pathname } = new URL(url, (globalThis as { location?: { href: string } }).location?.href);
    if (!/^(http|ws)/.test(origin)) throw origin;
    return origin.replace("http", "ws") + pathname.replace(/\/?$/, REALTIME_PATH);
  } catch (error) {
    throw new PresenceError("INVALID_URL", `Not the URL of a server: ${error}`);
  }
}

/**
 * One client: one socket, and the channels that use it. Joins the two and holds what concerns all channels.
 */
import { type Channel, createChannel } from "./channel.js";
import { Listeners, type Unsubscribe } from "./listeners.js";
import { presenceOf } from "./presence.js";
import type { ErrorListener, MeListener, Presence, PresenceHost, PresenceOptions, StatusListener } from "./presence.js";
import { describe, PresenceError, say, type ServerMessage, type State } from "./protocol.js";
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

/** Where the server takes WebSockets, below its origin. */
const REALTIME_PATH = "api/realtime";

/** A connection that no channel uses is closed after this time, in ms. */
const UNUSED_MS = 30_000;

/**
 * A client of the server at `url` (http, https, ws or wss; in a page also relative to it). Connects when
 * the first listener is added or the first state is tracked. Throws `INVALID_URL`.
 */
export function createClient(url: string | URL, options: ClientOptions = {}): Client {
  const channels = new Map<string, Channel>();
  const onStatus = new Listeners<[]>();
  const onMe = new Listeners<[me: Me | undefined]>();
  const onError = new Listeners<[error: PresenceError]>();
  const realtime = realtimeUrl(url);
  const resume = createResume(realtime);
  const tokens = createTokens(options.token, options.getToken);
  /**
   * How many answers to `unsubscribe` are still to come, by channel. Until then, what the server says of the channel was said to
   * the subscription that has ended: a late snapshot answers no later one. Each `unsubscribe` is answered once, be it with
   * `NOT_SUBSCRIBED`.
   */
  const leaving = new Map<string, number>();
  let me: Me | undefined;
  let unusedTimer: ReturnType<typeof setTimeout> | undefined;

  const failed = (error: PresenceError): void => {
    // An error that nobody hears would cost its developer an afternoon.
    if (onError.size === 0) console.error(`herenow: ${error.code}: ${error.message}`);
    onError.emit(error);
  };

  const become = (next: Me | undefined): void => {
    if (me?.connectionId === next?.connectionId) return;
    me = next;
    onMe.emit(me);
  };

  const isLate = (message: ServerMessage, name: string): boolean => {
    const expected = leaving.get(name);
    const { code } = message as { code?: string };
    // Only RATE_LIMITED overtakes other replies, and may be to the newest request.
    if (!expected || code === "RATE_LIMITED") return false;
    if (message.type === "unsubscribed" ? !code : code === "NOT_SUBSCRIBED") leaving.set(name, expected - 1);
    return true;
  };

  const received = (message: ServerMessage): void => {
    const { channel: name } = message as { channel?: string };
    if (name) {
      if (isLate(message, name)) return;
      channels.get(name)?.received(message);
      if (message.type === "presence_sync") settleLater(name);
      // Without a token and without a public channel, the server would end the connection again and again.
      const isOut = message.type === "error" && message.code === "NOT_AUTHENTICATED" && !me;
      if (isOut && [...channels.values()].every((channel) => channel.isKeptOut())) {
        socket.stop("failed", new PresenceError("NOT_AUTHENTICATED", "No token: call refresh() once there is one."));
      }
    } else if (message.type === "ack") {
      channels.forEach((channel) => channel.received(message));
    } else if (message.type === "auth_success" || message.type === "auth_refreshed") {
      if (message.type === "auth_success") become(message);
      // A token may open what was refused before, also to an anonymous observer.
      for (const channel of channels.values()) {
        if (message.revokedChannels?.includes(channel.name)) channel.lost("CHANNEL_ACCESS_DENIED");
        else channel.refreshed();
      }
    }
  };

  /** A connection that was taken over may be, and be seen, where nobody here wants it any more. */
  const settleLater = (name: string): void => {
    const settle = (): void => {
      const channel = channels.get(name);
      if (channel) channel.settle();
      else host.unsubscribe(name);
    };
    if (resume.settleMs !== undefined) setTimeout(settle, resume.settleMs);
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
    isOpen: socket.isOpen,
    get me() {
      return me;
    },
    send: socket.send,
    unsubscribe(name) {
      leaving.set(name, (leaving.get(name) ?? 0) + 1);
      socket.send(say.unsubscribe(name));
    },
    failed,
    forget(name) {
      channels.delete(name);
      if (channels.size === 0) unusedTimer = setTimeout(() => socket.stop("idle"), UNUSED_MS);
    },
    channel(name) {
      let channel = channels.get(name);
      if (!channel) {
        socket.start();
        clearTimeout(unusedTimer);
        channels.set(name, (channel = createChannel(name, host)));
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
      return onStatus.addLate(tell, () => []);
    },
    onError: (listener) => onError.add(listener),
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
    onMe: (listener) => onMe.addLate(listener, () => [me]),
    onError: host.onError,
    refresh(token) {
      tokens.refused(token);
      socket.refresh();
    },
    close() {
      clearTimeout(unusedTimer);
      for (const channel of channels.values()) channel.stop();
      channels.clear();
      socket.stop("closed");
    },
  };
}

/** `https://host/prefix/` -> `wss://host/prefix/api/realtime`. */
function realtimeUrl(url: string | URL): string {
  try {
    const { protocol, host, pathname } = new URL(url, (globalThis as { location?: { href: string } }).location?.href);
    if (!/^(http|ws)s?:$/.test(protocol)) throw protocol;
    return `${protocol.replace("http", "ws")}//${host}${pathname.replace(/\/?$/, "/")}${REALTIME_PATH}`;
  } catch (error) {
    throw new PresenceError("INVALID_URL", `Not the URL of a server: ${describe(error)}`);
  }
}

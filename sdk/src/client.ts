/**
 * One client: one socket, and the channels that use it. Joins the two and holds what concerns all channels.
 */
import { Channel, type ChannelHost } from "./channel.js";
import { Listeners, type Unsubscribe } from "./listeners.js";
import { type ErrorListener, type Presence, type PresenceHost, presenceOf, type StatusListener } from "./presence.js";
import { channelOf, describe, PresenceError, say, type ServerMessage, type Snapshot, type State } from "./protocol.js";
import { Resume } from "./resume.js";
import { Socket, type Status, type WebSocketClass } from "./socket.js";
import { type GetToken, Tokens } from "./token.js";

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
    presence<S extends object = State>(name: string): Presence<S>;
  };
  readonly status: Status;
  /** The connection's status, at once and at each change. */
  onStatus(listener: StatusListener): Unsubscribe;
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

/**
 * A client of the server at `url` (http, https, ws or wss; in a page also relative to it). Connects when
 * the first listener is added or the first state is tracked. Throws `INVALID_URL`.
 */
export function createClient(url: string | URL, options: ClientOptions = {}): Client {
  const channels = new Map<string, Channel>();
  const onStatus = new Listeners<[status: Status]>();
  const onError = new Listeners<[error: PresenceError]>();
  const resume = new Resume(realtimeUrl(url));
  const tokens = new Tokens(options.token, options.getToken);
  let leaving = new Leaving();
  let connectionId: string | undefined;

  const failed = (error: PresenceError): void => {
    // An error that nobody hears would cost its developer an afternoon.
    if (onError.size === 0) console.error(`herenow: ${error.code}: ${error.message}`);
    onError.emit(error);
  };

  const received = (message: ServerMessage): void => {
    if ("channel" in message && message.channel) {
      if (leaving.isLate(message, message.channel)) return;
      channels.get(message.channel)?.received(message);
      if (message.type === "presence_sync") settleLater(message);
    } else if (message.type === "auth_success" || message.type === "auth_refreshed") {
      if (message.type === "auth_success") connectionId = message.connectionId;
      // A token may open what was refused before, also to an anonymous observer.
      for (const channel of channels.values()) {
        if ("revokedChannels" in message && message.revokedChannels.includes(channel.name)) {
          channel.lost("CHANNEL_ACCESS_DENIED");
        } else channel.refreshed();
      }
    }
  };

  /** A connection that was taken over may be, and be seen, where nobody here wants it any more. */
  const settleLater = ({ channel: name, presences }: Snapshot): void => {
    const wait = resume.settleMs;
    if (wait === undefined) return;
    const isSeen = presences.some((row) => row.connectionId === connectionId);
    setTimeout(() => {
      const channel = channels.get(name);
      if (!channel) host.unsubscribe(name);
      else if (isSeen) channel.settle();
    }, wait);
  };

  const socket = new Socket(
    { url: resume.url, tokens, resume, WebSocket: options.WebSocket },
    {
      opened() {
        leaving = new Leaving();
        channels.forEach((channel) => channel.opened());
      },
      received,
      failed,
      statusChanged: (status) => onStatus.emit(status),
      isWanted: () => [...channels.values()].some((channel) => channel.isWanted),
    },
  );
  const host: ChannelHost & PresenceHost = {
    get isOpen() {
      return socket.isOpen;
    },
    get connectionId() {
      return connectionId;
    },
    send: (text) => socket.send(text),
    unsubscribe(name) {
      leaving.expect(name);
      socket.send(say.unsubscribe(name));
    },
    failed,
    forget: (name) => void channels.delete(name),
    channel(name) {
      socket.start();
      const channel = channels.get(name) ?? new Channel(name, host);
      channels.set(name, channel);
      return channel;
    },
    existing: (name) => channels.get(name),
    onStatus: (listener) => onStatus.addLate(listener, () => [socket.status]),
    onError: (listener) => onError.add(listener),
  };
  return {
    realtime: { presence: (name) => presenceOf(name, channelOf(name), host) },
    get status() {
      return socket.status;
    },
    onStatus: host.onStatus,
    onError: host.onError,
    refresh(token) {
      tokens.refused(token);
      socket.refresh();
    },
    close() {
      for (const channel of channels.values()) channel.stop();
      channels.clear();
      socket.close();
    },
  };
}

/**
 * Until the server has confirmed the end of a subscription, what it says of the channel was said to that one: a late
 * snapshot is no answer to whoever subscribes anew. Each `unsubscribe` is answered once, be it with `NOT_SUBSCRIBED`.
 * Only `RATE_LIMITED` overtakes other replies, and may be to the newest request.
 */
class Leaving {
  /** How many answers to `unsubscribe` are still to come, by channel. */
  #expected = new Map<string, number>();

  expect(name: string): void {
    this.#expected.set(name, (this.#expected.get(name) ?? 0) + 1);
  }

  isLate(message: ServerMessage, name: string): boolean {
    const left = this.#expected.get(name);
    const { code } = message as { code?: string };
    if (!left || code === "RATE_LIMITED") return false;
    if (message.type === "unsubscribed" ? !code : code === "NOT_SUBSCRIBED") this.#expected.set(name, left - 1);
    return true;
  }
}

/** Where the server takes WebSockets, below its origin. */
const REALTIME_PATH = "api/realtime";

/** `https://host/prefix/` -> `wss://host/prefix/api/realtime`. */
function realtimeUrl(url: string | URL): string {
  try {
    const { protocol, host, pathname } = new URL(url, (globalThis as { location?: { href: string } }).location?.href);
    if (!/^(http|ws)s?:$/.test(protocol)) throw new Error(`http, https, ws or wss, not ${protocol}`);
    return `${protocol.replace("http", "ws")}//${host}${pathname.replace(/\/?$/, "/")}${REALTIME_PATH}`;
  } catch (error) {
    throw new PresenceError("INVALID_URL", `createClient() needs the server's URL: ${describe(error)}`);
  }
}

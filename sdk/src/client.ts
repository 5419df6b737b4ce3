/**
 * One client: one socket, and the channels that use it. Joins the two and holds what concerns all channels.
 */
import { Channel } from "./channel.js";
import { Listeners, type Unsubscribe } from "./listeners.js";
import { type ErrorListener, type Presence, presenceOf, type StatusListener } from "./presence.js";
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
  /** Leaves all channels and disconnects, for good. */
  close(): void;
}

/**
 * A client of the server at `url` (http, https, ws or wss; in a page also relative to it). Connects when
 * the first listener is added or the first state is tracked. Throws `INVALID_URL`.
 */
export function createClient(url: string | URL, options: ClientOptions = {}): Client {
  const shared = new SharedClient(url, options);
  return {
    realtime: { presence: (name) => presenceOf(name, channelOf(name), shared) },
    get status() {
      return shared.status;
    },
    onStatus: (listener) => shared.onStatus(listener),
    onError: (listener) => shared.onError(listener),
    close: () => shared.close(),
  };
}

/** What socket, channels and handles have in common; `Client` is the part of it that an application sees. */
class SharedClient {
  #channels = new Map<string, Channel>();
  /** How many answers to `unsubscribe` are still to come, by channel. */
  #leaving = new Map<string, number>();
  #statusListeners = new Listeners<[status: Status]>();
  #errorListeners = new Listeners<[error: PresenceError]>();
  #connectionId: string | undefined;
  #resume: Resume;
  #socket: Socket;

  constructor(base: string | URL, { token, getToken, WebSocket }: ClientOptions) {
    const url = realtimeUrl(base);
    this.#resume = new Resume(url);
    this.#socket = new Socket(
      { url, tokens: new Tokens(token, getToken), resume: this.#resume, WebSocket },
      {
        opened: () => {
          this.#leaving.clear();
          this.#channels.forEach((channel) => channel.opened());
        },
        received: (message) => this.#received(message),
        failed: (error) => this.failed(error),
        statusChanged: (status) => this.#statusListeners.emit(status),
        isWanted: () => [...this.#channels.values()].some((channel) => channel.isWanted),
      },
    );
  }

  get status(): Status {
    return this.#socket.status;
  }

  get isOpen(): boolean {
    return this.#socket.isOpen;
  }

  get connectionId(): string | undefined {
    return this.#connectionId;
  }

  send(text: string): void {
    this.#socket.send(text);
  }

  channel(name: string): Channel {
    this.#socket.start();
    const channel = this.#channels.get(name) ?? new Channel(name, this);
    this.#channels.set(name, channel);
    return channel;
  }

  existing(name: string): Channel | undefined {
    return this.#channels.get(name);
  }

  forget(name: string): void {
    this.#channels.delete(name);
  }

  unsubscribe(name: string): void {
    this.#leaving.set(name, (this.#leaving.get(name) ?? 0) + 1);
    this.send(say.unsubscribe(name));
  }

  onStatus(listener: StatusListener): Unsubscribe {
    return this.#statusListeners.addLate(listener, () => [this.status]);
  }

  onError(listener: ErrorListener): Unsubscribe {
    return this.#errorListeners.add(listener);
  }

  failed(error: PresenceError): void {
    // An error that nobody hears would cost its developer an afternoon.
    if (this.#errorListeners.size === 0) console.error(`herenow: ${error.code}: ${error.message}`);
    this.#errorListeners.emit(error);
  }

  close(): void {
    for (const channel of this.#channels.values()) channel.stop();
    this.#channels.clear();
    this.#socket.close();
  }

  #received(message: ServerMessage): void {
    if ("channel" in message && message.channel !== undefined) {
      if (this.#isLate(message, message.channel)) return;
      this.#channels.get(message.channel)?.received(message);
      if (message.type === "presence_sync") this.#settleLater(message);
    } else if (message.type === "auth_success") {
      this.#connectionId = message.connectionId;
    } else if (message.type === "auth_refreshed") {
      for (const channel of this.#channels.values()) {
        if (message.revokedChannels.includes(channel.name)) channel.lost("CHANNEL_ACCESS_DENIED");
        else channel.refreshed();
      }
    }
  }

  /**
   * Until the server has confirmed the end of a subscription, what it says of the channel was said to that one: a late
   * snapshot is no answer to whoever subscribes anew. Each `unsubscribe` is answered once, be it with `NOT_SUBSCRIBED`.
   * Only `RATE_LIMITED` overtakes other replies, and may be to the newest request.
   */
  #isLate(message: ServerMessage, name: string): boolean {
    const left = this.#leaving.get(name);
    const code = "code" in message ? message.code : undefined;
    if (!left || code === "RATE_LIMITED") return false;
    if (message.type === "unsubscribed" ? !code : code === "NOT_SUBSCRIBED") this.#leaving.set(name, left - 1);
    return true;
  }

  /** A connection that was taken over may be, and be seen, where nobody here wants it any more. */
  #settleLater({ channel: name, presences }: Snapshot): void {
    const wait = this.#resume.settleMs;
    if (wait === undefined) return;
    const isSeen = presences.some(({ connectionId }) => connectionId === this.#connectionId);
    setTimeout(() => {
      const channel = this.#channels.get(name);
      if (!channel) this.unsubscribe(name);
      else if (isSeen) channel.settle();
    }, wait);
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

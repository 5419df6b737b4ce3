/**
 * One client: one socket, and the channels that use it. Joins the two and holds what concerns all channels.
 */
import { Channel, type ChannelHost } from "./channel.js";
import { guarded, Listeners, type Unsubscribe } from "./listeners.js";
import { type ErrorListener, type Presence, type PresenceHost, presenceOf, type StatusListener } from "./presence.js";
import { channelOf, describe, PresenceError, type ServerMessage, type State } from "./protocol.js";
import { Socket, type Status, type WebSocketClass } from "./socket.js";
import { type GetToken, Tokens } from "./token.js";

export interface ClientOptions {
  /** A fixed token. When the server refuses it, the client has `failed`. */
  token?: string | undefined;
  /** Asked for a token at each connection that needs one, and about a minute before the present one ends. */
  getToken?: GetToken | undefined;
  /** The WebSocket to use where there is no global one (Node 20: that of the package `ws`). */
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
  /** Everything that goes wrong, in any channel or none. Without a listener, errors go to the console. */
  onError(listener: ErrorListener): Unsubscribe;
  /** Leaves all channels and disconnects, for good. */
  close(): void;
}

/** Where the server takes WebSockets, below its origin. */
const REALTIME_PATH = "api/realtime";

/** A client of the server at `url` (http, https, ws or wss). Connects when something is first listened to or tracked. */
export function createClient(url: string | URL, options: ClientOptions = {}): Client {
  const channels = new Map<string, Channel>();
  const statusListeners = new Listeners<[status: Status]>();
  const errorListeners = new Listeners<[error: PresenceError]>();
  let connectionId: string | undefined;

  const failed = (error: PresenceError): void => {
    // An error that nobody hears would cost its developer an afternoon.
    if (errorListeners.size === 0) console.error(`herenow: ${error.code}: ${error.message}`);
    errorListeners.emit(error);
  };

  const received = (message: ServerMessage): void => {
    if ("channel" in message && message.channel !== undefined) {
      channels.get(message.channel)?.received(message);
    } else if (message.type === "auth_success") {
      connectionId = message.connectionId;
    } else if (message.type === "auth_refreshed") {
      for (const channel of channels.values()) {
        if (message.revokedChannels.includes(channel.channel)) channel.lost("CHANNEL_ACCESS_DENIED");
        else channel.refreshed();
      }
    }
  };

  const tokens = new Tokens(options.token, options.getToken);
  const socket = new Socket({ url: realtimeUrl(url), tokens, WebSocket: options.WebSocket }, {
    opened: () => channels.forEach((channel) => channel.opened()),
    received,
    failed,
    statusChanged: (status) => statusListeners.emit(status),
    isWanted: () => [...channels.values()].some((channel) => channel.isWanted),
  });

  const channelHost: ChannelHost = {
    get isOpen() {
      return socket.isOpen;
    },
    get connectionId() {
      return connectionId;
    },
    send: (text) => socket.send(text),
    failed,
    forget(channel) {
      if (channels.get(channel.channel) === channel) channels.delete(channel.channel);
    },
  };

  const onStatus = (listener: StatusListener): Unsubscribe => {
    let isTold = false;
    const end = statusListeners.add((status) => {
      isTold = true;
      listener(status);
    });
    let isEnded = false;
    queueMicrotask(() => {
      if (!isTold && !isEnded) guarded(() => listener(socket.status));
    });
    return () => {
      isEnded = true;
      end();
    };
  };
  const onError = (listener: ErrorListener): Unsubscribe => errorListeners.add(listener);

  const presenceHost: PresenceHost = {
    channel(name) {
      socket.start();
      const channel = channels.get(name) ?? new Channel(name, channelHost);
      channels.set(name, channel);
      return channel;
    },
    existing: (name) => channels.get(name),
    onError,
    onStatus,
  };

  return {
    realtime: {
      presence: (name) => presenceOf(name, channelOf(name), presenceHost),
    },
    get status() {
      return socket.status;
    },
    onStatus,
    onError,
    close() {
      channels.forEach((channel) => channel.stop());
      channels.clear();
      socket.close();
    },
  };
}

/** `https://host/prefix/` -> `wss://host/prefix/api/realtime`; in a page, `url` may be relative to it. */
function realtimeUrl(url: string | URL): string {
  let parsed: URL;
  try {
    parsed = new URL(url, (globalThis as { location?: { href: string } }).location?.href);
  } catch (error) {
    throw new PresenceError("INVALID_URL", `createClient() needs the server's URL: ${describe(error)}`);
  }
  const scheme = WEBSOCKET_SCHEMES.get(parsed.protocol);
  if (!scheme) {
    throw new PresenceError("INVALID_URL", `The server's URL begins with http, https, ws or wss, not with ${parsed.protocol}`);
  }
  const path = parsed.pathname.endsWith("/") ? parsed.pathname : `${parsed.pathname}/`;
  return `${scheme}//${parsed.host}${path}${REALTIME_PATH}`;
}

const WEBSOCKET_SCHEMES: ReadonlyMap<string, string> = new Map([
  ["http:", "ws:"],
  ["ws:", "ws:"],
  ["https:", "wss:"],
  ["wss:", "wss:"],
]);

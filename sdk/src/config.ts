/**
 * The types of `edgebase.config.ts`, the configuration of a Herenow server. The server ships them too: `herenow types` prints
 * them for a project that does not have this package. What each part means is in docs/configuration.md and docs/access-rules.md.
 */

/** The user of a connection, from the claims of its token. */
export interface Auth {
  /** The claim `sub`. */
  id: string;
  /** The claim of this name. */
  role?: string;
  /** The claim of this name. */
  email?: string;
  /** Whether the claim of this name is `true`. */
  isAnonymous: boolean;
  /** The claim of this name; `{}` without. */
  custom: Record<string, unknown>;
  /** All claims. An integer beyond ±(2^53 − 1) is a string of its digits. */
  claims: Record<string, unknown>;
}

/** What a rule returns. Only `true` grants. */
export type Decision = boolean | Promise<boolean>;

/** Which users may use the channels of a pattern. Without a rule, every authenticated user may. */
export interface Access {
  /** Which connections receive the channel's events. `auth` is `null` for a connection that has not authenticated. */
  subscribe?(auth: Auth | null, channel: string): Decision;
  /** Which users may become members. The server does not ask for a connection that has not authenticated. */
  track?(auth: Auth, channel: string): Decision;
}

/** What holds for the channels of a pattern. */
export interface Namespace {
  access?: Access;
  /** Instead of the general setting, in milliseconds. */
  presenceTTL?: number;
  /** Instead of the general setting. */
  maxMembers?: number;
  /** Instead of the general setting, in milliseconds. */
  disconnectGraceMs?: number;
}

/** The types of events that a webhook may be sent. */
export type WebhookEvent =
  | "member_added"
  | "member_removed"
  | "member_updated"
  | "user_joined"
  | "user_left"
  | "channel_occupied"
  | "channel_vacated";

/** An endpoint of a backend that is told of joins and leaves. */
export interface Webhook {
  /** An `https` URL without a user and a password. */
  url: string;
  /** Patterns of channels; one of them has to match. */
  channels: readonly string[];
  /** Without it, all but `member_updated`. */
  events?: readonly WebhookEvent[];
  /** Allows plain `http`, and addresses of this machine and of private networks. */
  allowPrivateNetworks?: boolean;
}

/** The settings of the server, which the environment and flags override. */
export interface Settings {
  /**
   * How long a silent connection stays a member of its channels; then it leaves with `timeout`.
   * Default: 60000 ms. Allowed: 1000 to 86400000.
   */
  presenceTTL?: number;
  /**
   * How long a connection may stay without authenticating or subscribing to a public channel.
   * Default: 5000 ms. Allowed: 100 to 600000.
   */
  authTimeoutMs?: number;
  /**
   * How long a channel may be without a presence message before the server frees its memory; 0: never.
   * Default: 0 ms. Allowed: 0 to 86400000.
   */
  hibernateAfterMs?: number;
  /**
   * How long the members of a broken connection stay, so that it can resume (if a page went away, at most 15 s); 0: they leave at once.
   * Default: 0 ms. Allowed: 0 to 3600000.
   */
  disconnectGraceMs?: number;
  /**
   * The period over which clients are told to reconnect after a stop or an upgrade; 0: one second plus 0.25 ms for each connection, at most 30 s.
   * Default: 0 ms. Allowed: 0 to 600000.
   */
  drainMs?: number;
  /**
   * How often two clients within the server measure the time until a join and a leave reach another client, for /metrics; 0: never.
   * Default: 0 ms. Allowed: 0 to 3600000.
   */
  truthProbeMs?: number;
  /**
   * Messages per second of one connection that are handled at once; above this rate updates merge.
   * Default: 200 messages/s. Allowed: 1 to 100000.
   */
  maxMessagesPerSecond?: number;
  /**
   * Messages that a connection may send at once before the rate applies.
   * Default: 400 messages. Allowed: 1 to 1000000.
   */
  messageBurst?: number;
  /**
   * Channels that one connection may subscribe to; one more is answered `CHANNEL_LIMIT`.
   * Default: 100 channels. Allowed: 1 to 10000.
   */
  maxChannelsPerConnection?: number;
  /**
   * Members that one channel may have; one more is answered `MEMBER_LIMIT`.
   * Default: 100000 members. Allowed: 1 to 1000000.
   */
  maxMembers?: number;
  /**
   * Size of one message from a client, all fragments together; a larger one closes the connection with 1009.
   * Default: 16384 bytes. Allowed: 2048 to 1048576.
   */
  maxFrameBytes?: number;
  /**
   * Replies and deltas that may wait in the send queue of a slow connection; above this size one snapshot replaces the deltas. Before the connection has authenticated: 16384.
   * Default: 262144 bytes. Allowed: 16384 to 67108864.
   */
  sendQueueBytes?: number;
  /**
   * Connections that the server holds; an upgrade above this number is answered 503.
   * Default: 1000000 connections. Allowed: 1 to 10000000.
   */
  maxConnections?: number;
  /**
   * Broken connections of one user that are kept for `disconnectGraceMs`; above this number the oldest one ends.
   * Default: 16 connections. Allowed: 1 to 10000.
   */
  maxDetachedPerUser?: number;
  /**
   * Connections per address (IPv6: per /64, and eight times as many per /48) that have neither authenticated nor subscribed to a public channel; an upgrade above this number is answered 429. Loopback is not counted.
   * Default: 64 connections. Allowed: 1 to 1000000.
   */
  maxUnauthenticatedPerAddress?: number;
  /**
   * Proxies that name the address of each client in `X-Forwarded-For` or `Forwarded`; these headers of other peers are ignored.
   * Default: none. Allowed: IP addresses, CIDR networks.
   */
  trustedProxies?: readonly string[];
  /**
   * Peers that may read /metrics without a token, except through a proxy; by default none, not even this machine.
   * Default: none. Allowed: IP addresses, CIDR networks.
   */
  metricsFrom?: readonly string[];
  /**
   * A separate port for /metrics and /health, which the load on the main port does not affect. Other machines need metricsFrom or a token there too.
   * Default: none. Allowed: an address and a port such as 127.0.0.1:9460.
   */
  metricsListen?: string;
  /**
   * Origins that browsers may connect from; empty means any.
   * Default: any. Allowed: origins such as https://example.com, https://*.example.com.
   */
  allowedOrigins?: readonly string[];
}

/** All that Herenow reads. */
export interface Realtime extends Settings {
  /** By pattern, such as `presence:game-*`. The most specific one that matches a channel decides. */
  namespaces?: Readonly<Record<string, Namespace>>;
  webhooks?: readonly Webhook[];
}

/** A configuration. Keys beside `realtime` belong to other programs. */
export interface Config {
  realtime?: Realtime;
  [key: string]: unknown;
}

/** See `defineConfig`. */
export type DefineConfig = (config: Config) => Config;

/** Gives the configuration back, and its parts their types. In `edgebase.config.ts` it is there without an import too. */
export const defineConfig: DefineConfig = (config) => config;

/**
 * What an application holds of a channel. Each handle has its own listeners and its own tracked state; all handles
 * of one name share one subscription, and closing one touches no other.
 */
import type { Channel } from "./channel.js";
import type { ChannelListeners, CountListener, JoinListener, LeaveListener, SyncedListener, SyncListener, UpdateListener } from "./events.js";
import type { Unsubscribe } from "./listeners.js";
import { channelOf, type PresenceError, type State } from "./protocol.js";
import type { Me, User } from "./roster.js";
import type { Status } from "./link.js";
import type { Owner } from "./standing.js";
import { type Tracked, trackedOf, type TrackOptions } from "./tracked.js";

export type ErrorListener = (error: PresenceError) => void;
/** `reason` is what ended the connection, or keeps it from being open. */
export type StatusListener = (status: Status, reason: PresenceError | undefined) => void;
/** Who this client is; `undefined` until the server has said so, and after it has `failed` or `closed`. */
export type MeListener = (me: Me | undefined) => void;

/** One channel's presence. `S` is the type of the states; the library does not check it. */
export interface Presence<S extends object = State> {
  readonly name: string;
  /**
   * Makes this connection a member of the channel, or replaces its state. Throws `STATE_TOO_LARGE` or `INVALID_STATE`
   * at once. The client tracks the state again after each reconnect, until `untrack()`.
   *
   * The promise is `true` once the server has taken this state or a newer one in its place, and `false` if it is untracked
   * before that. A refusal rejects it; nobody has to handle that.
   */
  track(state: S, options?: TrackOptions<S>): Promise<boolean>;
  /** The same with the state that this handle tracks and these fields in place of its own. */
  patch(partial: Partial<S>, options?: TrackOptions<S>): Promise<boolean>;
  /** Ends the state that this handle tracks. */
  untrack(): void;
  /** Called with the list, one row per user, at each change; at once if a list is known. */
  onSync(listener: SyncListener<S>): Unsubscribe;
  /** A member joined; `first` if it is the first member of its user. */
  onJoin(listener: JoinListener<S>): Unsubscribe;
  /** A member's state was replaced. */
  onUpdate(listener: UpdateListener<S>): Unsubscribe;
  /** A member left; `last` if it was the last member of its user. */
  onLeave(listener: LeaveListener): Unsubscribe;
  /**
   * Called with the numbers of users and connections, at once if they are known and at each change. If this is the only kind of
   * listener of the channel, the server sends no list, and the numbers at most once a second.
   */
  onCount(listener: CountListener): Unsubscribe;
  /** Called with `synced`, at once and at each change. */
  onSynced(listener: SyncedListener): Unsubscribe;
  /** Errors of this channel and of the connection. */
  onError(listener: ErrorListener): Unsubscribe;
  /** The connection's status, at once and at each change. */
  onStatus(listener: StatusListener): Unsubscribe;
  /** Whether the list is complete and current. While there is no connection the list stays, and this is `false`. */
  readonly synced: boolean;
  /** Since when `synced` has been what it is, in ms since 1970; absent until the first snapshot. */
  readonly since: number | undefined;
  /** The current list: empty until the first snapshot. The same array until it changes. */
  users(): readonly User<S>[];
  /** The same without this client's own user. */
  others(): readonly User<S>[];
  /** This client's own user, while it is in the list. */
  me(): User<S> | undefined;
  /** Removes this handle's listeners and ends its tracked state. */
  close(): void;
}

export interface PresenceOptions {
  /** The time between two states that this handle sends, in ms. The newest is sent when it is over. Default: 50. */
  throttleMs?: number | undefined;
}

const THROTTLE_MS = 50;

/** What a handle asks of its client. */
export interface PresenceHost {
  /** The shared channel, connecting where nothing did yet. */
  channel(channel: string): Channel;
  /** The shared channel, where anybody uses it. */
  existing(channel: string): Channel | undefined;
  onError(listener: ErrorListener): Unsubscribe;
  onStatus(listener: StatusListener): Unsubscribe;
}

const NOBODY: readonly never[] = [];

export function presenceOf<S extends object>(
  name: string,
  host: PresenceHost,
  { throttleMs = THROTTLE_MS }: PresenceOptions = {},
): Presence<S> {
  const channel = channelOf(name);
  const owner: Owner = { throttleMs, nextAt: 0, tracked: undefined };
  const ends = new Set<Unsubscribe>();
  const kept = (end: Unsubscribe): Unsubscribe => {
    const once = (): void => {
      if (ends.delete(once)) end();
    };
    ends.add(once);
    return once;
  };
  // The shape of the states is the application's own claim, made in these two lines.
  const shared = (): Channel<S> => host.channel(channel) as unknown as Channel<S>;
  const existing = (): Channel<S> | undefined => host.existing(channel) as Channel<S> | undefined;
  const listen = <K extends keyof ChannelListeners>(kind: K, listener: ChannelListeners<S>[K]): Unsubscribe =>
    kept(shared().listen(kind, listener));
  const track = (tracked: Tracked): Promise<boolean> => shared().track(owner, tracked);
  const users = (): readonly User<S>[] => existing()?.feed.roster.users() ?? NOBODY;
  return {
    name,
    track: (state, options) => track(trackedOf(state, options)),
    patch: (partial, options) => track(trackedOf(partial, options, owner.tracked)),
    untrack: () => existing()?.untrack(owner),
    onSync: (listener) => listen("sync", listener),
    onJoin: (listener) => listen("join", listener),
    onUpdate: (listener) => listen("update", listener),
    onLeave: (listener) => listen("leave", listener),
    onSynced: (listener) => listen("synced", listener),
    onCount: (listener) => listen("count", listener),
    onError: (listener) => kept(host.onError((error) => (error.channel ?? name) === name && listener(error))),
    onStatus: (listener) => kept(host.onStatus(listener)),
    get synced() {
      return !!existing()?.feed.synced;
    },
    get since() {
      return existing()?.feed.since;
    },
    users,
    others: () => users().filter((user) => !user.isMe),
    me: () => users().find((user) => user.isMe),
    close() {
      for (const end of [...ends]) end();
      existing()?.untrack(owner);
    },
  };
}

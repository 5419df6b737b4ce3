/**
 * What the listeners of one channel are told: each event, the list once for all frames of a task, whether the list is current.
 * Knows nothing of what is asked of the server.
 */
import type { ChannelListeners } from "./events.js";
import { afterTask, createListeners, type Listeners } from "./listeners.js";
import type { Count, LeaveReason } from "./protocol.js";
import { createRoster, isSame, type Outcome, type RosterEvent } from "./roster.js";
import type { ChannelHost } from "./standing.js";

/** An event, as far as all kinds of it are the same: what it says beside the member is what its listeners are told. */
type Told<S extends object> = Pick<RosterEvent<S>, "type" | "userId" | "connectionId"> & { state?: S; reason?: LeaveReason };

type Kind = keyof ChannelListeners;

export interface FeedEvents {
  /** The own member left, and its listeners know. */
  ownLeft(reason: LeaveReason): void;
  /** Whether nobody is to be told anything any more: a listener may have closed the client. */
  isOver(): boolean;
}

export function createFeed<S extends object>(host: ChannelHost, told: FeedEvents) {
  const roster = createRoster<S>(() => host.me);
  /** The listeners, by what they are told. */
  const on: { readonly [K in Kind]: Listeners<Parameters<ChannelListeners<S>[K]>> } = {
    // If the list has just changed, all listeners are about to be called.
    sync: createListeners(() => (since && !isSyncDue ? [roster.users()] : undefined)),
    join: createListeners(),
    update: createListeners(),
    leave: createListeners(),
    synced: createListeners(() => [synced]),
    count: createListeners(() => known && [known]),
  };
  let synced = false;
  let since: number | undefined;
  let isSyncDue = false;
  /** How many there are, as the listeners were told. */
  let known: Count | undefined;

  function tell({ events, changed }: Outcome<S>, cause?: "resync"): void {
    for (const { type, userId, connectionId, state, ...rest } of events as readonly Told<S>[]) {
      if (told.isOver()) return;
      const more = { ...rest, isMe: connectionId === host.me?.connectionId, cause };
      const listeners: Listeners<unknown[]> = on[type] as never;
      listeners.emit(userId, connectionId, ...(state ? [state] : []), more);
      if (rest.reason && more.isMe) told.ownLeft(rest.reason);
    }
    if (changed) syncSoon();
    mark();
  }

  /** Once for all frames of a task: a storm of joins is one list, not one for each. */
  function syncSoon(): void {
    if (isSyncDue) return;
    isSyncDue = true;
    afterTask(() => {
      isSyncDue = false;
      if (told.isOver()) return;
      on.sync.emit(roster.users());
      counted(roster.count());
    });
  }

  /** Whether a listener wants more than the count. */
  const isListing = (): boolean => Object.values(on).some((kind) => kind.size && kind !== on.count);

  /** The server has counted, or the list has changed. */
  function counted({ users, connections }: Count): void {
    if (!isSame(known, (known = { users, connections }))) on.count.emit(known);
  }

  function mark(): void {
    if (synced === roster.isSynced()) return;
    synced = roster.isSynced();
    since = Date.now();
    on.synced.emit(synced);
  }

  return {
    roster,
    on,
    tell,
    counted,
    isListening: () => on.count.size > 0 || isListing(),
    /** Whether the count is all that the listeners want. */
    isCounting: () => on.count.size > 0 && !isListing(),
    /** The server tells no changes any more. The list stays as it was. */
    dropped(): void {
      roster.reconnected();
      mark();
    },
    /** Whether the list is that of now, as the listeners were told. */
    get synced() {
      return synced;
    },
    /** Since when that is so, in ms since 1970. */
    get since() {
      return since;
    },
  };
}

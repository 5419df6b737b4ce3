/**
 * What the listeners of one channel are told: each event, the list once for all frames of a task, whether the list is current.
 * Knows nothing of what is asked of the server.
 */
import type { JoinListener, LeaveListener, SyncedListener, SyncListener, UpdateListener } from "./events.js";
import { afterTask, Listeners, type Unsubscribe } from "./listeners.js";
import type { LeaveReason } from "./protocol.js";
import { createRoster, type Outcome, type RosterEvent } from "./roster.js";
import type { ChannelHost } from "./standing.js";

/** An event, as far as all kinds of it are the same: what it says beside the member is what its listeners are told. */
type Told<S extends object> = Pick<RosterEvent<S>, "type" | "userId" | "connectionId"> & { state?: S; reason?: LeaveReason };

export interface FeedEvents {
  /** The own member left, and its listeners know. */
  ownLeft(reason: LeaveReason): void;
  /** Whether nobody is to be told anything any more: a listener may have closed the client. */
  isOver(): boolean;
}

export function createFeed<S extends object>(host: ChannelHost, told: FeedEvents) {
  const roster = createRoster<S>(() => host.me);
  /** Who listens, by what is told. */
  const on = {
    sync: new Listeners<Parameters<SyncListener<S>>>(),
    join: new Listeners<Parameters<JoinListener<S>>>(),
    update: new Listeners<Parameters<UpdateListener<S>>>(),
    leave: new Listeners<Parameters<LeaveListener>>(),
    synced: new Listeners<Parameters<SyncedListener>>(),
  };
  let synced = false;
  let since: number | undefined;
  let isSyncDue = false;

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
      if (!told.isOver()) on.sync.emit(roster.users());
    });
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
    isListening: () => Object.values(on).some(({ size }) => size > 0),
    /** Listens to the list; told at once, after the present microtask, where one is known. */
    addSync(call: SyncListener<S>): Unsubscribe {
      // A list that has just changed is told to all listeners in a moment, this one included.
      return on.sync.addLate(call, () => (since && !isSyncDue ? [roster.users()] : undefined));
    },
    /** There is no connection. The list stays as it was. */
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

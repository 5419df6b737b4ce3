/**
 * Who is in one channel, as far as this client has been told. Pure: messages in, events and rows out.
 *
 * Snapshot and delta meet here: `first`, `last`, net differences and the order of rows are decided in this
 * file alone. Knows nothing of sockets, listeners or time; its cases are in `fixtures/roster.json`.
 */
import type { Count, Delta, LeaveReason, Snapshot, SnapshotRow, State } from "./protocol.js";

/** Who a connection is. */
export interface Me {
  readonly userId: string;
  readonly connectionId: string;
}

/** One tab, or one device, of a user. */
export interface Connection<S extends object = State> {
  readonly connectionId: string;
  readonly state: S;
  /** What its token says of the user (the claim `presence.info`), if it says anything. No client can set it. */
  readonly info?: State | undefined;
  /** It is this client's own. */
  readonly isMe: boolean;
}

/** One user: `state` is the one tracked last, which is that of the last of `connections`. */
export interface User<S extends object = State> {
  readonly userId: string;
  readonly state: S;
  /** That of the last of `connections`. */
  readonly info?: State | undefined;
  readonly connections: readonly Connection<S>[];
  /** It is this client's own user, on whichever connection. */
  readonly isMe: boolean;
}

export interface JoinEvent<S extends object = State> {
  type: "join";
  userId: string;
  connectionId: string;
  state: S;
  info?: State | undefined;
  /** The user had no other connection here: the user came. */
  first: boolean;
}

export interface UpdateEvent<S extends object = State> {
  type: "update";
  userId: string;
  connectionId: string;
  state: S;
  info?: State | undefined;
}

export interface LeaveEvent {
  type: "leave";
  userId: string;
  connectionId: string;
  reason: LeaveReason;
  /** The user has no other connection here: the user went. */
  last: boolean;
}

export type RosterEvent<S extends object = State> = JoinEvent<S> | UpdateEvent<S> | LeaveEvent;

/** What one message came to. */
export interface Outcome<S extends object = State> {
  events: RosterEvent<S>[];
  /** Whether `users()` gives another list than before. */
  changed: boolean;
}

export type Roster<S extends object = State> = ReturnType<typeof createRoster<S>>;

/** `me` says who this client is, now. */
export function createRoster<S extends object = State>(me: () => Me | undefined) {
  /** Users in the order in which they came. A row is never changed, but replaced. */
  const rows = new Map<string, User<S>>();
  let list: readonly User<S>[] | undefined;
  let size = 0;
  let wasKnown = false;
  /** The snapshot's (epoch, seq), moved on by each delta; absent until this connection's first snapshot. */
  let position: { epoch: number; seq: number } | undefined;

  /** The present list. The same array, and the same row of each user, until they change. */
  function users(): readonly User<S>[] {
    return (list ??= [...rows.values()]);
  }

  /** Replaces the set. Only differences make events; the very first snapshot is the ground and makes none. */
  function snapshot({ epoch, seq, presences }: Snapshot): Outcome<S> {
    const isFirst = !wasKnown;
    wasKnown = true;
    position = { epoch, seq };
    const before = users();
    // Before the leaves, so that a user whose every tab reconnected keeps at least one connection all along and is
    // told neither as come nor as gone.
    const events = [...joinsAndUpdates(presences), ...leavesOfAllBut(presences)];
    let changed = isFirst || events.length > 0;
    // A user with the same connections in the same order keeps the row, and the list is the same if all do.
    for (const row of before) {
      if (isSame(row, rows.get(row.userId))) rows.set(row.userId, row);
      else changed = true;
    }
    if (!changed) list = before;
    return { events: isFirst ? [] : events, changed };
  }

  /** One member joined, changed or left. What is already held, or was never known, makes no event. */
  function delta(delta: Delta): Outcome<S> {
    const known = position;
    const { epoch = known?.epoch as number, seq } = delta;
    if (!known || (epoch === known.epoch && seq <= known.seq)) return outcome([]);
    position = { epoch, seq };
    return outcome(change(delta));
  }

  /** A new connection took the old one's place: the list stays, and only its snapshot is believed. */
  function reconnected(): void {
    position = undefined;
  }

  /** The server ended the subscription: nobody is seen any more. */
  function lost(): Outcome<S> {
    position = undefined;
    return outcome(leavesOfAllBut([]));
  }

  function joinsAndUpdates(presences: Snapshot["presences"]): RosterEvent<S>[] {
    const updates: RosterEvent<S>[] = [];
    const joins = presences.flatMap((row) => {
      const held = connectionsOf(row.userId).find((one) => one.connectionId === row.connectionId);
      const event = change(row);
      if (!held) return event;
      if (!isSame([held.state, held.info], [row.state, row.info])) updates.push(...event);
      return [];
    });
    return [...joins, ...updates];
  }

  function leavesOfAllBut(presences: Snapshot["presences"]): RosterEvent<S>[] {
    const present = new Set(presences.map(({ connectionId }) => connectionId));
    return users().flatMap(({ userId, connections }) =>
      connections.flatMap(({ connectionId }) =>
        present.has(connectionId) ? [] : change({ userId, connectionId, reason: "unknown" }),
      ),
    );
  }

  /** One member has this state now, or is gone for this reason: an event, unless it was never known. */
  function change({ userId, connectionId, ...now }: Change): RosterEvent<S>[] {
    const before = connectionsOf(userId);
    const held = before.find((one) => one.connectionId === connectionId);
    const rest = before.filter((one) => one !== held);
    const isAlone = !rest.length;
    if (!now.state) {
      if (!held) return [];
      set(userId, rest);
      return [{ type: "leave", userId, connectionId, reason: now.reason as LeaveReason, last: isAlone }];
    }
    const shown = { state: now.state as S, info: now.info };
    const own = {
      connectionId,
      ...shown,
      get isMe() {
        return connectionId === me()?.connectionId;
      },
    };
    // At the end: it is the one tracked last.
    set(userId, [...rest, own]);
    return [
      held
        ? { type: "update", userId, connectionId, ...shown }
        : { type: "join", userId, connectionId, ...shown, first: isAlone },
    ];
  }

  function connectionsOf(userId: string): readonly Connection<S>[] {
    return rows.get(userId)?.connections ?? [];
  }

  function set(userId: string, connections: readonly Connection<S>[]): void {
    list = undefined;
    size += connections.length - connectionsOf(userId).length;
    const last = connections.at(-1);
    if (!last) return void rows.delete(userId);
    rows.set(userId, {
      userId,
      state: last.state,
      info: last.info,
      connections,
      get isMe() {
        return userId === me()?.userId;
      },
    });
  }

  return {
    users,
    /** How many there are in the list. */
    count: (): Count => ({ users: rows.size, connections: size }),
    snapshot,
    delta,
    reconnected,
    lost,
    /** Whether the list is complete and that of now. */
    isSynced: () => !!position,
  };
}

/** A member and its state, or the reason why it left. */
type Change = Pick<SnapshotRow, "userId" | "connectionId"> & Partial<SnapshotRow> & { reason?: LeaveReason };

/** Each event changes the list. */
function outcome<S extends object>(events: RosterEvent<S>[]): Outcome<S> {
  return { events, changed: events.length > 0 };
}

/** Whether they have the same text. The server writes a state the same way each time. */
export function isSame(one: unknown, other: unknown): boolean {
  return JSON.stringify(one) === JSON.stringify(other);
}

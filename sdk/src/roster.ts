/**
 * Who is in one channel, as far as this client has been told. Pure: messages in, events and rows out.
 *
 * Snapshot and delta meet here: `first`, `last`, net differences and the order of rows are decided in this
 * file alone. Knows nothing of sockets, listeners or time; its cases are in `fixtures/roster.json`.
 */
import type { Delta, LeaveReason, Snapshot, State } from "./protocol.js";

/** One tab, or one device, of a user. */
export interface Connection<S extends object = State> {
  readonly connectionId: string;
  readonly state: S;
}

/** One user: `state` is the one tracked last, which is that of the last of `connections`. */
export interface User<S extends object = State> {
  readonly userId: string;
  readonly state: S;
  readonly connections: readonly Connection<S>[];
}

export interface JoinEvent<S extends object = State> {
  type: "join";
  userId: string;
  connectionId: string;
  state: S;
  /** The user had no other connection here: the user came. */
  first: boolean;
}

export interface UpdateEvent<S extends object = State> {
  type: "update";
  userId: string;
  connectionId: string;
  state: S;
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

/** A user's connections, the one tracked last at the end, and the row made of them while it holds. */
interface Seat<S extends object> {
  connections: Map<string, S>;
  row: User<S> | undefined;
}

export class Roster<S extends object = State> {
  /** Users in the order in which they came. */
  #seats = new Map<string, Seat<S>>();
  #list: readonly User<S>[] | undefined = [];
  #known = false;
  /** The snapshot's (epoch, seq), moved on by each delta; absent until this connection's first snapshot. */
  #position: { epoch: number; seq: number } | undefined;

  /** Whether there ever was a snapshot: without one, the empty list means nothing. */
  get known(): boolean {
    return this.#known;
  }

  /** The present list. The same array, and the same row of each user, until they change. */
  users(): readonly User<S>[] {
    return (this.#list ??= Array.from(this.#seats, ([userId, seat]) => (seat.row ??= rowOf(userId, seat))));
  }

  /** Replaces the set. Only differences make events; the very first snapshot is the ground and makes none. */
  snapshot(snapshot: Snapshot): Outcome<S> {
    this.#position = { epoch: snapshot.epoch, seq: snapshot.seq };
    const next = groupByUser<S>(snapshot.presences);
    const wasKnown = this.#known;
    this.#known = true;
    const events = [...this.#joinsAndUpdates(snapshot.presences), ...this.#leavesOfAllBut(next)];
    const reordered = this.#order(next);
    return { events: wasKnown ? events : [], changed: !wasKnown || events.length > 0 || reordered };
  }

  /** One member joined, changed or left. What is already held, or was never known, makes no event. */
  delta(delta: Delta): Outcome<S> {
    if (!this.#isNews(delta)) return NOTHING;
    const { userId, connectionId } = delta;
    const event =
      delta.type === "presence_leave"
        ? this.#remove(userId, connectionId, delta.reason)
        : this.#put(userId, connectionId, delta.state as S);
    return event ? { events: [event], changed: true } : NOTHING;
  }

  /** A new connection took the old one's place: the list stays, and only its snapshot is believed. */
  reconnected(): void {
    this.#position = undefined;
  }

  /** The server ended the subscription: nobody is seen any more. */
  lost(): Outcome<S> {
    this.#position = undefined;
    const events = this.#leavesOfAllBut(new Map());
    return { events, changed: events.length > 0 };
  }

  #isNews(delta: Delta): boolean {
    const position = this.#position;
    if (!position) return false;
    if (delta.epoch !== undefined && delta.epoch !== position.epoch) {
      this.#position = { epoch: delta.epoch, seq: delta.seq };
      return true;
    }
    if (delta.seq <= position.seq) return false;
    position.seq = delta.seq;
    return true;
  }

  /**
   * Before the leaves, so that a user whose every tab reconnected keeps at least one connection all along and is
   * told neither as come nor as gone.
   */
  #joinsAndUpdates(rows: Snapshot["presences"]): RosterEvent<S>[] {
    const joins: RosterEvent<S>[] = [];
    const updates: RosterEvent<S>[] = [];
    for (const { userId, connectionId, state } of rows) {
      const held = this.#seats.get(userId)?.connections.get(connectionId);
      if (held && isSame(held, state)) continue;
      const event = this.#put(userId, connectionId, state as S);
      (event.type === "join" ? joins : updates).push(event);
    }
    return [...joins, ...updates];
  }

  #leavesOfAllBut(next: Grouped<S>): RosterEvent<S>[] {
    const leaves: RosterEvent<S>[] = [];
    for (const [userId, { connections }] of this.#seats) {
      for (const connectionId of connections.keys()) {
        if (next.get(userId)?.has(connectionId)) continue;
        const leave = this.#remove(userId, connectionId, "unknown");
        if (leave) leaves.push(leave);
      }
    }
    return leaves;
  }

  /** Brings each user's connections into the snapshot's order; says whether one of them was not. */
  #order(next: Grouped<S>): boolean {
    let reordered = false;
    for (const [userId, seat] of this.#seats) {
      const connections = next.get(userId);
      if (!connections || idsOf(connections) === idsOf(seat.connections)) continue;
      seat.connections = connections;
      this.#touch(seat);
      reordered = true;
    }
    return reordered;
  }

  #put(userId: string, connectionId: string, state: S): JoinEvent<S> | UpdateEvent<S> {
    let seat = this.#seats.get(userId);
    const first = !seat;
    if (!seat) this.#seats.set(userId, (seat = { connections: new Map(), row: undefined }));
    // Taken out first, so that it goes to the end: it is the one tracked last.
    const known = seat.connections.delete(connectionId);
    seat.connections.set(connectionId, state);
    this.#touch(seat);
    return known
      ? { type: "update", userId, connectionId, state }
      : { type: "join", userId, connectionId, state, first };
  }

  #remove(userId: string, connectionId: string, reason: LeaveReason): LeaveEvent | undefined {
    const seat = this.#seats.get(userId);
    if (!seat?.connections.delete(connectionId)) return undefined;
    const last = seat.connections.size === 0;
    if (last) this.#seats.delete(userId);
    this.#touch(seat);
    return { type: "leave", userId, connectionId, reason, last };
  }

  #touch(seat: Seat<S>): void {
    seat.row = undefined;
    this.#list = undefined;
  }
}

/** A snapshot's states by user, then by connection, in its order. */
type Grouped<S extends object> = Map<string, Map<string, S>>;

const NOTHING: Outcome<never> = { events: [], changed: false };

function groupByUser<S extends object>(rows: Snapshot["presences"]): Grouped<S> {
  const users: Grouped<S> = new Map();
  for (const { userId, connectionId, state } of rows) {
    const connections = users.get(userId) ?? new Map<string, S>();
    users.set(userId, connections.set(connectionId, state as S));
  }
  return users;
}

function idsOf(connections: Map<string, unknown>): string {
  return JSON.stringify([...connections.keys()]);
}

function rowOf<S extends object>(userId: string, seat: Seat<S>): User<S> {
  const connections = Array.from(seat.connections, ([connectionId, state]) => ({ connectionId, state }));
  // A seat is never empty.
  const { state } = connections.at(-1) as Connection<S>;
  return { userId, state, connections };
}

/** The server writes a state the same way each time, so equal states have equal text. */
function isSame(one: object, other: object): boolean {
  return JSON.stringify(one) === JSON.stringify(other);
}

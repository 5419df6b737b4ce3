/**
 * One channel of the server in memory: its members, and the changes that its subscribers have not been told yet. Knows
 * nothing of connections, rights and time.
 */
import type { Count, LeaveReason, State } from "./protocol.js";

/** A member, as it stands in a snapshot. */
export interface Member {
  readonly userId: string;
  readonly connectionId: string;
  readonly state: State;
  /** What the token says of the user. */
  readonly info?: State | undefined;
}

export interface Change {
  type: "presence_join" | "presence_update" | "presence_leave";
  seq: number;
  userId: string;
  connectionId: string;
  state?: State;
  info?: State | undefined;
  reason?: LeaveReason;
}

export class MemoryChannel {
  readonly epoch: number;
  #seq = 0;
  /** By connection, the one that was tracked longest ago first. */
  #members = new Map<string, Member>();
  #pending: Change[] = [];

  constructor(epoch: number) {
    this.epoch = epoch;
  }

  get size(): number {
    return this.#members.size;
  }

  get seq(): number {
    return this.#seq;
  }

  count(): Count {
    const users = new Set(this.members().map(({ userId }) => userId));
    return { users: users.size, connections: this.size };
  }

  has(connectionId: string): boolean {
    return this.#members.has(connectionId);
  }

  member(connectionId: string): Member | undefined {
    return this.#members.get(connectionId);
  }

  members(): Member[] {
    return [...this.#members.values()];
  }

  /** A new member, or a new state or info of one. What it already has changes nothing. */
  put(member: Member): void {
    const { connectionId, userId, state, info } = member;
    const before = this.#members.get(connectionId);
    if (before && JSON.stringify([before.state, before.info]) === JSON.stringify([state, info])) return;
    // At the end: it is the one tracked last.
    this.#members.delete(connectionId);
    this.#members.set(connectionId, member);
    const type = before ? "presence_update" : "presence_join";
    const waiting = before && this.#waiting(connectionId);
    // An update that waits together with its join becomes part of the join.
    if (waiting) this.#pending = this.#pending.filter((change) => change !== waiting);
    this.#pending.push({ type: waiting?.type ?? type, seq: ++this.#seq, userId, connectionId, state, info });
  }

  remove(connectionId: string, reason: LeaveReason): void {
    const member = this.#members.get(connectionId);
    if (!member) return;
    this.#members.delete(connectionId);
    this.#pending.push({ type: "presence_leave", seq: ++this.#seq, userId: member.userId, connectionId, reason });
  }

  takePending(): Change[] {
    return this.#pending.splice(0);
  }

  /** What the change of this member that waits may still take in: nothing after its leave. */
  #waiting(connectionId: string): Change | undefined {
    const last = this.#pending.filter((change) => change.connectionId === connectionId).at(-1);
    return last?.type === "presence_leave" ? undefined : last;
  }
}

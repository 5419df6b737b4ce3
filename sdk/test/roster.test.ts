import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import fc from "fast-check";
import { type Delta, type Snapshot, type SnapshotRow } from "../src/protocol.js";
import { createRoster, type Outcome, type Roster, type RosterEvent, type User } from "../src/roster.js";

interface Step {
  frame?: Snapshot | Delta;
  reconnected?: true;
  lost?: true;
  events: RosterEvent[];
  changed: boolean;
  users: User[];
}

const fixture = JSON.parse(readFileSync(new URL("../../fixtures/roster.json", import.meta.url), "utf8")) as {
  cases: { name: string; steps: Step[] }[];
};

function give(roster: Roster, step: Step): Outcome {
  if (step.frame) return step.frame.type === "presence_sync" ? roster.snapshot(step.frame) : roster.delta(step.frame);
  if (step.lost) return roster.lost();
  roster.reconnected();
  return { events: [], changed: false };
}

// P11.1, P11.2, P11.7
describe("fixtures/roster.json", () => {
  it.each(fixture.cases)("$name", ({ steps }) => {
    const roster = createRoster(() => undefined);
    for (const step of steps) {
      const before = roster.users();
      const outcome = give(roster, step);
      expect(outcome.events).toEqual(step.events);
      expect(outcome.changed).toBe(step.changed);
      expect(bare(roster.users())).toEqual(step.users);
      if (!step.changed) expect(roster.users()).toBe(before);
    }
  });
});

describe("members", () => {
  it.each([10, 100, 1000])("%i who join one by one are the list that a snapshot gives", (count) => {
    const roster = createRoster(() => undefined);
    const rows = Array.from({ length: count }, (_, n) => row(`user-${n}`, `connection-${n}`, n));
    roster.snapshot(snapshotOf(0, []));
    const firsts = rows.flatMap((member, n) =>
      roster.delta({ type: "presence_join", channel: "presence:x", seq: n + 1, ...member }).events,
    );
    expect(firsts).toHaveLength(count);
    const fresh = createRoster(() => undefined);
    fresh.snapshot(snapshotOf(count, rows));
    expect(bare(roster.users())).toEqual(bare(fresh.users()));
    expect(roster.users()).toHaveLength(count);
  });
});

describe("rows", () => {
  it("stay the same object while their user does not change", () => {
    const roster = createRoster(() => undefined);
    roster.snapshot(snapshotOf(1, [row("jane", "j1", 1), row("bob", "b1", 1)]));
    const [jane, bob] = roster.users();
    roster.delta({ type: "presence_update", channel: "presence:x", seq: 2, ...row("bob", "b1", 2) });
    expect(roster.users()[0]).toBe(jane);
    expect(roster.users()[1]).not.toBe(bob);
  });
});

// A stream of what may happen to a channel, told as a model so simple that it is obviously right: the list of its
// rows, oldest tracked first.
type Act =
  | { act: "track"; user: string; tab: number; n: number }
  | { act: "untrack"; user: string; tab: number }
  | { act: "snapshot" }
  | { act: "reconnect" };

const userId = fc.constantFrom("jane", "bob", "__proto__", "constructor");
const tab = fc.integer({ min: 0, max: 2 });
const act: fc.Arbitrary<Act> = fc.oneof(
  { weight: 5, arbitrary: fc.record({ act: fc.constant("track" as const), user: userId, tab, n: fc.integer({ min: 0, max: 3 }) }) },
  { weight: 3, arbitrary: fc.record({ act: fc.constant("untrack" as const), user: userId, tab }) },
  { weight: 1, arbitrary: fc.constant({ act: "snapshot" as const }) },
  { weight: 1, arbitrary: fc.constant({ act: "reconnect" as const }) },
);

describe("any stream", () => {
  // P11.1
  it("ends in the list that a snapshot gives, and its events fold to it", () => {
    fc.assert(
      fc.property(fc.array(act, { maxLength: 60 }), fc.array(fc.boolean(), { minLength: 60, maxLength: 60 }), (acts, heard) => {
        const roster = createRoster(() => undefined);
        const fold = new Fold();
        const truth: SnapshotRow[] = [];
        let seq = 0;
        roster.snapshot(snapshotOf(seq, truth));
        acts.forEach((act, place) => {
          const frame = happen(act, truth, ++seq);
          if (act.act === "reconnect") roster.reconnected();
          // What is not heard is what a slow or broken connection misses; the next snapshot must mend it.
          if (!frame || !(heard[place] || frame.type === "presence_sync")) return;
          const was = roster.users();
          const outcome = frame.type === "presence_sync" ? roster.snapshot(frame) : roster.delta(frame);
          outcome.events.forEach((event) => fold.apply(event));
          expect(outcome.changed).toBe(JSON.stringify(was) !== JSON.stringify(roster.users()) || hasRoundTrip(outcome.events));
          expect(fold.entries()).toEqual(entriesOf(roster.users()));
        });
        roster.snapshot(snapshotOf(++seq, truth)).events.forEach((event) => fold.apply(event));
        const fresh = createRoster(() => undefined);
        fresh.snapshot(snapshotOf(seq, truth));
        expect(byId(roster.users())).toEqual(byId(fresh.users()));
        expect(fold.entries()).toEqual(entriesOf(fresh.users()));
      }),
      { numRuns: 500 },
    );
  });
});

/** Applies events and holds them to the contract: one join, then updates, one leave; first and last by count. */
class Fold {
  #users = new Map<string, Map<string, unknown>>();

  apply(event: RosterEvent): void {
    const connections = this.#users.get(event.userId) ?? new Map<string, unknown>();
    this.#users.set(event.userId, connections);
    expect(connections.has(event.connectionId)).toBe(event.type !== "join");
    if (event.type === "join") expect(event.first).toBe(connections.size === 0);
    if (event.type === "leave") {
      connections.delete(event.connectionId);
      expect(event.last).toBe(connections.size === 0);
    } else {
      connections.set(event.connectionId, event.state);
    }
  }

  entries(): string[] {
    return [...this.#users]
      .flatMap(([user, connections]) => [...connections].map((entry) => JSON.stringify([user, ...entry])))
      .sort();
  }
}

function entriesOf(users: readonly User[]): string[] {
  return users
    .flatMap((user) => user.connections.map((c) => JSON.stringify([user.userId, c.connectionId, c.state])))
    .sort();
}

function happen(act: Act, truth: SnapshotRow[], seq: number): Snapshot | Delta | undefined {
  if (act.act === "snapshot") return snapshotOf(seq, truth);
  if (act.act === "reconnect") return undefined;
  const entry = row(act.user, `${act.user}-${act.tab}`, act.act === "track" ? act.n : 0);
  const place = truth.findIndex((held) => held.connectionId === entry.connectionId);
  if (place >= 0) truth.splice(place, 1);
  const { state, ...who } = entry;
  if (act.act === "untrack") {
    return place < 0 ? undefined : { type: "presence_leave", channel: "presence:x", seq, ...who, reason: "leave" };
  }
  truth.push(entry);
  return { type: place < 0 ? "presence_join" : "presence_update", channel: "presence:x", seq, ...who, state };
}

/** An update to an equal state leaves the list as it reads, though it was told. */
function hasRoundTrip(events: RosterEvent[]): boolean {
  return events.some((event) => event.type === "update");
}

function byId(users: readonly User[]): User[] {
  return [...users].sort((one, other) => (one.userId < other.userId ? -1 : 1));
}

function row(userId: string, connectionId: string, n: number): SnapshotRow {
  return { userId, connectionId, state: { n } };
}

function snapshotOf(seq: number, presences: readonly SnapshotRow[]): Snapshot {
  return { type: "presence_sync", channel: "presence:x", epoch: 1, seq, presences: [...presences] };
}

/** The fixture knows of no client's own. */
function bare(users: readonly User[]): unknown {
  return JSON.parse(JSON.stringify(users, (key, value: unknown) => (key === "isMe" ? undefined : value)));
}

/**
 * States on their way to the server: how often they are sent, what the server answers, and fields that end by themselves.
 */
import { describe, expect, it, vi } from "vitest";
import { PresenceError, type State } from "../src/index.js";
import { CHANNEL, entry, error, leave, pass, settle, sync } from "./fake.js";
import { client, presence, problems, said, server, track, use } from "./scene.js";

/** Connected, with this state tracked and in the list. */
async function live(state: Record<string, unknown> = { n: 0 }): Promise<void> {
  presence.track(state);
  (await server.accept()).say(sync(1, entry("jane", "me", state)));
  await pass(50);
  said();
}

/** What became of a promise so far. */
function fate(promise: Promise<boolean>): () => unknown {
  let result: unknown = "pending";
  promise.then((answer) => (result = answer), (problem: PresenceError) => (result = problem.code));
  return () => result;
}

const newestRef = (): unknown => server.socket.refs.at(-1);
const acknowledge = async (ref = newestRef()): Promise<void> => {
  server.socket.say({ type: "ack", ref });
  await settle();
};

describe("track at any rate", () => {
  it("sends the first state at once, the newest after 50 ms, and always the last one", async () => {
    await live();
    for (let n = 1; n <= 90; n++) {
      presence.track({ n });
      await pass(1);
    }
    expect(said()).toEqual([track({ n: 1 }), track({ n: 50 })]);
    await pass(50);
    expect(said()).toEqual([track({ n: 90 })]);
    await pass(1_000);
    expect(said()).toEqual([]);
  });

  it("waits as long as the handle says, or not at all", async () => {
    await live();
    const slow = client.realtime.presence("game-room", { throttleMs: 1_000 });
    slow.track({ n: 1 });
    await settle();
    slow.track({ n: 2 });
    await pass(999);
    expect(said()).toEqual([track({ n: 1 })]);
    await pass(1);
    expect(said()).toEqual([track({ n: 2 })]);
    const fast = client.realtime.presence("game-room", { throttleMs: 0 });
    for (const n of [3, 4, 5]) {
      fast.track({ n });
      await settle();
    }
    expect(said()).toEqual([track({ n: 3 }), track({ n: 4 }), track({ n: 5 })]);
  });

  it("delays no state after an untrack, on a new connection, or for the server that asks", async () => {
    await live();
    presence.onSync(() => {});
    presence.track({ n: 1 });
    await settle();
    presence.untrack();
    await settle();
    presence.track({ n: 2 });
    await settle();
    expect(said().at(-1)).toEqual(track({ n: 2 }));
    server.socket.say({ type: "PRESENCE_RESYNC", channel: CHANNEL });
    expect(said()).toEqual([track({ n: 2 })]);
    server.socket.end(1012, '{"retryAfterMs":0}');
    await settle();
    await server.accept();
    expect(said()).toEqual([track({ n: 2 })]);
  });

  it("sends nothing that was untracked while it waited", async () => {
    await live();
    presence.track({ n: 1 });
    await settle();
    presence.track({ n: 2 });
    await settle();
    said();
    presence.untrack();
    await pass(1_000);
    expect(said()).toEqual([{ type: "unsubscribe", channel: CHANNEL }]);
  });
});

describe("the promise of track", () => {
  it("is true once the server has taken the state, and rejects with its refusal", async () => {
    const first = fate(presence.track({ n: 1 }));
    (await server.accept()).say(sync(1, entry("jane", "me")));
    expect(first()).toBe("pending");
    await acknowledge();
    expect(first()).toBe(true);
    await pass(50);
    const second = fate(presence.track({ n: 2 }));
    await settle();
    server.socket.say({ ...error("MEMBER_LIMIT", CHANNEL), ref: newestRef() });
    await settle();
    expect([second(), problems]).toEqual(["MEMBER_LIMIT", ["MEMBER_LIMIT"]]);
  });

  it("rejects nothing that anybody has to handle", async () => {
    const unhandled = vi.fn();
    process.on("unhandledRejection", unhandled);
    vi.useRealTimers();
    try {
      presence.track({ n: 1 });
      await new Promise(setImmediate);
      server.socket.open();
      await new Promise(setImmediate);
      const refusal = { ...error("MEMBER_LIMIT", CHANNEL), ref: newestRef() };
      server.socket.say(refusal, refusal);
      await new Promise(setImmediate);
      await new Promise(setImmediate);
      expect(problems).toEqual(["MEMBER_LIMIT", "MEMBER_LIMIT"]);
      expect(unhandled).not.toHaveBeenCalled();
    } finally {
      process.off("unhandledRejection", unhandled);
      client.close();
      vi.useFakeTimers();
    }
  });

  it("is that of the newer state which was sent in place of it, and of no other", async () => {
    await live();
    await acknowledge();
    const first = fate(presence.track({ n: 1 }));
    await settle();
    const firstRef = newestRef();
    const second = fate(presence.track({ n: 2 }));
    const third = fate(presence.track({ n: 3 }));
    await pass(50);
    expect(said()).toEqual([track({ n: 1 }), track({ n: 3 })]);
    await acknowledge(firstRef);
    expect([first(), second(), third()]).toEqual([true, "pending", "pending"]);
    await acknowledge();
    expect([second(), third()]).toEqual([true, true]);
  });

  it("is true for the state that the server has taken already, and waits for it if it has not", async () => {
    await live({ n: 1 });
    const waiting = fate(presence.track({ n: 1 }));
    await settle();
    expect([waiting(), said()]).toEqual(["pending", []]);
    await acknowledge();
    expect(waiting()).toBe(true);
    const known = fate(presence.track({ n: 1 }));
    await settle();
    expect([known(), said()]).toEqual([true, []]);
  });

  it("waits for the next connection, and takes no answer to another channel for its own", async () => {
    const answer = fate(presence.track({ n: 1 }));
    await server.accept();
    server.socket.end(1006);
    await pass(1_000);
    expect(answer()).toBe("pending");
    const elsewhere = fate(client.realtime.presence("lobby").track({ n: 1 }));
    await server.accept();
    const [mine, other] = server.socket.refs.slice(-2);
    await acknowledge(other);
    expect([answer(), elsewhere()]).toEqual(["pending", true]);
    await acknowledge(mine);
    expect(answer()).toBe(true);
  });

  it("is one for all states that wait for a connection, however many they are", async () => {
    const first = presence.track({ n: 1 });
    await pass(1_000);
    expect(presence.track({ n: 2 })).toBe(first);
    await server.accept();
    expect(said()).toEqual([track({ n: 2 })]);
    expect(presence.track({ n: 3 })).not.toBe(first);
    await acknowledge();
    expect(await first).toBe(true);
  });

  it("is false when the state was untracked, or the client closed, before an answer", async () => {
    const untracked = fate(presence.track({ n: 1 }));
    presence.untrack();
    const closed = fate(presence.track({ n: 2 }));
    await settle();
    client.close();
    await settle();
    expect([untracked(), closed()]).toEqual([false, false]);
  });

  it("is false for a state that is tracked after the client closed", async () => {
    client.close();
    const late = fate(presence.track({ n: 1 }));
    await settle();
    expect(late()).toBe(false);
    expect(server.sockets).toHaveLength(0);
  });

  it("throws at once what nests deeper than the server reads, whatever its texts hold", async () => {
    const nested = (levels: number, inner: unknown): State => {
      let value = inner;
      for (let level = 0; level < levels; level++) value = level % 2 ? [value] : { value };
      return { value };
    };
    await live({ n: 1 });
    for (const inner of [{}, [], [1], { "[{": 1 }]) {
      expect(() => presence.track(nested(30, inner))).toThrow(expect.objectContaining({ code: "INVALID_STATE" }));
      expect(() => presence.track(nested(29, inner))).not.toThrow();
    }
    expect(() => presence.track({ text: "[".repeat(100) })).not.toThrow();
    expect(() => presence.patch(nested(31, 1))).toThrow(PresenceError);
    await pass(50);
    expect(said()).toEqual([track({ text: "[".repeat(100) })]);
  });

  it("throws at once what is no state, and leaves the state before", async () => {
    await live({ n: 1 });
    expect(() => presence.track({ text: "x".repeat(1_024) })).toThrow(PresenceError);
    await settle();
    expect(said()).toEqual([]);
  });
});

describe("patch", () => {
  it("replaces the fields that it names of what this handle tracks, and no other", async () => {
    await live({ name: "Jane", x: 1, note: "hi" });
    presence.patch({ x: 2, note: undefined });
    await pass(50);
    expect(said()).toEqual([track({ name: "Jane", x: 2 })]);
    presence.track({ name: "Joan" });
    presence.patch({ x: 3 });
    await pass(50);
    expect(said()).toEqual([track({ name: "Joan", x: 3 })]);
    presence.untrack();
    presence.patch({ x: 4 });
    await pass(50);
    expect(said().at(-1)).toEqual(track({ x: 4 }));
  });

  it("measures the whole state", async () => {
    await live({ text: "x".repeat(900) });
    expect(() => presence.patch({ more: "x".repeat(200) })).toThrow("at most 1024 bytes");
    await pass(50);
    expect(said()).toEqual([]);
  });
});

describe("a field that ends by itself", () => {
  const typing = { expire: { typing: 3_000 } };

  it("is sent with its time, which starts anew each time it is set", async () => {
    await live({ n: 0 });
    presence.track({ n: 0, typing: true }, typing);
    await pass(1_000);
    presence.track({ n: 0, typing: true }, typing);
    await pass(50);
    const frame = { ...track({ n: 0, typing: true }), expire: { typing: 3_000 } };
    expect(said()).toEqual([frame, frame]);
  });

  it("keeps the rest of its time when another field is patched, and is left out once it has ended", async () => {
    await live({ n: 0 });
    presence.patch({ typing: true }, typing);
    await pass(1_000);
    said();
    presence.patch({ n: 1 });
    await settle();
    expect(said()).toEqual([{ ...track({ n: 1, typing: true }), expire: { typing: 2_000 } }]);
    await pass(2_000);
    expect(said()).toEqual([]);
    presence.patch({ n: 2 });
    await settle();
    expect(said()).toEqual([track({ n: 2 })]);
  });

  it("stays when it is set again without a time", async () => {
    await live({ n: 0 });
    presence.patch({ typing: true }, typing);
    await pass(1_000);
    presence.patch({ typing: false });
    await pass(3_000);
    said();
    presence.patch({ n: 1 });
    await settle();
    expect(said()).toEqual([track({ n: 1, typing: false })]);
  });

  it("is not shown again by a connection that comes back after its end, and for the rest of its time before", async () => {
    await live({ n: 0 });
    presence.patch({ typing: true }, typing);
    await pass(1_000);
    server.socket.end(1012, '{"retryAfterMs":0}');
    await settle();
    await server.accept();
    expect(said()).toEqual([{ ...track({ n: 0, typing: true }), expire: { typing: 2_000 } }]);
    server.socket.end(1012, '{"retryAfterMs":2000}');
    await pass(2_000);
    await server.accept();
    expect(said()).toEqual([track({ n: 0 })]);
  });

  it("ends while the machine sleeps", async () => {
    await live({ n: 0 });
    presence.patch({ typing: true }, typing);
    await settle();
    said();
    // No timer runs meanwhile.
    vi.setSystemTime(Date.now() + 10_000);
    server.socket.say(leave(2, "jane", "me", "timeout"));
    await settle();
    expect(said()).toEqual([track({ n: 0 })]);
  });

  it("never asks for less than the second that the server takes", async () => {
    await live({ n: 0 });
    presence.patch({ typing: true }, typing);
    await pass(2_700);
    said();
    presence.patch({ n: 1 });
    await settle();
    expect(said()).toEqual([{ ...track({ n: 1, typing: true }), expire: { typing: 1_000 } }]);
    await pass(300);
    presence.patch({ n: 2 });
    await settle();
    expect(said()).toEqual([track({ n: 2 })]);
  });

  it("is sent after the throttle with the time that it then has left", async () => {
    use({ token: "fixed" });
    await live({ n: 0 });
    presence.track({ n: 1 });
    await settle();
    said();
    presence.patch({ typing: true }, typing);
    await pass(50);
    expect(said()).toEqual([{ ...track({ n: 1, typing: true }), expire: { typing: 2_950 } }]);
  });
});

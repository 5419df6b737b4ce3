import { describe, expect, it, vi } from "vitest";
import { PresenceError } from "../src/index.js";
import { CHANNEL, entry, error, type Frame, join, leave, pass, settle, sync, update } from "./fake.js";
import { client, presence, server, SUBSCRIBE, track, UNSUBSCRIBE, UNTRACK } from "./scene.js";

const afterAuth = (): object[] => server.socket.take().filter((frame) => frame["type"] !== "auth");

/** Every frame so far answered: subscribed, with this list. */
/** The first list, which holds the own member where it was tracked, as a server's does. */
async function live(...presences: Record<string, unknown>[]): Promise<void> {
  const socket = await server.accept();
  const own = socket.take().find((frame) => frame["type"] === "presence_join" && frame["channel"] === CHANNEL);
  const isMissing = own && !presences.some((row) => row["connectionId"] === "me");
  socket.say(sync(1, ...(isMissing ? [entry("jane", "me", own["state"] as Frame)] : []), ...presences));
  await settle();
}

describe("wanting", () => {
  it("connects to nothing until something is listened to or tracked", async () => {
    presence.onStatus(() => {});
    presence.onError(() => {});
    presence.users();
    await settle();
    expect(server.sockets).toHaveLength(0);
    expect(client.status).toBe("idle");
    presence.onLeave(() => {});
    await settle();
    expect(server.sockets).toHaveLength(1);
  });

  it.each(["onSync", "onJoin", "onUpdate", "onLeave"] as const)("subscribes for %s, without tracking", async (kind) => {
    presence[kind](() => {});
    await server.accept();
    expect(afterAuth()).toEqual([SUBSCRIBE]);
  });

  it("sends auth first and waits for no reply before the rest", async () => {
    presence.onSync(() => {});
    await settle();
    server.socket.open();
    await settle();
    expect(server.socket.take()).toEqual([{ type: "auth", token: "fixed" }, SUBSCRIBE]);
  });

  it("tracks without subscribing separately, so that its first snapshot holds the own entry", async () => {
    presence.onSync(() => {});
    presence.track({ n: 1 });
    await server.accept();
    expect(afterAuth()).toEqual([track({ n: 1 })]);
  });

  // P11.4
  it("keeps what is tracked before the connection stands, and sends the newest", async () => {
    presence.track({ n: 1 });
    await settle();
    presence.track({ n: 2 });
    await settle();
    presence.track({ n: 3 });
    await server.accept();
    expect(afterAuth()).toEqual([track({ n: 3 })]);
  });

  it("sends only the newest state of one task", async () => {
    presence.track({ n: 1 });
    await live();
    await pass(50);
    presence.track({ n: 2 });
    presence.track({ n: 3 });
    await pass(50);
    presence.track({ n: 4 });
    await settle();
    expect(server.socket.take()).toEqual([track({ n: 3 }), track({ n: 4 })]);
  });

  it("sends the state as it was when tracked, whatever becomes of the object", async () => {
    const state = { n: 1 };
    presence.track(state);
    state.n = 2;
    await server.accept();
    expect(afterAuth()).toEqual([track({ n: 1 })]);
  });

  it("untracks and stays subscribed while someone listens", async () => {
    presence.onSync(() => {});
    presence.track({ n: 1 });
    await live();
    presence.untrack();
    await settle();
    expect(server.socket.take()).toEqual([UNTRACK]);
    presence.untrack();
    await settle();
    expect(server.socket.take()).toEqual([]);
  });

  it("drops a track that was untracked before it was sent", async () => {
    presence.onSync(() => {});
    await live();
    presence.track({ n: 1 });
    presence.untrack();
    await settle();
    expect(server.socket.take()).toEqual([]);
  });

  it("subscribes where a track is taken back before a list has come: it may have waited for the rate", async () => {
    presence.onSync(() => {});
    presence.track({ n: 1 });
    await server.accept();
    afterAuth();
    presence.untrack();
    await settle();
    expect(server.socket.take()).toEqual([UNTRACK, SUBSCRIBE]);
  });

  it("asks once for the list of the default channel where it came before anything was wanted of it", async () => {
    presence.track({ n: 1 });
    const socket = await server.accept();
    afterAuth();
    const delta = { channel: CHANNEL, userId: "jane", connectionId: "me", state: { n: 1 } };
    socket.say({ type: "presence_join", seq: 1, ...delta });
    socket.say({ type: "presence_update", seq: 2, ...delta });
    await settle();
    expect(socket.take()).toEqual([SUBSCRIBE]);
  });

  it("unsubscribes once the last listener and the state are gone, and only then", async () => {
    const offSync = presence.onSync(() => {});
    const offJoin = presence.onJoin(() => {});
    presence.track({ n: 1 });
    await live();
    offSync();
    presence.untrack();
    await settle();
    expect(server.socket.take()).toEqual([UNTRACK]);
    offJoin();
    offJoin();
    await settle();
    expect(server.socket.take()).toEqual([UNSUBSCRIBE]);
    expect(presence.users()).toEqual([]);
  });

  it("says nothing when a component mounts, unmounts and mounts again within a task", async () => {
    const mount = (): (() => void) => {
      const off = presence.onSync(() => {});
      presence.track({ n: 1 });
      return () => {
        off();
        presence.untrack();
      };
    };
    mount()();
    mount();
    await server.accept();
    expect(afterAuth()).toEqual([track({ n: 1 })]);
    server.socket.say(sync(1, entry("jane", "me")));
    await settle();
    const unmount = mount();
    unmount();
    mount();
    await settle();
    expect(server.socket.take()).toEqual([]);
  });

  it("subscribes anew after it unsubscribed, and starts from a list it does not know", async () => {
    const off = presence.onSync(() => {});
    await live(entry("jane", "j1"));
    off();
    await settle();
    server.socket.take();
    const joined = vi.fn();
    presence.onJoin(joined);
    await settle();
    // Not before the answer: what comes until then was said to the subscription that has ended.
    expect(server.socket.take()).toEqual([]);
    server.socket.say({ type: "unsubscribed", channel: CHANNEL });
    await settle();
    expect(server.socket.take()).toEqual([SUBSCRIBE]);
    server.socket.say({ type: "subscribed", channel: CHANNEL }, sync(2, entry("bob", "b1")));
    expect(presence.users()).toMatchObject([{ userId: "bob" }]);
    expect(joined).not.toHaveBeenCalled();
  });

  it.each([{ type: "unsubscribed", channel: CHANNEL }, error("NOT_SUBSCRIBED", CHANNEL)])("takes nothing that comes late for an ended subscription for an answer to the new one: $type", async (end) => {
    const off = presence.onSync(() => {});
    await live(entry("jane", "j1"));
    off();
    await settle();
    const heard = vi.fn();
    presence.onError(heard);
    presence.onJoin(() => {});
    await settle();
    server.socket.take();
    server.socket.say(sync(2, entry("bob", "b1")), error("CHANNEL_ACCESS_DENIED", CHANNEL));
    expect(presence.users()).toEqual([]);
    expect(heard).not.toHaveBeenCalled();
    server.socket.say(end);
    await settle();
    expect(heard).not.toHaveBeenCalled();
    expect(server.socket.take()).toEqual([SUBSCRIBE]);
  });
});

describe("sharing", () => {
  it("keeps the subscription of one handle when another closes", async () => {
    const other = client.realtime.presence("game-room");
    const heard = vi.fn();
    presence.onSync(heard);
    other.onSync(() => {});
    other.track({ n: 1 });
    await live();
    other.close();
    await settle();
    expect(server.socket.take()).toEqual([UNTRACK]);
    server.socket.say(join(2, "bob", "b1"));
    await settle();
    expect(heard).toHaveBeenLastCalledWith([
      expect.objectContaining({ userId: "jane" }),
      expect.objectContaining({ userId: "bob" }),
    ]);
  });

  it("does not untrack what another handle tracks, and falls back to its state", async () => {
    const other = client.realtime.presence("game-room");
    presence.track({ from: "first" });
    await settle();
    other.track({ from: "second" });
    await live();
    other.untrack();
    await settle();
    expect(server.socket.take()).toEqual([track({ from: "first" })]);
    presence.untrack();
    await settle();
    expect(server.socket.take()).toEqual([UNSUBSCRIBE]);
  });

  it("uses one socket for many channels and keeps them apart", async () => {
    const lobby = client.realtime.presence("lobby");
    presence.onSync(() => {});
    lobby.onSync(() => {});
    await live(entry("jane", "j1"));
    expect(server.sockets).toHaveLength(1);
    expect(lobby.users()).toEqual([]);
    server.socket.say({ ...sync(1, entry("bob", "b1")), channel: "presence:lobby" });
    expect(lobby.users()).toMatchObject([{ userId: "bob" }]);
    expect(presence.users()).toMatchObject([{ userId: "jane" }]);
  });
});

describe("listening", () => {
  it("tells the first list even where it is empty", async () => {
    const heard = vi.fn();
    presence.onSync(heard);
    await live();
    expect(heard.mock.calls).toEqual([[[]]]);
  });

  // P11.2
  it("tells join, update and leave per connection, with first and last per user", async () => {
    const heard: unknown[] = [];
    presence.onJoin((...args) => heard.push(["join", ...args]));
    presence.onUpdate((...args) => heard.push(["update", ...args]));
    presence.onLeave((...args) => heard.push(["leave", ...args]));
    await live();
    server.socket.say(join(2, "bob", "b1"), join(3, "bob", "b2"), update(4, "bob", "b1", { n: 2 }));
    server.socket.say(leave(5, "bob", "b1", "timeout"), leave(6, "bob", "b2"));
    expect(heard).toEqual([
      ["join", "bob", "b1", { n: 1 }, { first: true, isMe: false }],
      ["join", "bob", "b2", { n: 1 }, { first: false, isMe: false }],
      ["update", "bob", "b1", { n: 2 }, { isMe: false }],
      ["leave", "bob", "b1", { reason: "timeout", last: false, isMe: false }],
      ["leave", "bob", "b2", { reason: "disconnect", last: true, isMe: false }],
    ]);
  });

  it("tells the list once for all frames of a task, and never when nothing changed", async () => {
    const heard = vi.fn();
    presence.onSync(heard);
    await live();
    heard.mockClear();
    server.socket.say(join(2, "bob", "b1"), join(3, "ann", "a1"), update(4, "bob", "b1", { n: 2 }));
    expect(presence.users()).toHaveLength(2);
    await settle();
    expect(heard).toHaveBeenCalledTimes(1);
    expect(heard).toHaveBeenCalledWith([
      { userId: "bob", state: { n: 2 }, connections: [{ connectionId: "b1", state: { n: 2 }, isMe: false }], isMe: false },
      { userId: "ann", state: { n: 1 }, connections: [{ connectionId: "a1", state: { n: 1 }, isMe: false }], isMe: false },
    ]);
    server.socket.say(leave(5, "nobody", "x"), leave(4, "bob", "b1"), sync(6, ...bobAndAnn()));
    await settle();
    expect(heard).toHaveBeenCalledTimes(1);
  });

  it("tells a late listener the present list at once, and nobody else", async () => {
    const early = vi.fn();
    presence.onSync(early);
    await live(entry("bob", "b1"));
    early.mockClear();
    const late = vi.fn();
    client.realtime.presence("game-room").onSync(late);
    await Promise.resolve();
    expect(late).toHaveBeenCalledExactlyOnceWith([expect.objectContaining({ userId: "bob" })]);
    await settle();
    expect(late).toHaveBeenCalledTimes(1);
    expect(early).not.toHaveBeenCalled();
  });

  it("tells a late listener nothing when it ended at once, or no list is known", async () => {
    const late = vi.fn();
    presence.onSync(late)();
    presence.onSync(late);
    await server.accept();
    expect(late).not.toHaveBeenCalled();
  });

  it("gives every frame to all listeners, even where one throws", async () => {
    const reported = vi.fn();
    const queue = queueMicrotask;
    vi.stubGlobal("queueMicrotask", (run: () => void) => {
      queue(() => {
        try {
          run();
        } catch (error) {
          reported(error);
        }
      });
    });
    const heard = vi.fn();
    presence.onJoin(() => {
      throw new Error("mine");
    });
    presence.onJoin(heard);
    await live();
    server.socket.say(join(2, "bob", "b1"));
    await settle();
    expect(heard).toHaveBeenCalledTimes(1);
    expect(reported).toHaveBeenCalledExactlyOnceWith(new Error("mine"));
    vi.unstubAllGlobals();
  });

  it("calls a listener no more once its subscription ended, even within the same event", async () => {
    const second = vi.fn();
    const ends: (() => void)[] = [];
    presence.onJoin(() => ends.forEach((end) => end()));
    ends.push(presence.onJoin(second));
    await live();
    server.socket.say(join(2, "bob", "b1"), join(3, "ann", "a1"));
    expect(second).not.toHaveBeenCalled();
  });

  it("counts one function added twice as two listeners", async () => {
    const heard = vi.fn();
    const end = presence.onJoin(heard);
    presence.onJoin(heard);
    await live();
    server.socket.say(join(2, "bob", "b1"));
    expect(heard).toHaveBeenCalledTimes(2);
    end();
    server.socket.say(join(3, "ann", "a1"));
    expect(heard).toHaveBeenCalledTimes(3);
  });

  it("ignores what it does not know and what is no message", async () => {
    presence.onSync(() => {});
    await live(entry("bob", "b1"));
    server.socket.raw("no json");
    server.socket.raw("[]");
    server.socket.raw(new ArrayBuffer(4));
    server.socket.raw("null");
    server.socket.say({ type: "FILTER_RESYNC", channel: CHANNEL }, { type: 5 }, { type: "__proto__" }, {});
    server.socket.say({ ...join(1, "ann", "a1"), more: 5 });
    expect(presence.users()).toMatchObject([{ userId: "bob" }]);
  });

  it("takes __proto__ for a user like any other", async () => {
    const joined = vi.fn();
    presence.onJoin(joined);
    await live();
    server.socket.say(join(2, "__proto__", "p1"));
    expect(joined).toHaveBeenCalledWith("__proto__", "p1", { n: 1 }, { first: true, isMe: false });
    expect(presence.users()).toMatchObject([{ userId: "__proto__" }]);
  });
});

describe("states and names", () => {
  const ofBytes = (bytes: number): object => ({ s: "x".repeat(bytes - 8) });

  // P11.5
  it("takes 1024 bytes of UTF-8 and throws at once for 1025, stating both", () => {
    presence.track(ofBytes(1024) as never);
    const thrown = caught(() => presence.track(ofBytes(1025) as never));
    expect(thrown.code).toBe("STATE_TOO_LARGE");
    expect(thrown.message).toMatch(/1024 .*1025/);
    expect(caught(() => presence.track({ s: "é".repeat(600) })).message).toContain("1208");
  });

  it("keeps the state before, where the new one throws", async () => {
    presence.track({ n: 1 });
    expect(() => presence.track(ofBytes(2000) as never)).toThrow(PresenceError);
    await server.accept();
    expect(afterAuth()).toEqual([track({ n: 1 })]);
  });

  it.each([null, undefined, 5, "text", [1], new Map(), new Date(0), () => {}, { toJSON: () => 5 }, { n: 1n }])(
    "refuses %s as a state",
    (state) => {
      expect(caught(() => presence.track(state as never)).code).toBe("INVALID_STATE");
    },
  );

  it("refuses a cycle", () => {
    const cycle: Record<string, unknown> = {};
    cycle["self"] = cycle;
    expect(caught(() => presence.track(cycle)).code).toBe("INVALID_STATE");
  });

  it.each(["", "a\u0000", "\u007f", "\u0085", "\ud800", "é".repeat(101)])("refuses %j as a name", (name) => {
    expect(caught(() => client.realtime.presence(name)).code).toBe("INVALID_CHANNEL");
  });

  it("takes names of 200 bytes, with blanks, colons and pictures", () => {
    for (const name of ["é".repeat(100), "a b", "presence:x", "😀"]) expect(client.realtime.presence(name).name).toBe(name);
  });
});

describe("refusals", () => {
  it("tells an error of the channel to its handles and to the client, not to other channels", async () => {
    const here = vi.fn();
    const elsewhere = vi.fn();
    const anywhere = vi.fn();
    presence.onError(here);
    client.realtime.presence("lobby").onError(elsewhere);
    client.onError(anywhere);
    presence.track({ n: 1 });
    await live();
    server.socket.say(error("MEMBER_LIMIT", CHANNEL));
    const expected = expect.objectContaining({ code: "MEMBER_LIMIT", message: "Because of MEMBER_LIMIT.", channel: "game-room" });
    expect(here).toHaveBeenCalledExactlyOnceWith(expected);
    expect(anywhere).toHaveBeenCalledExactlyOnceWith(expected);
    expect(elsewhere).not.toHaveBeenCalled();
  });

  it("writes an error that nobody listens to on the console", async () => {
    const written = vi.spyOn(console, "error").mockImplementation(() => {});
    const silent = server.client();
    silent.realtime.presence("game-room").onSync(() => {});
    await live();
    server.socket.say(error("INVALID_JSON"));
    silent.close();
    expect(written).toHaveBeenCalledWith(expect.stringContaining("INVALID_JSON"));
  });

  it("watches where it may not appear", async () => {
    presence.onSync(() => {});
    presence.track({ n: 1 });
    const socket = await server.accept();
    socket.take();
    socket.say(error("CHANNEL_ACCESS_DENIED", CHANNEL));
    await settle();
    expect(socket.take()).toEqual([SUBSCRIBE]);
    socket.say(error("CHANNEL_ACCESS_DENIED", CHANNEL));
    await settle();
    expect(socket.take()).toEqual([]);
  });

  it("asks again for who listens anew, and for everyone after a new token", async () => {
    presence.onSync(() => {});
    const socket = await server.accept();
    socket.say(error("CHANNEL_ACCESS_DENIED", CHANNEL));
    socket.take();
    presence.onJoin(() => {});
    await settle();
    expect(socket.take()).toEqual([SUBSCRIBE]);
    socket.say(error("CHANNEL_ACCESS_DENIED", CHANNEL));
    socket.say({ type: "auth_refreshed", userId: "jane", revokedChannels: [] });
    await settle();
    expect(socket.take()).toEqual([SUBSCRIBE]);
  });

  it("takes no answer to an unsubscribe too many for a refusal of what was asked since", async () => {
    const heard = vi.fn();
    presence.onError(heard);
    const off = presence.onSync(() => {});
    const socket = await server.accept();
    off();
    await settle();
    presence.track({ n: 1 });
    await settle();
    socket.take();
    socket.say(error("NOT_SUBSCRIBED", CHANNEL));
    socket.say(sync(1, entry("jane", "j1")));
    expect(heard).not.toHaveBeenCalled();
    expect(presence.users()).toMatchObject([{ userId: "jane" }]);
  });

  it.each(["SERVER_ERROR", "RATE_LIMITED"])("asks again by itself after %s, later each time", async (code) => {
    vi.spyOn(Math, "random").mockReturnValue(1);
    presence.onSync(() => {});
    const socket = await server.accept();
    for (const wait of [2_000, 4_000, 8_000]) {
      socket.say(error(code, CHANNEL));
      socket.take();
      await vi.advanceTimersByTimeAsync(wait - 1);
      expect(socket.take()).toEqual([]);
      await vi.advanceTimersByTimeAsync(1);
      expect(socket.take()).toEqual([SUBSCRIBE]);
    }
    socket.say(error(code, CHANNEL));
  });

  it("tracks again by itself what a passing error refused", async () => {
    presence.track({ n: 1 });
    await live();
    server.socket.say(error("SERVER_ERROR", CHANNEL));
    await vi.advanceTimersByTimeAsync(2_000);
    expect(server.socket.take()).toEqual([track({ n: 1 })]);
  });

  it("empties the list with leaves when the server ends the subscription, and says why", async () => {
    const heard: unknown[] = [];
    presence.onLeave((...args) => heard.push(args));
    presence.onError((problem) => heard.push(problem.code));
    await live(entry("bob", "b1"), entry("bob", "b2"));
    server.socket.say({ type: "unsubscribed", channel: CHANNEL, code: "CHANNEL_ACCESS_DENIED" });
    server.socket.say({ type: "auth_refreshed", userId: "jane", revokedChannels: [CHANNEL] });
    expect(heard).toEqual([
      ["bob", "b1", { reason: "unknown", last: false, isMe: false }],
      ["bob", "b2", { reason: "unknown", last: true, isMe: false }],
      "CHANNEL_ACCESS_DENIED",
    ]);
    expect(presence.users()).toEqual([]);
    expect(server.socket.take()).toEqual([]);
  });

  it("loses a channel that a refresh names, and only that one", async () => {
    const lobby = client.realtime.presence("lobby");
    presence.onSync(() => {});
    lobby.onSync(() => {});
    await live(entry("bob", "b1"));
    server.socket.say({ ...sync(1, entry("bob", "b1")), channel: "presence:lobby" });
    server.socket.say({ type: "auth_refreshed", userId: "jane", revokedChannels: ["presence:lobby"] });
    server.socket.say({ type: "unsubscribed", channel: "presence:lobby", code: "CHANNEL_ACCESS_DENIED" });
    expect(lobby.users()).toEqual([]);
    expect(presence.users()).toHaveLength(1);
  });

  it("tracks again after a new token when its entry had been taken away", async () => {
    presence.track({ n: 1 });
    await live(entry("jane", "me"));
    server.socket.say(leave(2, "jane", "me", "kicked"));
    expect(server.socket.take()).toEqual([]);
    server.socket.say({ type: "auth_refreshed", userId: "jane", revokedChannels: [] });
    expect(server.socket.take()).toEqual([track({ n: 1 })]);
  });
});

describe("the own entry", () => {
  // P11.8
  it.each(["timeout", "disconnect"])("is tracked again at once when the server ended it with %s", async (reason) => {
    presence.track({ n: 1 });
    await live(entry("jane", "me"), entry("bob", "b1"));
    server.socket.say(leave(2, "bob", "b1", reason));
    expect(server.socket.take()).toEqual([]);
    server.socket.say(leave(3, "jane", "me", reason));
    await settle();
    expect(server.socket.take()).toEqual([track({ n: 1 })]);
    // Once: nothing more follows by itself.
    await vi.advanceTimersByTimeAsync(20_000);
    expect(server.socket.take()).toEqual([]);
  });

  // P11.8
  it("is tracked again at once when a snapshot lacks it", async () => {
    presence.track({ n: 1 });
    await live(entry("jane", "me"));
    server.socket.say(sync(2, entry("bob", "b1")));
    await settle();
    expect(server.socket.take()).toEqual([track({ n: 1 })]);
    server.socket.say(sync(3, entry("bob", "b1")));
    await settle();
    expect(server.socket.take()).toEqual([]);
  });

  // P11.8
  it("is tracked again once when the first list lacks it, on the first connection and on the next", async () => {
    presence.onSync(() => {});
    presence.track({ n: 1 });
    for (const end of [() => server.socket.end(1006), () => {}]) {
      const socket = await server.accept();
      expect(socket.take()).toContainEqual(track({ n: 1 }));
      socket.say(sync(1, entry("bob", "b1")));
      await settle();
      expect(socket.take()).toEqual([track({ n: 1 })]);
      socket.say(sync(2, entry("bob", "b1")));
      await settle();
      expect(socket.take()).toEqual([]);
      end();
      await vi.advanceTimersByTimeAsync(1_000);
    }
  });

  // P11.8
  it("is tracked again once when the connection was taken over and its list lacks it", async () => {
    presence.track({ n: 1 });
    await live(entry("jane", "me"));
    server.socket.end(1006);
    await vi.advanceTimersByTimeAsync(1_000);
    const socket = await server.accept();
    socket.take();
    socket.say(sync(2, entry("bob", "b1")));
    await settle();
    expect(socket.take()).toEqual([track({ n: 1 })]);
  });

  // P11.8
  it("is not looked for in a list that came before it was tracked, or was refused", async () => {
    presence.onSync(() => {});
    const socket = await server.accept();
    socket.take();
    presence.track({ n: 1 });
    await settle();
    expect(socket.take()).toEqual([track({ n: 1 })]);
    socket.say(sync(1, entry("bob", "b1")));
    await settle();
    expect(socket.take()).toEqual([]);
    const lobby = client.realtime.presence("lobby");
    lobby.onSync(() => {});
    lobby.track({ n: 2 });
    await settle();
    socket.take();
    socket.say(error("MEMBER_LIMIT", "presence:lobby"));
    await settle();
    expect(socket.take()).toEqual([{ type: "subscribe", channels: ["presence:lobby"] }]);
    socket.say({ ...sync(1, entry("bob", "b1")), channel: "presence:lobby" });
    await settle();
    expect(socket.take()).toEqual([]);
  });

  // P11.8
  it("is not tracked again when nobody wants it any more", async () => {
    presence.onSync(() => {});
    presence.track({ n: 1 });
    await live(entry("jane", "me"));
    presence.untrack();
    server.socket.say(leave(2, "jane", "me", "timeout"));
    await settle();
    expect(server.socket.take()).toEqual([]);
    presence.track({ n: 2 });
    await settle();
    server.socket.take();
    server.socket.say({ type: "presence_join", channel: CHANNEL, seq: 3, ...entry("jane", "me", { n: 2 }) });
    server.socket.say(leave(4, "jane", "me", "leave"));
    expect(server.socket.take()).toEqual([]);
  });

  // P11.8
  it("is asked for after longer and longer waits once the right is lost, without a word of each refusal", async () => {
    vi.spyOn(Math, "random").mockReturnValue(1);
    const heard: unknown[] = [];
    presence.onError((problem) => heard.push(problem.code));
    presence.track({ n: 1 });
    await live(entry("jane", "me"));
    server.socket.say(leave(2, "jane", "me", "kicked"));
    for (const wait of [2_000, 4_000, 8_000, 16_000]) {
      await vi.advanceTimersByTimeAsync(wait - 1);
      expect(server.socket.take()).toEqual([]);
      await vi.advanceTimersByTimeAsync(1);
      expect(server.socket.take().filter((frame) => frame["type"] !== "ping")).toEqual([track({ n: 1 })]);
      server.socket.say({ type: "pong" }, error("CHANNEL_ACCESS_DENIED", CHANNEL));
    }
    expect(heard).toEqual(["MEMBER_ENDED"]);
    presence.untrack();
    await vi.advanceTimersByTimeAsync(40_000);
    expect(server.socket.take().filter((frame) => frame["type"] === "presence_join")).toEqual([]);
  });
});

describe("a kick", () => {
  const KICKS: [string, (retryAfterMs: number) => Frame][] = [
    ["unsubscribed", (retryAfterMs) => ({ type: "unsubscribed", channel: CHANNEL, code: "KICKED", retryAfterMs })],
    ["error", (retryAfterMs) => ({ ...error("KICKED", CHANNEL), retryAfterMs })],
  ];
  const tracks = (): Frame[] => server.socket.take().filter((frame) => frame["type"] !== "ping");

  // P11.9
  it.each(KICKS)("told by %s is obeyed until it is over", async (_, kick) => {
    const heard: unknown[] = [];
    presence.onError(({ code, channel, retryAfterMs }) => heard.push({ code, channel, retryAfterMs }));
    presence.track({ n: 1 });
    await live(entry("jane", "me"));
    server.socket.say(leave(2, "jane", "me", "kicked"), kick(60_000));
    expect(heard).toEqual([
      { code: "MEMBER_ENDED", channel: "game-room", retryAfterMs: undefined },
      { code: "KICKED", channel: "game-room", retryAfterMs: 60_000 },
    ]);
    // Neither a new state nor a new listener asks.
    presence.track({ n: 2 });
    presence.onSync(() => {});
    for (let second = 0; second < 59; second++) {
      await vi.advanceTimersByTimeAsync(1_000);
      server.socket.say({ type: "pong" });
    }
    expect(tracks()).toEqual([]);
    await vi.advanceTimersByTimeAsync(1_000);
    expect(tracks()).toEqual([track({ n: 2 })]);
  });

  // P11.9
  it.each(KICKS)("told by %s that is over at once is not answered at once", async (_, kick) => {
    vi.spyOn(Math, "random").mockReturnValue(0);
    presence.onError(() => {});
    presence.track({ n: 1 });
    await live(entry("jane", "me"));
    server.socket.say(kick(0));
    await vi.advanceTimersByTimeAsync(999);
    expect(tracks()).toEqual([]);
    await vi.advanceTimersByTimeAsync(1);
    expect(tracks()).toEqual([track({ n: 1 })]);
  });

  // P11.9
  it("ends the list with leaves, and asks sooner with a new token or on a new connection", async () => {
    const heard: unknown[] = [];
    presence.onError(() => {});
    presence.onLeave((...args) => heard.push(args));
    presence.track({ n: 1 });
    await live(entry("jane", "me"), entry("bob", "b1"));
    server.socket.say({ type: "unsubscribed", channel: CHANNEL, code: "KICKED", retryAfterMs: 60_000 });
    expect(presence.users()).toEqual([]);
    expect(heard).toMatchObject([
      ["jane", "me", { reason: "unknown" }],
      ["bob", "b1", { reason: "unknown" }],
    ]);
    expect(tracks()).toEqual([]);
    server.socket.say({ type: "auth_refreshed", userId: "jane", revokedChannels: [] });
    expect(tracks()).toEqual([track({ n: 1 })]);
    server.socket.say({ ...error("KICKED", CHANNEL), retryAfterMs: 50_000 });
    server.socket.end(1006);
    await vi.advanceTimersByTimeAsync(1_000);
    await server.accept();
    expect(tracks()).toContainEqual(track({ n: 1 }));
  });

  // P11.9
  it("is not followed by anything that nobody wants any more", async () => {
    presence.onError(() => {});
    presence.track({ n: 1 });
    await live(entry("jane", "me"));
    server.socket.say({ type: "unsubscribed", channel: CHANNEL, code: "KICKED", retryAfterMs: 5_000 });
    presence.untrack();
    await vi.advanceTimersByTimeAsync(20_000);
    expect(tracks()).toEqual([]);
  });

  // P11.9
  it("that says a time beyond all reason is believed for a day", async () => {
    presence.onError(() => {});
    presence.track({ n: 1 });
    const socket = await server.accept();
    socket.take();
    socket.raw(`{"type":"error","code":"KICKED","message":"m","channel":"${CHANNEL}","retryAfterMs":1e999}`);
    await vi.advanceTimersByTimeAsync(5_000);
    expect(tracks()).toEqual([]);
  });
});

describe("resync", () => {
  // P9.3
  it("sends the present state of that channel at once, and nothing where none is tracked", async () => {
    const lobby = client.realtime.presence("lobby");
    lobby.onSync(() => {});
    presence.track({ n: 1 });
    await live();
    server.socket.say({ type: "PRESENCE_RESYNC", channel: CHANNEL }, { type: "PRESENCE_RESYNC", channel: "presence:lobby" });
    server.socket.say({ type: "PRESENCE_RESYNC", channel: "presence:unknown" });
    expect(server.socket.take()).toEqual([track({ n: 1 })]);
  });

  it("tells the rebuilt list once", async () => {
    const heard = vi.fn();
    presence.track({ n: 1 });
    presence.onSync(heard);
    await live(entry("jane", "me"), entry("bob", "b1"));
    heard.mockClear();
    server.socket.say({ type: "PRESENCE_RESYNC", channel: CHANNEL });
    await settle();
    expect(heard).not.toHaveBeenCalled();
    server.socket.say({ ...sync(1, entry("jane", "me")), epoch: 2 });
    await settle();
    expect(heard).toHaveBeenCalledExactlyOnceWith([expect.objectContaining({ userId: "jane" })]);
  });
});

function bobAndAnn(): Record<string, unknown>[] {
  return [entry("bob", "b1", { n: 2 }), entry("ann", "a1")];
}

function caught(run: () => unknown): PresenceError {
  try {
    run();
  } catch (problem) {
    if (problem instanceof PresenceError) return problem;
    throw problem;
  }
  throw new Error("nothing was thrown");
}

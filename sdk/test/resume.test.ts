/**
 * Coming back to the same connection: over a broken socket, over a reload of the page, and not otherwise.
 */
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { type Client, type ClientOptions, type Presence } from "../src/index.js";
import { CHANNEL, entry, error, FakeServer, pass, settle, sync, tokenFor } from "./fake.js";

let server: FakeServer;
let client: Client;
let presence: Presence;
let page: EventTarget;
let storage: Map<string, string>;
let token: string;

beforeEach(() => {
  vi.useFakeTimers();
  vi.spyOn(Math, "random").mockReturnValue(0.5);
  storage = new Map();
  vi.stubGlobal("sessionStorage", storageOver(storage));
  token = tokenFor(3_600_000);
  load();
});

afterEach(async () => {
  client.close();
  await pass(5_000);
  expect(vi.getTimerCount()).toBe(0);
  vi.useRealTimers();
  vi.restoreAllMocks();
  vi.unstubAllGlobals();
});

/** A page is loaded; the one before, if any, is no more. */
function load(options: ClientOptions = { token }): void {
  vi.clearAllTimers();
  page = new EventTarget();
  vi.stubGlobal("addEventListener", page.addEventListener.bind(page));
  vi.stubGlobal("document", { visibilityState: "visible" });
  server = new FakeServer();
  client = server.client(options);
  client.onError(() => {});
  presence = client.realtime.presence("game-room");
}

function storageOver(items: Map<string, string>): Partial<Storage> {
  return {
    getItem: (key) => items.get(key) ?? null,
    setItem: (key, value) => void items.set(key, value),
    removeItem: (key) => void items.delete(key),
  };
}

const hides = (persisted: boolean): void => void page.dispatchEvent(Object.assign(new Event("pagehide"), { persisted }));
const shows = (): void => void page.dispatchEvent(Object.assign(new Event("pageshow"), { persisted: true }));
const track = (state: object): object => ({ type: "presence_join", channel: CHANNEL, state });
const auth = (resume?: string): object => (resume === undefined ? { type: "auth", token } : { type: "auth", token, resume });
const PAGE_LEFT = { code: 4010 };
const SUBSCRIBE = { type: "subscribe", channels: [CHANNEL] };
const UNSUBSCRIBE = { type: "unsubscribe", channel: CHANNEL };
const UNTRACK = { type: "presence_leave", channel: CHANNEL };

/** Signs in as the connection `me` on the newest socket, which gives back what had been sent on it. */
async function signIn(resume: string | undefined, ...presences: Record<string, unknown>[]): Promise<object[]> {
  await settle();
  const { socket } = server;
  socket.open();
  socket.say({ type: "auth_success", userId: "jane", connectionId: "me", ...(resume === undefined ? {} : { resume }) });
  if (presences.length > 0) socket.say(sync(1, ...presences));
  await settle();
  return socket.take();
}

/** The newest socket breaks, and there is another, however often that happened before. */
async function breaks(): Promise<void> {
  const { socket } = server;
  socket.end(1006);
  await pass(5_000);
  expect(server.socket).not.toBe(socket);
}

describe("a broken socket", () => {
  it("is followed by one that claims its connection, each time with the newest token", async () => {
    presence.track({ n: 1 });
    expect(await signIn("first", entry("jane", "me"))).toEqual([auth(), track({ n: 1 })]);
    await breaks();
    expect(await signIn("second", entry("jane", "me"))).toEqual([auth("first"), track({ n: 1 })]);
    await breaks();
    expect(await signIn("third", entry("jane", "me"))).toEqual([auth("second"), track({ n: 1 })]);
  });

  it("is seen by no listener where the connection is the same", async () => {
    const heard = vi.fn();
    const lists = vi.fn();
    presence.onJoin(heard);
    presence.onUpdate(heard);
    presence.onLeave(heard);
    presence.onSync(lists);
    presence.track({ n: 1 });
    await signIn("first", entry("jane", "me"), entry("bob", "b1"));
    await breaks();
    await signIn("second", entry("jane", "me"), entry("bob", "b1"));
    expect(heard).not.toHaveBeenCalled();
    expect(lists).toHaveBeenCalledTimes(1);
  });

  it("claims nothing after a server that gives no token, or gave none this time", async () => {
    presence.track({ n: 1 });
    await signIn("first");
    await breaks();
    await signIn(undefined);
    await breaks();
    expect((await signIn(undefined))[0]).toEqual(auth());
  });

  it("claims again where the answer did not come", async () => {
    presence.track({ n: 1 });
    await signIn("first");
    await breaks();
    server.socket.open();
    await breaks();
    expect((await signIn("second"))[0]).toEqual(auth("first"));
  });

  it("gets no farewell before another took its place, which would end its entries", async () => {
    presence.track({ n: 1 });
    await signIn("first");
    await pass(40_000);
    const [old] = server.sockets;
    expect(client.status).toBe("reconnecting");
    expect(old?.closedWith).toBeUndefined();
    await pass(500);
    await signIn("second");
    expect(old?.closedWith).toEqual({ code: 1000 });
  });

  it("gets its farewell at once where nobody wants another, and from close()", async () => {
    presence.track({ n: 1 });
    await signIn("first");
    await pass(40_000);
    client.close();
    expect(server.sockets[0]?.closedWith).toEqual({ code: 1000 });

    load();
    const off = presence.onSync(() => {});
    await signIn("first");
    off();
    await pass(40_000);
    expect(client.status).toBe("idle");
    expect(server.sockets[0]?.closedWith).toBeDefined();
  });

  it("is not claimed for another user", async () => {
    presence.track({ n: 1 });
    await signIn("first");
    server.socket.say(error("AUTH_USER_MISMATCH"));
    expect(server.socket.closedWith).toBeDefined();
    await pass(500);
    expect((await signIn("second"))[0]).toEqual(auth());
  });
});

describe("what is no longer wanted of a connection that was taken over", () => {
  it("is an entry, where its state was untracked meanwhile", async () => {
    presence.onSync(() => {});
    presence.track({ n: 1 });
    await signIn("first", entry("jane", "me"));
    server.socket.end(1006);
    presence.untrack();
    await pass(500);
    expect(await signIn("second", entry("jane", "me"))).toEqual([auth("first"), SUBSCRIBE, UNTRACK]);
  });

  it("is a channel, where nobody uses it any more", async () => {
    client.realtime.presence("lobby").onSync(() => {});
    presence.track({ n: 1 });
    await signIn("first", entry("jane", "me"));
    server.socket.end(1006);
    presence.untrack();
    await pass(500);
    expect(await signIn("second", entry("jane", "me"))).toEqual([
      auth("first"),
      { type: "subscribe", channels: ["presence:lobby"] },
      UNSUBSCRIBE,
    ]);
  });

  // P4.22
  it("is an entry where only the count is wanted, once for all counts", async () => {
    presence.onCount(() => {});
    presence.track({ n: 1 });
    await signIn("first", entry("jane", "me"));
    server.socket.end(1006);
    presence.untrack();
    await pass(500);
    const count = { type: "presence_count", channel: CHANNEL, epoch: 1, seq: 1, users: 1, connections: 1 };
    const socket = await server.accept();
    socket.say(count, { ...count, seq: 2 });
    await settle();
    expect(socket.take().filter(({ type }) => type === "presence_leave")).toEqual([UNTRACK]);
  });

  it("is nothing that others see, where only others are in the list", async () => {
    presence.onSync(() => {});
    await signIn("first", entry("bob", "b1"));
    await breaks();
    // It may have been a member, and is none now.
    expect(await signIn("second", entry("bob", "b1"))).toEqual([auth("first"), SUBSCRIBE, UNTRACK]);
  });
});

describe("a page that is loaded again", () => {
  it("claims the connection of the page before, which said that it goes away and no farewell", async () => {
    presence.track({ n: 1 });
    await signIn("first", entry("jane", "me"));
    hides(false);
    expect(server.socket.closedWith).toEqual(PAGE_LEFT);
    load();
    presence.track({ n: 1 });
    expect((await signIn("second", entry("jane", "me")))[0]).toEqual(auth("first"));
  });

  it("keeps the token in the storage only while no page runs", async () => {
    presence.track({ n: 1 });
    await signIn("first");
    expect(storage.size).toBe(0);
    hides(false);
    expect([...storage]).toEqual([["herenow:ws://example.test/api/realtime:jane:", "first"]]);
    load();
    presence.track({ n: 1 });
    await signIn("second");
    expect(storage.size).toBe(0);
  });

  it("claims what was left while there was no connection", async () => {
    presence.track({ n: 1 });
    await signIn("first");
    server.socket.end(1006);
    hides(false);
    load();
    presence.track({ n: 1 });
    expect((await signIn("second"))[0]).toEqual(auth("first"));
  });

  it("gives each of two clients of one user its own connection back", async () => {
    const other = server.client({ token });
    other.realtime.presence("lobby").track({ n: 2 });
    await signIn("of the lobby");
    presence.track({ n: 1 });
    await signIn("of the room");
    hides(false);
    load();
    const next = server.client({ token });
    next.realtime.presence("lobby").track({ n: 2 });
    expect((await signIn("third"))[0]).toEqual(auth("of the lobby"));
    presence.track({ n: 1 });
    expect((await signIn("fourth"))[0]).toEqual(auth("of the room"));
    next.close();
  });

  it("leaves another user's token alone", async () => {
    storage.set("herenow:ws://example.test/api/realtime:bob:", "his");
    presence.track({ n: 1 });
    expect((await signIn("first"))[0]).toEqual(auth());
    expect(storage.size).toBe(1);
  });

  it("has five seconds to say what it wants, then lets go of the rest", async () => {
    client.realtime.presence("lobby").track({ n: 1 });
    await signIn("first");
    hides(false);
    load();
    client.realtime.presence("lobby").onSync(() => {});
    await signIn("second", entry("jane", "me"));
    server.socket.say({ ...sync(1, entry("jane", "me")), channel: "presence:lobby" });
    await pass(4_999);
    expect(server.socket.take()).toEqual([]);
    await pass(1);
    expect(server.socket.take()).toEqual([UNSUBSCRIBE, { type: "presence_leave", channel: "presence:lobby" }]);
  });

  it("keeps what it says in that time", async () => {
    presence.track({ n: 1 });
    await signIn("first");
    hides(false);
    load();
    client.realtime.presence("lobby").onSync(() => {});
    await signIn("second", entry("jane", "me"));
    presence.track({ n: 2 });
    await pass(5_000);
    expect(server.socket.take()).toEqual([track({ n: 2 })]);
  });

  it.each([
    ["denied", () => vi.stubGlobal("sessionStorage", undefined)],
    ["full", () => vi.stubGlobal("sessionStorage", { ...storageOver(storage), setItem: () => { throw new Error("full"); } })],
  ])("connects as a new one where the storage is %s", async (_why, spoil) => {
    spoil();
    presence.track({ n: 1 });
    await signIn("first");
    hides(false);
    load();
    presence.track({ n: 1 });
    expect((await signIn("second"))[0]).toEqual(auth());
  });

  it("says that its page went away, also where there is nothing to come back to", async () => {
    presence.track({ n: 1 });
    await signIn(undefined);
    hides(false);
    expect(server.socket.closedWith).toEqual(PAGE_LEFT);
    expect(storage.size).toBe(0);
  });
});

describe("a page that the browser may keep", () => {
  beforeEach(async () => {
    presence.track({ n: 1 });
    await signIn("first");
    hides(true);
  });

  it("closes its socket, since nobody sees it, and leaves its connection to the next page", () => {
    expect(server.socket.closedWith).toEqual(PAGE_LEFT);
    expect([...storage.values()]).toEqual(["first"]);
  });

  it("takes its connection back when it is shown again", async () => {
    shows();
    expect(await signIn("second")).toEqual([auth("first"), track({ n: 1 })]);
    expect(storage.size).toBe(0);
  });

  it("takes over what the page after it has left", async () => {
    for (const key of storage.keys()) storage.set(key, "of the next page");
    shows();
    expect(await signIn("third")).toEqual([auth("of the next page"), track({ n: 1 })]);
  });
});

describe("an explicit end", () => {
  it("is close(): 1000, and nothing is left for the next page", async () => {
    presence.track({ n: 1 });
    await signIn("first");
    client.close();
    expect(server.socket.closedWith).toEqual({ code: 1000 });
    hides(false);
    expect(storage.size).toBe(0);
  });
});

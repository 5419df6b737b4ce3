import { beforeEach, describe, expect, it, vi } from "vitest";
import { createClient, PresenceError } from "../src/index.js";
import { closeAdvice } from "../src/protocol.js";
import { CHANNEL, entry, error, join, leave, pass, settle, sync, tokenFor } from "./fake.js";
import { client, presence, problems, server, statuses, SUBSCRIBE, track, use } from "./scene.js";

/** Connected, subscribed, with this list; what was sent is taken away. */
async function live(...presences: Record<string, unknown>[]): Promise<void> {
  const socket = await server.accept();
  socket.say(sync(1, ...presences));
  await settle();
  socket.take();
}

const auth = (token: string): object => ({ type: "auth", token });
const PING = { type: "ping" };

describe("the URL", () => {
  it.each([
    ["http://localhost:4600", "ws://localhost:4600/api/realtime"],
    ["https://example.test/", "wss://example.test/api/realtime"],
    ["ws://example.test/prefix", "ws://example.test/prefix/api/realtime"],
    ["wss://example.test/prefix/?x=1#y", "wss://example.test/prefix/api/realtime"],
  ])("%s becomes %s", async (url, expected) => {
    const other = createClient(url, { WebSocket: server.WebSocket });
    other.realtime.presence("x").onSync(() => {});
    await settle();
    expect(server.socket.url).toBe(expected);
    other.close();
  });

  it.each(["", "example.test", "ftp://example.test", "/relative"])("%j is refused with a sentence", (url) => {
    expect(() => createClient(url)).toThrow(expect.objectContaining({ code: "INVALID_URL" }));
  });

  it("may be relative to a page", async () => {
    vi.stubGlobal("location", { href: "https://page.test/app/" });
    const other = createClient("/", { WebSocket: server.WebSocket });
    other.realtime.presence("x").onSync(() => {});
    await settle();
    expect(server.socket.url).toBe("wss://page.test/api/realtime");
    other.close();
  });

  it("never holds the token", async () => {
    presence.onSync(() => {});
    await server.accept();
    expect(server.socket.url).not.toContain("fixed");
  });
});

describe("the WebSocket", () => {
  it("is the global one where none is passed", async () => {
    vi.stubGlobal("WebSocket", server.WebSocket);
    const other = createClient("http://example.test");
    other.realtime.presence("x").onSync(() => {});
    await settle();
    expect(server.sockets).toHaveLength(1);
    other.close();
  });

  it("is missed with a sentence at the first use, not before", () => {
    vi.stubGlobal("WebSocket", undefined);
    const handle = createClient("http://example.test").realtime.presence("x");
    expect(() => handle.onSync(() => {})).toThrow(expect.objectContaining({ code: "NO_WEBSOCKET" }));
    expect(() => handle.track({})).toThrow(PresenceError);
  });
});

describe("status", () => {
  it("goes from idle by connecting to connected, and is told at once to who asks", async () => {
    await settle();
    presence.onSync(() => {});
    await server.accept();
    expect(statuses).toEqual(["idle", "connecting", "connected"]);
    const late = vi.fn();
    presence.onStatus(late);
    await settle();
    expect(late.mock.calls).toEqual([["connected", undefined]]);
  });

  it("is connected without a token as soon as the socket opens", async () => {
    use({});
    presence.onSync(() => {});
    await settle();
    server.socket.open();
    expect(client.status).toBe("connected");
    await settle();
    expect(server.socket.take()).toEqual([SUBSCRIBE]);
  });

  it("is closed after close, for good, and nothing happens any more", async () => {
    const heard = vi.fn();
    presence.onSync(heard);
    presence.track({ n: 1 });
    await live(entry("jane", "me"));
    heard.mockClear();
    client.close();
    expect(server.socket.closedWith).toEqual({ code: 1000 });
    server.socket.say(join(2, "bob", "b1"));
    server.socket.end(1000);
    presence.track({ n: 2 });
    presence.onSync(() => {});
    await pass(100_000);
    expect(server.sockets).toHaveLength(1);
    expect(client.status).toBe("closed");
    expect(heard).not.toHaveBeenCalled();
  });

  it("closes a socket that is still being opened", async () => {
    presence.onSync(() => {});
    await settle();
    client.close();
    expect(server.socket.closedWith).toBeDefined();
    server.socket.open();
    expect(server.socket.sent).toEqual([]);
  });

  it("is idle when the connection ends and nothing is wanted", async () => {
    const off = presence.onSync(() => {});
    await live();
    off();
    await settle();
    server.socket.end(1006);
    await pass(60_000);
    expect(client.status).toBe("idle");
    expect(server.sockets).toHaveLength(1);
    presence.onSync(() => {});
    await settle();
    expect(server.sockets).toHaveLength(2);
  });
});

describe("reconnecting", () => {
  // P11.3, P11.4
  it("says everything again, with the newest state, and tells only net differences", async () => {
    const heard: unknown[] = [];
    const lists: unknown[] = [];
    presence.onJoin((...args) => heard.push(["join", ...args]));
    presence.onLeave((...args) => heard.push(["leave", ...args]));
    presence.onSync((users) => lists.push(users.map((user) => user.userId)));
    presence.track({ n: 1 });
    await live(entry("jane", "me"), entry("bob", "b1"), entry("ann", "a1"));
    server.socket.end(1006);
    expect(client.status).toBe("reconnecting");
    presence.track({ n: 2 });
    await pass(500);
    expect(presence.users()).toHaveLength(3);
    const socket = await server.accept("me-again");
    expect(socket.take()).toEqual([auth("fixed"), track({ n: 2 })]);
    socket.say(leave(100, "bob", "b1"));
    expect(heard).toEqual([]);
    socket.say({ ...sync(1, entry("jane", "me-again", { n: 2 }), entry("bob", "b2"), entry("eve", "e1")), epoch: 2 });
    await settle();
    const cause = "resync";
    expect(heard).toEqual([
      ["join", "jane", "me-again", { n: 2 }, { first: false, isMe: true, cause }],
      ["join", "bob", "b2", { n: 1 }, { first: false, isMe: false, cause }],
      ["join", "eve", "e1", { n: 1 }, { first: true, isMe: false, cause }],
      ["leave", "jane", "me", { reason: "unknown", last: false, isMe: false, cause }],
      ["leave", "bob", "b1", { reason: "unknown", last: false, isMe: false, cause }],
      ["leave", "ann", "a1", { reason: "unknown", last: true, isMe: false, cause }],
    ]);
    expect(lists).toEqual([["jane", "bob", "ann"], ["jane", "bob", "eve"]]);
  });

  it("tells nothing where nothing changed", async () => {
    const heard = vi.fn();
    presence.onSync(heard);
    await live(entry("bob", "b1"));
    server.socket.end(1006);
    await pass(1_000);
    await live(entry("bob", "b1"));
    expect(heard).toHaveBeenCalledTimes(1);
  });

  // P11.6
  it("goes on for ever, with delays that double up to four seconds, after ten failures to ten, random from zero", async () => {
    vi.spyOn(Math, "random").mockReturnValue(0.999);
    presence.onSync(() => {});
    await settle();
    for (const most of [1_000, 2_000, ...Array<number>(8).fill(4_000), 10_000, 10_000]) {
      const count = server.sockets.length;
      server.socket.end(1006);
      await pass(most * 0.99);
      expect(server.sockets).toHaveLength(count);
      await pass(most * 0.01);
      expect(server.sockets).toHaveLength(count + 1);
    }
    vi.spyOn(Math, "random").mockReturnValue(0);
    server.socket.end(1006);
    await settle();
    expect(server.sockets).toHaveLength(14);
  });

  it("forgets old failures only after a connection that stood for a while", async () => {
    presence.onSync(() => {});
    await settle();
    for (let failure = 0; failure < 11; failure++) {
      server.socket.end(1006);
      await pass(10_000);
    }
    const socket = await server.accept();
    socket.end(1006);
    await pass(4_999);
    expect(server.socket).toBe(socket);
    await pass(1);
    await server.accept();
    await pass(10_000);
    const count = server.sockets.length;
    server.socket.end(1006);
    await pass(500);
    expect(server.sockets).toHaveLength(count + 1);
  });

  // P7.7, P11.6
  it("waits as long as a restarting server asks, to the letter", async () => {
    presence.onSync(() => {});
    await live();
    server.socket.end(1012, '{"retryAfterMs":4321}');
    await pass(4_320);
    expect(server.sockets).toHaveLength(1);
    await pass(1);
    expect(server.sockets).toHaveLength(2);
  });

  it.each(["", "soon", "{}", '{"retryAfterMs":"5"}', '{"retryAfterMs":-1}', "[1]"])(
    "backs off as usual where a restart's reason is %j",
    async (reason) => {
      presence.onSync(() => {});
      await live();
      server.socket.end(1012, reason);
      await pass(500);
      expect(server.sockets).toHaveLength(2);
    },
  );

  it("comes back later after an overload or abuse", async () => {
    presence.onSync(() => {});
    await live();
    server.socket.end(4029);
    await pass(4_999);
    expect(server.sockets).toHaveLength(1);
    await pass(1);
    expect(server.sockets).toHaveLength(2);
    expect([1001, 1006, 1012, 4008, 4999].map(closeAdvice)).toEqual(Array(5).fill("soon"));
  });

  describe("disconnected by a backend", () => {
    const KICKED = { ...error("KICKED"), retryAfterMs: 60_000 };

    // P11.10
    it.each([
      ["with its error", [KICKED]],
      ["without a word", []],
    ])("fails, %s, and comes back with another token alone", async (_, words) => {
      const tokens = [tokenFor(3_600_000, "a"), tokenFor(3_600_000, "b")];
      const getToken = vi.fn(() => tokens.shift());
      use({ getToken });
      const waits: unknown[] = [];
      client.onError((problem) => waits.push(problem.retryAfterMs));
      presence.onSync(() => {});
      presence.track({ n: 1 });
      await live(entry("jane", "me"));
      server.socket.say(...words);
      server.socket.end(4005);
      expect(client.status).toBe("failed");
      expect(problems).toEqual(["KICKED"]);
      expect(waits).toEqual([words.length ? 60_000 : undefined]);
      presence.track({ n: 2 });
      await pass(120_000);
      expect(server.sockets).toHaveLength(1);
      expect(getToken).toHaveBeenCalledTimes(1);

      client.refresh();
      await server.accept("again");
      expect(server.sockets).toHaveLength(2);
      expect(getToken).toHaveBeenCalledTimes(2);
      expect(client.status).toBe("connected");
      expect(server.socket.take()).toContainEqual(track({ n: 2 }));
      server.socket.end(1006);
      await pass(1_000);
      expect(server.sockets).toHaveLength(3);
    });

    // P11.10
    it("fails as well while it authenticates", async () => {
      use({ getToken: () => tokenFor(3_600_000) });
      presence.onSync(() => {});
      await settle();
      server.socket.open();
      server.socket.say(KICKED);
      server.socket.end(4005);
      await pass(60_000);
      expect(client.status).toBe("failed");
      expect(server.sockets).toHaveLength(1);
    });

    // P11.10
    it("fails although the close frame was lost", async () => {
      use({ getToken: () => tokenFor(3_600_000) });
      presence.onSync(() => {});
      await live();
      server.socket.say(KICKED);
      server.socket.end(1006);
      await pass(60_000);
      expect(client.status).toBe("failed");
      expect(server.sockets).toHaveLength(1);
    });
  });

  it("gives up a connection that is not authenticated in ten seconds", async () => {
    presence.onSync(() => {});
    await settle();
    server.socket.open();
    await pass(10_000);
    expect(server.sockets[0]?.closedWith).toBeDefined();
    await pass(500);
    expect(server.sockets).toHaveLength(2);
  });

  it("hears nothing from a socket it let go", async () => {
    presence.onSync(() => {});
    await live();
    const old = server.socket;
    old.end(1006);
    await pass(500);
    await live(entry("bob", "b1"));
    old.say(leave(9, "bob", "b1"));
    old.end(1006);
    expect(presence.users()).toHaveLength(1);
    expect(client.status).toBe("connected");
  });

  it("tries again where a WebSocket cannot even be made", async () => {
    const Throwing = class extends server.WebSocket {
      constructor(url: string) {
        super(url);
        if (server.sockets.length === 1) throw new Error("blocked");
      }
    };
    use({ token: "fixed", WebSocket: Throwing });
    presence.onSync(() => {});
    await pass(500);
    expect(server.sockets).toHaveLength(2);
    expect(problems).toEqual(["INVALID_URL"]);
  });
});

describe("liveness", () => {
  it("pings every 30 seconds and takes any frame for an answer", async () => {
    presence.onSync(() => {});
    await live();
    await pass(29_999);
    expect(server.socket.take()).toEqual([]);
    await pass(1);
    expect(server.socket.take()).toEqual([PING]);
    await pass(9_999);
    server.socket.say(join(2, "bob", "b1"));
    await pass(20_001);
    expect(server.socket.take()).toEqual([PING]);
    server.socket.say({ type: "pong" });
    expect(server.sockets).toHaveLength(1);
  });

  it("drops a socket that answers no ping within 10 seconds", async () => {
    presence.onSync(() => {});
    await live();
    await pass(40_000);
    expect(server.sockets[0]?.closedWith).toBeDefined();
    expect(client.status).toBe("reconnecting");
    await pass(500);
    expect(server.sockets).toHaveLength(2);
  });

  it("probes a socket after a sleep and drops it within 3 seconds", async () => {
    presence.onSync(() => {});
    await live();
    vi.setSystemTime(Date.now() + 3_600_000);
    await pass(1_000);
    expect(server.socket.take()).toEqual([PING]);
    await pass(3_000);
    expect(client.status).toBe("reconnecting");
  });
});

describe("a page", () => {
  let page: EventTarget;

  beforeEach(() => {
    page = new EventTarget();
    vi.stubGlobal("addEventListener", page.addEventListener.bind(page));
    vi.stubGlobal("document", { visibilityState: "visible" });
  });

  const happens = (name: string): void => void page.dispatchEvent(new Event(name));

  it.each(["visibilitychange", "online", "offline", "focus", "resume", "pageshow"])(
    "probes on %s and reconnects where nothing answers in 3 seconds",
    async (name) => {
      presence.onSync(() => {});
      await live();
      happens(name);
      happens("focus");
      expect(server.socket.take()).toEqual([PING]);
      await pass(2_999);
      expect(client.status).toBe("unstable");
      await pass(1);
      expect(client.status).toBe("reconnecting");
    },
  );

  it("shortens the wait for an answer to a ping that is under way", async () => {
    presence.onSync(() => {});
    await live();
    await pass(30_000);
    happens("focus");
    await pass(3_000);
    expect(client.status).toBe("reconnecting");
  });

  it("has not waited while it was itself frozen", async () => {
    presence.onSync(() => {});
    await live();
    happens("focus");
    vi.setSystemTime(Date.now() + 600_000);
    await pass(1_000);
    // What came meanwhile is heard now.
    expect(client.status).toBe("connected");
    server.socket.say({ type: "pong" });
    happens("focus");
    vi.setSystemTime(Date.now() + 600_000);
    await pass(3_000);
    expect(server.socket.take()).toEqual([PING, PING]);
    expect(client.status).toBe("reconnecting");
  });

  it("does nothing when it is hidden", async () => {
    vi.stubGlobal("document", { hidden: true });
    presence.onSync(() => {});
    await live();
    happens("visibilitychange");
    expect(server.socket.take()).toEqual([]);
  });

  it("ends a wait at once when it is online again", async () => {
    presence.onSync(() => {});
    await live();
    server.socket.end(1012, '{"retryAfterMs":60000}');
    happens("online");
    await settle();
    expect(server.sockets).toHaveLength(2);
  });

  it("closes with 4010 when it goes away, and comes back from the browser's cache with everything", async () => {
    presence.track({ n: 1 });
    await live();
    happens("pagehide");
    expect(server.socket.closedWith).toEqual({ code: 4010 });
    await pass(600_000);
    expect(server.sockets).toHaveLength(1);
    happens("pageshow");
    const socket = await server.accept();
    expect(socket.take()).toEqual([auth("fixed"), track({ n: 1 })]);
  });

  it("is watched no more after close", async () => {
    presence.onSync(() => {});
    await live();
    client.close();
    happens("online");
    await settle();
    expect(server.sockets).toHaveLength(1);
  });
});

describe("tokens", () => {
  it("fails for good where the server refuses a fixed one, and says why", async () => {
    presence.onSync(() => {});
    await settle();
    server.socket.open();
    server.socket.say({ type: "auth_error", code: "AUTH_FAILED", message: "Wrong signature." });
    server.socket.end(4002);
    await pass(100_000);
    expect(client.status).toBe("failed");
    expect(problems).toEqual(["AUTH_FAILED"]);
    expect(server.sockets).toHaveLength(1);
  });

  it("asks getToken again after a refusal, once at once and then backing off, and tells it once", async () => {
    let count = 0;
    use({ getToken: () => tokenFor(3_600_000, String(++count)) });
    presence.onSync(() => {});
    for (const delay of [0, 1_000, 2_000]) {
      await settle();
      server.socket.open();
      const sockets = server.sockets.length;
      server.socket.say({ type: "auth_error", code: "AUTH_FAILED", message: "no" });
      if (delay > 0) await pass(delay - 1);
      expect(server.sockets).toHaveLength(sockets);
      await pass(1);
      expect(server.sockets).toHaveLength(sockets + 1);
    }
    expect(problems).toEqual(["AUTH_FAILED"]);
    expect(count).toBe(4);
  });

  it("keeps a good one over a reconnect, and replaces one that ends within 30 seconds", async () => {
    const getToken = vi.fn(() => tokenFor(120_000));
    use({ getToken });
    presence.onSync(() => {});
    await live();
    server.socket.end(1006);
    await pass(500);
    await live();
    expect(getToken).toHaveBeenCalledTimes(1);
    server.socket.end(1012, '{"retryAfterMs":95000}');
    await pass(95_000);
    expect(getToken).toHaveBeenCalledTimes(2);
  });

  it("uses a fixed one first where both are given", async () => {
    const first = tokenFor(3_600_000, "first");
    const getToken = vi.fn(() => tokenFor(3_600_000, "second"));
    use({ token: first, getToken });
    presence.onSync(() => {});
    const socket = await server.accept();
    expect(socket.take()[0]).toEqual(auth(first));
    expect(getToken).not.toHaveBeenCalled();
  });

  it("tells why getToken gave none, and tries again", async () => {
    const getToken = vi.fn<() => Promise<string>>().mockRejectedValueOnce(new Error("503")).mockResolvedValue("opaque");
    use({ getToken });
    presence.onSync(() => {});
    await settle();
    expect(server.sockets).toHaveLength(0);
    expect(problems).toEqual(["TOKEN_UNAVAILABLE"]);
    await pass(500);
    expect(server.sockets).toHaveLength(1);
  });

  it("waits 15 seconds for getToken, not for ever", async () => {
    use({ getToken: () => new Promise(() => {}) });
    presence.onSync(() => {});
    await pass(15_000);
    expect(problems).toEqual(["TOKEN_UNAVAILABLE"]);
  });

  it("connects without one where getToken gives null", async () => {
    use({ getToken: () => null });
    presence.onSync(() => {});
    await settle();
    server.socket.open();
    await settle();
    expect(server.socket.take()).toEqual([SUBSCRIBE]);
  });

  it("refreshes on the same socket a minute before the end, again and again", async () => {
    const given: string[] = [];
    use({
      getToken: () => {
        given.push(tokenFor(600_000, String(given.length)));
        return given.at(-1);
      },
    });
    presence.onSync(() => {});
    await live();
    await alive(539_000);
    expect(given).toHaveLength(1);
    await alive(1_000);
    expect(server.socket.take().filter((frame) => frame["type"] === "auth")).toEqual([auth(given[1] ?? "")]);
    server.socket.say({ type: "auth_refreshed", userId: "jane", revokedChannels: [] });
    await alive(540_000);
    expect(given).toHaveLength(3);
    expect(server.sockets).toHaveLength(1);
    expect(statuses.at(-1)).toBe("connected");
  });

  it("tries a failed refresh again before the end, and tells it", async () => {
    const getToken = vi.fn(() => tokenFor(600_000, String(getToken.mock.calls.length)));
    use({ getToken });
    presence.onSync(() => {});
    await live();
    await alive(540_000);
    server.socket.say(error("AUTH_REFRESH_FAILED"));
    expect(problems).toEqual(["AUTH_REFRESH_FAILED"]);
    await alive(30_000);
    expect(getToken).toHaveBeenCalledTimes(3);
    expect(client.status).toBe("connected");
  });

  it("does not offer the same one again", async () => {
    const token = tokenFor(100_000);
    use({ getToken: () => token });
    presence.onSync(() => {});
    await live();
    await alive(99_000);
    expect(server.socket.take().filter((frame) => frame["type"] === "auth")).toEqual([]);
  });

  it("believes a date far ahead, which overflows no timer", async () => {
    const getToken = vi.fn(() => tokenFor(1e300));
    const timers = vi.spyOn(globalThis, "setTimeout");
    use({ getToken });
    presence.onSync(() => {});
    await live();
    await alive(60_000);
    expect(getToken).toHaveBeenCalledTimes(1);
    for (const [, delay] of timers.mock.calls) expect(delay).toBeLessThan(2 ** 31);
  });

  it("comes back with a new one after the old one expired, and fails without a way to get one", async () => {
    const getToken = vi.fn(() => tokenFor(3_600_000));
    use({ getToken });
    presence.onSync(() => {});
    await live();
    server.socket.say(error("AUTH_EXPIRED"));
    server.socket.end(4002);
    await pass(1_000);
    expect(getToken).toHaveBeenCalledTimes(2);
    client.close();

    use({ token: "fixed" });
    presence.onSync(() => {});
    await live();
    server.socket.say(error("AUTH_EXPIRED"));
    server.socket.end(4002);
    expect(client.status).toBe("failed");
    expect(problems).toEqual(["AUTH_EXPIRED"]);
  });

  it("reconnects as another user when getToken's user changed", async () => {
    use({ getToken: () => tokenFor(100_000, String(Date.now())) });
    presence.onSync(() => {});
    await live();
    await alive(50_000);
    server.socket.say(error("AUTH_USER_MISMATCH"));
    expect(problems).toEqual(["AUTH_USER_MISMATCH"]);
    await pass(500);
    expect(server.sockets).toHaveLength(2);
  });

  it("leaves alone what is no JWT", async () => {
    const getToken = vi.fn(() => "opaque");
    use({ getToken });
    presence.onSync(() => {});
    await live();
    await alive(600_000);
    expect(getToken).toHaveBeenCalledTimes(1);
  });

  it("forgets the answer of getToken that comes after close", async () => {
    let answer: (token: string) => void = () => {};
    use({ getToken: () => new Promise<string>((resolve) => (answer = resolve)) });
    presence.onSync(() => {});
    await settle();
    client.close();
    answer("late");
    await settle();
    expect(server.sockets).toHaveLength(0);
  });
});

/** Lets time pass while the server answers each ping. */
async function alive(ms: number): Promise<void> {
  for (let left = ms; left > 0; left -= 5_000) {
    await pass(Math.min(left, 5_000));
    server.socket.say({ type: "pong" });
  }
}

describe("refresh()", () => {
  it("sends a new token on the connection that stands, and asks for what was refused", async () => {
    const tokens = [tokenFor(3_600_000, "a"), tokenFor(3_600_000, "b")];
    use({ getToken: () => tokens.shift() });
    presence.onSync(() => {});
    const socket = await server.accept();
    socket.say(error("CHANNEL_ACCESS_DENIED", CHANNEL));
    const next = tokens[0] ?? "";
    socket.take();
    client.refresh();
    await settle();
    expect(socket.take()).toEqual([auth(next)]);
    socket.say({ type: "auth_refreshed", userId: "jane", revokedChannels: [] });
    await settle();
    expect(socket.take()).toEqual([SUBSCRIBE]);
  });

  it("authenticates an observer, and asks for what it was refused", async () => {
    use({});
    presence.onSync(() => {});
    client.realtime.presence("public").onSync(() => {});
    await settle();
    const { socket } = server;
    socket.open();
    await settle();
    socket.say(error("NOT_AUTHENTICATED", CHANNEL), { type: "subscribed", channel: "presence:public" });
    socket.take();
    client.refresh("another");
    await settle();
    expect(socket.take()).toEqual([auth("another")]);
    socket.say({ type: "auth_success", userId: "jane", connectionId: "me" });
    await settle();
    expect(socket.take()).toEqual([SUBSCRIBE]);
  });

  it("connects again after a refused token, with the given one, and watches the page again", async () => {
    const page = new EventTarget();
    vi.stubGlobal("addEventListener", page.addEventListener.bind(page));
    use({ token: "bad" });
    presence.onSync(() => {});
    await settle();
    server.socket.open();
    server.socket.say({ type: "auth_error", code: "AUTH_FAILED", message: "no" });
    server.socket.end(4002);
    expect(client.status).toBe("failed");
    client.refresh("good");
    await settle();
    server.socket.open();
    await settle();
    expect(server.socket.take()).toEqual([auth("good"), SUBSCRIBE]);
    server.socket.end(1006);
    page.dispatchEvent(new Event("online"));
    await settle();
    expect(server.sockets).toHaveLength(3);
  });

  it("replaces an attempt that has begun with the old token", async () => {
    use({ token: "old" });
    presence.onSync(() => {});
    await settle();
    const first = server.socket;
    client.refresh("new");
    await settle();
    expect(first.closedWith).toBeDefined();
    expect(server.sockets).toHaveLength(2);
    server.socket.open();
    expect(server.socket.take()[0]).toEqual(auth("new"));
  });

  it("does not wait for the next attempt", async () => {
    use({ token: "fixed" });
    presence.onSync(() => {});
    await live();
    server.socket.end(1013);
    client.refresh();
    await settle();
    expect(server.sockets).toHaveLength(2);
  });

  it("connects nothing that nobody wants, and not after close()", async () => {
    client.refresh("new");
    await settle();
    expect(server.sockets).toHaveLength(0);
    presence.onSync(() => {});
    await live();
    client.close();
    client.refresh("newer");
    await pass(60_000);
    expect(server.sockets).toHaveLength(1);
    expect(client.status).toBe("closed");
  });
});

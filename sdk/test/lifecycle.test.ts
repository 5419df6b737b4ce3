/**
 * What applications do in the middle of things, and what a client does by itself: ends what nobody uses, says once what
 * is wrong, comes back soon. Who it is.
 */
import { describe, expect, it, vi } from "vitest";
import type { Status } from "../src/index.js";
import { CHANNEL, entry, error, FakeServer, join, leave, pass, settle, sync, tokenFor } from "./fake.js";
import { client, presence, problems, said, server, statuses, SUBSCRIBE, track, use } from "./scene.js";

/** Lets time pass while the server answers each ping. */
async function alive(ms: number): Promise<void> {
  for (let left = ms; left > 0; left -= 5_000) {
    await pass(Math.min(left, 5_000));
    server.socket.say({ type: "pong" });
  }
}


describe("an application that closes the client", () => {
  it("from onError keeps it closed, though getToken had only just failed", async () => {
    use({ getToken: () => Promise.reject(new Error("503")) });
    client.onError(() => client.close());
    presence.onSync(() => {});
    await pass(60_000);
    expect(problems).toEqual(["TOKEN_UNAVAILABLE"]);
    expect(client.status).toBe("closed");
    expect(server.sockets).toHaveLength(0);
  });

  it("from onStatus keeps it closed, and every listener hears that last", async () => {
    const later: Status[] = [];
    client.onStatus((status) => {
      if (status === "reconnecting") client.close();
    });
    client.onStatus((status) => later.push(status));
    presence.onSync(() => {});
    await server.accept();
    server.socket.end(1006);
    await pass(60_000);
    expect(client.status).toBe("closed");
    expect(server.sockets).toHaveLength(1);
    expect(later.at(-1)).toBe("closed");
    expect(statuses.at(-1)).toBe("closed");
  });

  it("from getToken or from onStatus while it connects opens no socket", async () => {
    use({ getToken: () => (client.close(), "token") });
    presence.onSync(() => {});
    await pass(60_000);
    expect(server.sockets).toHaveLength(0);
    use({ token: "fixed" });
    client.onStatus((status) => status === "connecting" && client.close());
    presence.onSync(() => {});
    await pass(60_000);
    expect(server.sockets).toHaveLength(0);
    expect(client.status).toBe("closed");
  });

  it("from onJoin is told no more of what came in the same list", async () => {
    const joined: string[] = [];
    presence.onJoin((userId) => {
      joined.push(userId);
      client.close();
    });
    const socket = await server.accept();
    socket.say(sync(1));
    socket.say(sync(2, entry("bob", "b1"), entry("ann", "a1")));
    expect(joined).toEqual(["bob"]);
  });

  it("leaves no timer behind, though getToken never answers", async () => {
    use({ getToken: () => new Promise(() => {}) });
    presence.onSync(() => {});
    await settle();
    expect(vi.getTimerCount()).toBeGreaterThan(0);
    client.close();
    await settle();
    expect(vi.getTimerCount()).toBe(0);
  });

  it("leaves no timer behind, though getToken never answers to a refresh", async () => {
    const getToken = vi.fn<() => string | Promise<string>>(() => tokenFor(100_000));
    use({ getToken });
    presence.onSync(() => {});
    await server.accept();
    getToken.mockReturnValue(new Promise(() => {}));
    await alive(55_000);
    expect(getToken).toHaveBeenCalledTimes(2);
    client.close();
    await settle();
    expect(vi.getTimerCount()).toBe(0);
  });
});

describe("a connection that nobody uses", () => {
  it("is closed after 30 seconds, and opened again by the next listener", async () => {
    const off = presence.onSync(() => {});
    await server.accept();
    off();
    await settle();
    await alive(29_999);
    expect(server.socket.closedWith).toBeUndefined();
    await pass(1);
    expect(server.socket.closedWith).toEqual({ code: 1000 });
    expect(client.status).toBe("idle");
    expect(client.me).toBeUndefined();
    presence.onSync(() => {});
    await server.accept();
    expect(server.sockets).toHaveLength(2);
    expect(client.status).toBe("connected");
  });

  it("stays where it is used again in time", async () => {
    const off = presence.onSync(() => {});
    await server.accept();
    off();
    await alive(20_000);
    presence.onSync(() => {});
    await alive(60_000);
    expect(server.sockets).toHaveLength(1);
    expect(client.status).toBe("connected");
  });

  it("may lose its right to stay with the last public channel, which is no error", async () => {
    use({});
    const off = presence.onSync(() => {});
    await settle();
    server.socket.open();
    server.socket.say({ type: "subscribed", channel: CHANNEL }, sync(1));
    off();
    await settle();
    server.socket.say({ type: "unsubscribed", channel: CHANNEL }, error("AUTH_TIMEOUT"));
    server.socket.end(4001);
    await pass(60_000);
    expect(problems).toEqual([]);
    expect(client.status).toBe("idle");
    expect(server.sockets).toHaveLength(1);
  });
});

describe("a user who has not logged in", () => {
  it("is told so once, and is in as soon as there is a token", async () => {
    let token: string | null = null;
    use({ getToken: () => token });
    presence.onSync(() => {});
    presence.track({ n: 1 });
    await settle();
    server.socket.open();
    server.socket.say(error("NOT_AUTHENTICATED", CHANNEL));
    // Who may not appear may still watch; here neither.
    server.socket.say(error("NOT_AUTHENTICATED", CHANNEL));
    await pass(120_000);
    expect(client.status).toBe("failed");
    expect(server.sockets).toHaveLength(1);
    // A failed client hears nothing more, so that a second listener is no second refusal.
    presence.onJoin(() => {});
    await settle();
    expect(problems).toEqual(["NOT_AUTHENTICATED"]);
    expect(client.statusReason?.message).toContain("call refresh() once there is one");
    token = tokenFor(3_600_000);
    client.refresh();
    await pass(100);
    await server.accept();
    expect(client.status).toBe("connected");
    expect(said()).toEqual([track({ n: 1 })]);
  });

  it("is told each refusal of a later state, and of watching if it is another one", async () => {
    presence.onSync(() => {});
    presence.track({ n: 1 });
    const socket = await server.accept();
    socket.say(error("CHANNEL_ACCESS_DENIED", CHANNEL), { type: "subscribed", channel: CHANNEL }, sync(1));
    presence.track({ n: 2 });
    await pass(50);
    socket.say(error("CHANNEL_ACCESS_DENIED", CHANNEL));
    expect(problems).toEqual(["CHANNEL_ACCESS_DENIED", "CHANNEL_ACCESS_DENIED"]);
    const lobby = client.realtime.presence("lobby");
    lobby.onSync(() => {});
    lobby.track({ n: 1 });
    await settle();
    problems.length = 0;
    socket.say(error("MEMBER_LIMIT", "presence:lobby"), error("CHANNEL_ACCESS_DENIED", "presence:lobby"));
    expect(problems).toEqual(["MEMBER_LIMIT", "CHANNEL_ACCESS_DENIED"]);
  });

  it("keeps the public channels, and reaches another one after a failure", async () => {
    use({});
    presence.onSync(() => {});
    const open = client.realtime.presence("public");
    open.onSync(() => {});
    await settle();
    server.socket.open();
    server.socket.say({ ...sync(1), channel: "presence:public" }, error("NOT_AUTHENTICATED", CHANNEL));
    expect(client.status).toBe("connected");
    open.close();
    await settle();
    client.close();

    use({});
    presence.onSync(() => {});
    await settle();
    server.socket.open();
    server.socket.say(error("NOT_AUTHENTICATED", CHANNEL));
    expect(client.status).toBe("failed");
    client.realtime.presence("public").onSync(() => {});
    await settle();
    server.socket.open();
    expect(client.status).toBe("connected");
  });
});

describe("what is wrong", () => {
  it("is told once while the server cannot be reached, with its URL, and once more the next time", async () => {
    const messages: string[] = [];
    client.onError(({ message }) => messages.push(message));
    presence.onSync(() => {});
    for (let attempt = 0; attempt < 5; attempt++) {
      await settle();
      server.socket.end(1006);
      expect(problems).toEqual(["UNREACHABLE"]);
      await pass(10_000);
    }
    expect(problems).toEqual(["UNREACHABLE"]);
    expect(messages[0]).toContain("ws://example.test/api/realtime");
    await server.accept();
    server.socket.end(1006);
    await pass(10_000);
    expect(problems).toEqual(["UNREACHABLE"]);
    server.socket.end(1006);
    expect(problems).toEqual(["UNREACHABLE", "UNREACHABLE"]);
  });

  // P11.8
  it.each(["timeout", "disconnect", "kicked"])("is told where the server ends the own member by %s", async (reason) => {
    presence.track({ n: 1 });
    const socket = await server.accept();
    socket.say(sync(1, entry("jane", "me")));
    await settle();
    said();
    socket.say(leave(2, "jane", "me", reason));
    expect(problems).toEqual(["MEMBER_ENDED"]);
    await alive(5_000);
    expect(said()).toEqual([track({ n: 1 })]);
  });

  it("makes a connection unstable, until something is heard", async () => {
    presence.onSync(() => {});
    await server.accept();
    await pass(33_000);
    expect(client.status).toBe("connected");
    await pass(1_000);
    expect(client.status).toBe("unstable");
    server.socket.say({ type: "pong" });
    expect(client.status).toBe("connected");
    expect(statuses).toEqual(["idle", "connecting", "connected", "unstable", "connected"]);
  });
});

describe("coming back", () => {
  // P11.6
  it("takes most of thirty clients less than two seconds after six without a server, and not all at once", async () => {
    client.close();
    let seed = 1;
    vi.spyOn(Math, "random").mockImplementation(() => (seed = (seed * 16807) % 2147483647) / 2147483647);
    const clients = Array.from({ length: 30 }, () => server.client());
    for (const one of clients) {
      one.onError(() => {});
      one.realtime.presence("game-room").onSync(() => {});
    }
    await settle();
    for (const socket of server.sockets) {
      socket.open();
      socket.say({ type: "auth_success", userId: "jane", connectionId: "me" });
    }
    await alive(15_000);
    let seen = 0;
    const fresh = (): FakeServer["sockets"] => server.sockets.slice(seen, (seen = server.sockets.length));
    for (const socket of fresh()) socket.end(1006);
    const back: number[] = [];
    for (let at = 0; at < 12_000; at += 50) {
      await pass(50);
      for (const socket of fresh()) {
        if (at < 6_000) {
          socket.end(1006);
          continue;
        }
        back.push(at - 6_000);
        socket.open();
        socket.say({ type: "auth_success", userId: "jane", connectionId: "me" });
      }
    }
    for (const one of clients) one.close();
    expect(back).toHaveLength(30);
    expect(back[15]).toBeLessThan(2_000);
    expect(back.at(-1)).toBeLessThan(5_000);
    for (const at of back) expect(back.filter((other) => other >= at && other < at + 100).length).toBeLessThan(15);
  });

  it("replaces a refused token and tries once more at once", async () => {
    let count = 0;
    use({ getToken: () => tokenFor(3_600_000, String(++count)) });
    presence.onSync(() => {});
    await settle();
    server.socket.open();
    server.socket.say({ type: "auth_error", code: "AUTH_FAILED", message: "no" });
    await pass(1);
    expect(server.sockets).toHaveLength(2);
    await server.accept();
    expect(client.status).toBe("connected");
    expect(count).toBe(2);
  });

  it.each([
    ["five hours ahead", 5],
    ["five hours behind", -5],
    ["right", 0],
  ])("renews a token in time, and no more often, with a clock that is %s", async (_, hours) => {
    const issuer = Date.now();
    const started = performance.now();
    vi.setSystemTime(issuer + hours * 3_600_000);
    const getToken = vi.fn(() => {
      const now = (issuer + performance.now() - started) / 1000;
      const claims = { sub: "jane", iat: now, exp: now + 600, mark: getToken.mock.calls.length };
      return `e30.${Buffer.from(JSON.stringify(claims)).toString("base64url")}.x`;
    });
    use({ getToken });
    presence.onSync(() => {});
    await server.accept();
    await alive(535_000);
    expect(getToken).toHaveBeenCalledTimes(1);
    await alive(10_000);
    expect(getToken).toHaveBeenCalledTimes(2);
    server.socket.say({ type: "auth_refreshed", userId: "jane", revokedChannels: [] });
    server.socket.end(1006);
    await pass(4_000);
    await server.accept();
    expect(getToken).toHaveBeenCalledTimes(2);
  });
});

describe("who this client is", () => {
  it("is known once the server has said so, and told at once to who asks later", async () => {
    const heard: unknown[] = [];
    client.onMe((me) => heard.push(me?.connectionId));
    presence.onSync(() => {});
    await settle();
    expect(client.me).toBeUndefined();
    await server.accept("one");
    expect(client.me).toMatchObject({ userId: "jane", connectionId: "one" });
    const late = vi.fn();
    client.onMe(late);
    await settle();
    expect(late).toHaveBeenCalledExactlyOnceWith(expect.objectContaining({ connectionId: "one" }));
    server.socket.end(1006);
    expect(client.me?.connectionId).toBe("one");
    await pass(1_000);
    await server.accept("two");
    client.close();
    expect(client.me).toBeUndefined();
    expect(heard).toEqual([undefined, "one", "two", undefined]);
  });

  it("is marked in rows, connections and events, and the own join and leave are told once", async () => {
    const heard: unknown[] = [];
    presence.onJoin((userId, _id, _state, { isMe }) => heard.push(["join", userId, isMe]));
    presence.onUpdate((userId, _id, _state, { isMe }) => heard.push(["update", userId, isMe]));
    presence.onLeave((userId, _id, { isMe }) => heard.push(["leave", userId, isMe]));
    const socket = await server.accept();
    socket.say(sync(1, entry("bob", "b1")));
    socket.say(join(2, "jane", "other"), join(3, "jane", "me"));
    expect(presence.others().map(({ userId }) => userId)).toEqual(["bob"]);
    expect(presence.me()).toMatchObject({
      userId: "jane",
      isMe: true,
      connections: [
        { connectionId: "other", isMe: false },
        { connectionId: "me", isMe: true },
      ],
    });
    socket.say(leave(4, "jane", "me", "leave"), leave(5, "jane", "other"));
    expect(presence.me()).toBeUndefined();
    expect(heard).toEqual([
      ["join", "jane", false],
      ["join", "jane", true],
      ["leave", "jane", true],
      ["leave", "jane", false],
    ]);
  });

  it("is told before the status, so that a listener of that can use it", async () => {
    const heard: unknown[] = [];
    client.onStatus((status) => heard.push([status, client.me?.userId]));
    presence.onSync(() => {});
    await server.accept();
    expect(heard.at(-1)).toEqual(["connected", "jane"]);
    expect(said()).toEqual([SUBSCRIBE]);
  });

  it("marks what was found after a return, and not what happens now", async () => {
    const causes: unknown[] = [];
    presence.onJoin((_u, _c, _s, { cause }) => causes.push(cause));
    presence.onLeave((_u, _c, { cause }) => causes.push(cause));
    (await server.accept()).say(sync(1, entry("bob", "b1")));
    server.socket.say(join(2, "ann", "a1"));
    server.socket.end(1006);
    await pass(1_000);
    (await server.accept()).say(sync(1, entry("eve", "e1")));
    server.socket.say(leave(2, "eve", "e1"));
    expect(causes).toEqual([undefined, "resync", "resync", "resync", undefined]);
  });
});

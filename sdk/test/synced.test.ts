/**
 * Whether a list is known, current or stale, since when, and why.
 */
import { describe, expect, it } from "vitest";
import type { PresenceError } from "../src/index.js";
import { CHANNEL, entry, error, join, leave, pass, settle, sync } from "./fake.js";
import { client, presence, problems, server, use } from "./scene.js";

/** Each value of `synced` that a listener was told. */
function told(): boolean[] {
  const heard: boolean[] = [];
  presence.onSynced((synced) => heard.push(synced));
  return heard;
}

const names = (): string[] => presence.users().map(({ userId }) => userId);

describe("a list", () => {
  it("is not synced before the first snapshot, and then is, also where it is empty", async () => {
    expect([presence.synced, presence.since]).toEqual([false, undefined]);
    const heard = told();
    await server.accept();
    expect([presence.synced, presence.since, heard]).toEqual([false, undefined, [false]]);
    const now = Date.now();
    server.socket.say(sync(1));
    expect([presence.synced, presence.since, heard]).toEqual([true, now, [false, true]]);
  });

  // P11.3
  it("stays when the connection is lost, marked as stale since then, until the next snapshot", async () => {
    const heard = told();
    (await server.accept()).say(sync(1, entry("bob", "b1")));
    await pass(5_000);
    const lostAt = Date.now();
    server.socket.end(1006);
    await pass(1_000);
    expect([presence.synced, presence.since, names()]).toEqual([false, lostAt, ["bob"]]);
    await server.accept();
    expect([presence.synced, presence.since, names()]).toEqual([false, lostAt, ["bob"]]);
    const backAt = Date.now();
    server.socket.say(sync(1, entry("ann", "a1")));
    expect([presence.synced, presence.since, names()]).toEqual([true, backAt, ["ann"]]);
    expect(heard).toEqual([false, true, false, true]);
  });

  it("is stale before a listener hears of the lost connection", async () => {
    let isSynced: boolean | undefined;
    presence.onSync(() => {});
    client.onStatus((status) => {
      if (status === "reconnecting") isSynced = presence.synced;
    });
    (await server.accept()).say(sync(1));
    server.socket.end(1006);
    expect(isSynced).toBe(false);
  });

  it("is not synced while the server keeps this client out of the channel", async () => {
    const heard = told();
    (await server.accept()).say(sync(1, entry("bob", "b1")));
    server.socket.say({ type: "unsubscribed", channel: CHANNEL, code: "CHANNEL_ACCESS_DENIED" });
    expect([presence.synced, names(), heard]).toEqual([false, [], [false, true, false]]);
  });

  it("tells a late listener at once, and what changed in between only once", async () => {
    const heard = told();
    (await server.accept()).say(sync(1), join(2, "bob", "b1"), leave(3, "bob", "b1"));
    await settle();
    const late = told();
    await settle();
    expect([heard, late]).toEqual([[false, true], [true]]);
  });

  it("is not synced once its client is closed", async () => {
    told();
    (await server.accept()).say(sync(1));
    client.close();
    expect([presence.synced, presence.since]).toEqual([false, undefined]);
  });
});

describe("the reason of a status", () => {
  const reasons = (): [string, string | undefined][] => {
    const heard: [string, string | undefined][] = [];
    client.onStatus((status, reason) => heard.push([status, reason?.code]));
    return heard;
  };

  it("is what ended the connection, which is no error, until there is another one", async () => {
    const heard = reasons();
    presence.onSync(() => {});
    await server.accept();
    expect(client.statusReason).toBeUndefined();
    server.socket.end(1012, "restart");
    expect(client.statusReason).toMatchObject({ code: "CONNECTION_LOST", message: "No connection to ws://example.test/api/realtime (1012 restart)." });
    await pass(1_000);
    await server.accept();
    expect(client.statusReason).toBeUndefined();
    expect(heard).toEqual([
      ["connecting", undefined],
      ["connected", undefined],
      ["reconnecting", "CONNECTION_LOST"],
      ["connected", undefined],
    ]);
    expect(problems).toEqual([]);
  });

  it("is that the server does not answer", async () => {
    presence.onSync(() => {});
    await server.accept();
    await pass(45_000);
    expect(client.status).toBe("reconnecting");
    expect(client.statusReason?.message).toBe("No connection to ws://example.test/api/realtime (0 no answer).");
  });

  it("is that the server cannot be reached, also while the status stays", async () => {
    presence.onSync(() => {});
    await settle();
    expect(client.statusReason).toBeUndefined();
    server.socket.end(1006);
    expect([client.status, client.statusReason?.code]).toEqual(["connecting", "UNREACHABLE"]);
  });

  it.each<[PresenceError["code"], () => void]>([
    ["AUTH_FAILED", () => server.socket.say({ type: "auth_error", code: "AUTH_FAILED", message: "bad" })],
    ["KICKED", () => server.socket.end(4005)],
  ])("is why it failed: %s", async (code, happens) => {
    const heard = reasons();
    presence.onSync(() => {});
    await server.accept();
    happens();
    expect([client.status, client.statusReason?.code]).toEqual(["failed", code]);
    expect(heard.at(-1)).toEqual(["failed", code]);
  });

  it("is that an observer may see nothing", async () => {
    use({});
    presence.onSync(() => {});
    await settle();
    server.socket.open();
    server.socket.say(error("NOT_AUTHENTICATED", CHANNEL));
    expect([client.status, client.statusReason?.code]).toEqual(["failed", "NOT_AUTHENTICATED"]);
  });
});

import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { type Client, createClient, type PresenceError, type State, type User } from "../src/index.js";
import { createTestServer, type TestServer, type TestServerOptions } from "../src/testing.js";
import { pass, settle } from "./fake.js";

const GRACE_MS = 10_000;

let server: TestServer;
let clients: Client[];

beforeEach(() => {
  vi.useFakeTimers();
  clients = [];
});

afterEach(() => {
  for (const client of clients) client.close();
  vi.useRealTimers();
});

function start(options?: TestServerOptions): void {
  server = createTestServer(options);
}

/** A client of this user in the lobby, and what it is told. */
function enter(userId: string, state?: State, claims?: Record<string, unknown>) {
  const client = createClient(server.url, { WebSocket: server.WebSocket, getToken: () => server.token(userId, claims) });
  clients.push(client);
  const lobby = client.realtime.presence("lobby");
  const told: string[] = [];
  const problems: PresenceError[] = [];
  lobby.onJoin((id) => void told.push(`${id} joined`));
  lobby.onUpdate((id) => void told.push(`${id} changed`));
  lobby.onLeave((id, _, { reason }) => void told.push(`${id} left: ${reason}`));
  client.onError((error) => void problems.push(error));
  if (state) lobby.track(state);
  return { client, lobby, told, problems, seen: () => states(lobby.users()) };
}

const states = (users: readonly User[]): object => Object.fromEntries(users.map(({ userId, state }) => [userId, state]));
const members = (): object => Object.fromEntries(server.members("lobby").map(({ userId, state }) => [userId, state]));

describe("the test server", () => {
  it("shows users to each other without any time passing", async () => {
    start();
    const jane = enter("jane", { mood: "curious" });
    const bob = enter("bob");
    await settle();
    expect(bob.seen()).toEqual({ jane: { mood: "curious" } });
    bob.lobby.track({ mood: "busy" });
    await settle();
    expect(jane.seen()).toEqual({ jane: { mood: "curious" }, bob: { mood: "busy" } });
    bob.client.close();
    await settle();
    expect(jane.told).toEqual(["bob joined", "bob left: disconnect"]);
    expect(members()).toEqual({ jane: { mood: "curious" } });
    expect([...jane.problems, ...bob.problems]).toEqual([]);
  });

  // P7.8, P7.9
  it("keeps a member whose connection broke for the grace: who comes back is not missed", async () => {
    start({ disconnectGraceMs: GRACE_MS });
    const jane = enter("jane", { n: 1 });
    await settle();
    const bob = enter("bob");
    await settle();
    const id = jane.client.me?.connectionId;
    server.drop("jane");
    await settle();
    expect(jane.client.status).toBe("reconnecting");
    await pass(GRACE_MS / 2);
    expect(jane.client.status).toBe("connected");
    expect(jane.client.me?.connectionId).toBe(id);
    await pass(2 * GRACE_MS);
    expect(bob.told).toEqual([]);
    expect(bob.seen()).toEqual({ jane: { n: 1 } });
  });

  // P7.8
  it("tells of the leave when the grace is over, not before", async () => {
    start({ disconnectGraceMs: GRACE_MS });
    const jane = enter("jane", { n: 1 });
    await settle();
    const bob = enter("bob");
    await settle();
    const { connectionId } = server.members("lobby")[0] ?? {};
    jane.client.onStatus((status) => status === "reconnecting" && jane.client.close());
    server.drop("jane");
    await pass(GRACE_MS - 1);
    expect(server.members("lobby")[0]?.connectionId).toBe(connectionId);
    expect(bob.told).toEqual([]);
    await pass(1);
    expect(bob.told).toEqual(["jane left: disconnect"]);
  });

  // P7.15
  it("keeps the members of a page that went away for the grace, and for 15 s at most", async () => {
    const page = new EventTarget();
    vi.stubGlobal("addEventListener", page.addEventListener.bind(page));
    vi.stubGlobal("document", { hidden: false });
    start({ disconnectGraceMs: 600_000 });
    enter("jane", { n: 1 });
    await settle();
    vi.unstubAllGlobals();
    const bob = enter("bob");
    await settle();
    page.dispatchEvent(new Event("pagehide"));
    await pass(14_999);
    expect(bob.told).toEqual([]);
    await pass(1);
    expect(bob.told).toEqual(["jane left: disconnect"]);
  });

  // P7.3
  it("ends the lease of a connection of which nothing is heard", async () => {
    start({ presenceTTL: 60_000 });
    enter("jane", { n: 1 });
    await settle();
    const bob = enter("bob");
    await settle();
    server.stall("jane");
    // The client notices that nothing comes, and comes back on another connection.
    await pass(59_999);
    expect(bob.told).toEqual(["jane joined"]);
    expect(server.members("lobby")).toHaveLength(2);
    await pass(1);
    expect(bob.told).toEqual(["jane joined", "jane left: timeout"]);
    expect(bob.seen()).toEqual({ jane: { n: 1 } });
  });

  it("that stops and starts again finds its clients back", async () => {
    start();
    const jane = enter("jane", { n: 1 });
    const bob = enter("bob", { n: 2 });
    await settle();
    server.stop();
    await pass(30_000);
    expect(jane.client.status).toBe("reconnecting");
    expect(jane.seen()).toEqual({ jane: { n: 1 }, bob: { n: 2 } });
    server.start();
    await pass(30_000);
    expect(jane.seen()).toEqual({ jane: { n: 1 }, bob: { n: 2 } });
    expect(members()).toEqual({ jane: { n: 1 }, bob: { n: 2 } });
    expect(bob.client.status).toBe("connected");
  });

  // P4.6, P4.18
  it("has the rules of the configuration file", async () => {
    start({ namespaces: { "presence:*": { access: { track: (auth) => auth.role === "speaker" } } } });
    const jane = enter("jane", { n: 1 }, { role: "speaker" });
    const bob = enter("bob", { n: 2 });
    await settle();
    expect(bob.problems.map(({ code }) => code)).toEqual(["CHANNEL_ACCESS_DENIED"]);
    expect(bob.seen()).toEqual({ jane: { n: 1 } });
    expect(jane.problems).toEqual([]);
  });

  // P1.9, P5.7
  it("shows what a token says of its user, and what the next one says", async () => {
    start();
    const jane = enter("jane", { n: 1 }, { presence: { info: { name: "Jane" } } });
    const bob = enter("bob");
    await settle();
    expect(server.members("lobby")[0]?.info).toEqual({ name: "Jane" });
    expect(bob.lobby.users()[0]).toMatchObject({ info: { name: "Jane" }, state: { n: 1 } });
    jane.client.refresh(server.token("jane", { presence: { info: { name: "J." } } }));
    await settle();
    expect(bob.lobby.users()[0]).toMatchObject({ info: { name: "J." }, state: { n: 1 } });
  });

  // P4.20, P3.16
  it("keeps out whom a backend removed, for as long as it said", async () => {
    start();
    const jane = enter("jane", { n: 1 });
    await settle();
    const bob = enter("bob");
    await settle();
    server.kick("lobby", "jane", 60_000);
    await pass(59_000);
    expect(bob.told).toEqual(["jane left: kicked"]);
    await pass(3_000);
    expect(bob.told).toEqual(["jane left: kicked", "jane joined"]);
    server.disconnect("jane", 60_000);
    await settle();
    expect(jane.client.status).toBe("failed");
  });

  // P3.4, P3.11
  it("ends a connection without a token, and one whose token has expired, when their time is over", async () => {
    start({ authTimeoutMs: 5_000 });
    const codes: number[] = [];
    const socket = new server.WebSocket(server.url);
    socket.onclose = ({ code }: { code: number }) => codes.push(code);
    await pass(4_999);
    expect(codes).toEqual([]);
    await pass(1);
    expect(codes).toEqual([4001]);

    const token = server.token("jane", { exp: Date.now() / 1000 + 10 });
    const client = createClient(server.url, { WebSocket: server.WebSocket, token });
    clients.push(client);
    client.onError(() => {});
    client.realtime.presence("lobby").track({});
    await pass(69_000);
    expect(client.status).toBe("connected");
    await pass(2_000);
    expect(client.status).toBe("failed");
  });

  it("accepts a token that a backend has signed, and none without a user or after its end", async () => {
    start();
    const heard: string[] = [];
    const say = async (token: string): Promise<void> => {
      const socket = new server.WebSocket(server.url);
      socket.onmessage = ({ data }: { data: string }) => heard.push((JSON.parse(data) as { type: string }).type);
      socket.onopen = () => socket.send(JSON.stringify({ type: "auth", token }));
      await settle();
    };
    const part = (claims: object): string => Buffer.from(JSON.stringify(claims)).toString("base64url");
    await say(`${part({ alg: "HS256" })}.${part({ sub: "jäne", exp: 9e9 })}.c2lnbmVk`);
    await say(`${part({})}.${part({ exp: 9e9 })}.x`);
    await say(server.token("jane", { exp: Date.now() / 1000 - 61 }));
    expect(heard).toEqual(["auth_success", "auth_error", "auth_error"]);
  });
});

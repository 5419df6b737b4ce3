/**
 * The client against the real server, over real sockets: what both sides promise, kept together. Runs where
 * HERENOW_BIN names the server's binary.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { connect, createServer, type AddressInfo, type Server, type Socket as NetSocket } from "node:net";
import { createInterface } from "node:readline";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { WebSocket } from "ws";
import { type Client, createClient, type Status, type User } from "../src/index.js";

const BIN = process.env["HERENOW_BIN"];

/** Until the slowest of these things has surely happened, in ms. */
const PATIENCE_MS = 20_000;

const GRACE = { HERENOW_DISCONNECT_GRACE_MS: "10000" };

let server: RealServer;
let clients: Client[];
let sockets: WebSocket[];

/** The package's WebSocket, with a list of those that were made. */
class Recorded extends WebSocket {
  constructor(url: string) {
    super(url);
    sockets.push(this);
  }
}

beforeEach(() => {
  clients = [];
  sockets = [];
});

afterEach(async () => {
  for (const client of clients) client.close();
  await server.kill();
  vi.unstubAllGlobals();
});

if (BIN === undefined) it.skip("set HERENOW_BIN=/path/to/herenow to test against a real server");
else describe("with a real server", { timeout: 2 * PATIENCE_MS }, promises);

function promises(): void {
  it("two users see each other come, change, untrack and go", async () => {
    server = await RealServer.start();
    const jane = enter("jane", { n: 1 });
    await jane.sees({ jane: [{ n: 1 }] });
    const bob = enter("bob", { n: 2 });
    await jane.sees({ jane: [{ n: 1 }], bob: [{ n: 2 }] });
    await bob.sees({ jane: [{ n: 1 }], bob: [{ n: 2 }] });

    bob.presence.track({ n: 3 });
    await jane.sees({ jane: [{ n: 1 }], bob: [{ n: 3 }] });
    bob.presence.untrack();
    await jane.sees({ jane: [{ n: 1 }] });
    await bob.sees({ jane: [{ n: 1 }] });
    bob.presence.track({ n: 4 });
    await jane.sees({ jane: [{ n: 1 }], bob: [{ n: 4 }] });
    bob.client.close();
    await jane.sees({ jane: [{ n: 1 }] });

    expect(jane.heard.map((event) => event.slice(0, 2))).toEqual([
      ["join", "bob"],
      ["update", "bob"],
      ["leave", "bob"],
      ["join", "bob"],
      ["leave", "bob"],
    ]);
    expect(jane.heard.map(([, , , more]) => more)).toEqual([
      { first: true, isMe: false },
      undefined,
      { reason: "leave", last: true, isMe: false },
      { first: true, isMe: false },
      { reason: "disconnect", last: true, isMe: false },
    ]);
    expect(jane.problems).toEqual([]);
  });

  it("one user's tabs are one row", async () => {
    server = await RealServer.start();
    const tab = enter("jane", { tab: 1 });
    await tab.sees({ jane: [{ tab: 1 }] });
    const other = enter("jane", { tab: 2 });
    await tab.sees({ jane: [{ tab: 1 }, { tab: 2 }] });
    expect(tab.presence.users()[0]?.state).toEqual({ tab: 2 });
    other.client.close();
    await tab.sees({ jane: [{ tab: 1 }] });
    expect(tab.heard.map(([, , , more]) => more)).toEqual([
      { first: false, isMe: false },
      { reason: "disconnect", last: false, isMe: false },
    ]);
  });

  it("lists what it sees and nothing that the other did not send, whatever the text", async () => {
    server = await RealServer.start();
    const state = { text: '\u0000"\\/\u2028é😀</script>', numbers: [0, -0.5, 1e21, 1e-7, 5e-324], none: null };
    enter("ünïcødé 😀", state, "a b/ç?#😀");
    const watcher = enter("jane", undefined, "a b/ç?#😀");
    await watcher.sees({ "ünïcødé 😀": [state] });
  });

  it.each(["SIGKILL", "SIGTERM"] as const)("all are back with a true list after %s and a new start", async (signal) => {
    server = await RealServer.start();
    const all = Array.from({ length: 5 }, (_, n) => enter(`user-${n}`, { n }));
    const list = Object.fromEntries(all.map((_, n) => [`user-${n}`, [{ n }]]));
    for (const one of all) await one.sees(list);
    const before = all[0]?.presence.users();
    await server.kill(signal);
    await until(() => all.every(({ client }) => client.status === "reconnecting"));
    expect(all[0]?.presence.users()).toBe(before);
    await server.restart();
    for (const one of all) await one.seesAll(list, (row) => !before?.some((old) => hasConnection(old, row)));
  });

  it("rebuilds a channel that slept, and tells nobody but of what is new", async () => {
    server = await RealServer.start({ HERENOW_HIBERNATE_AFTER_MS: "1000" });
    const jane = enter("jane", { n: 1 });
    const bob = enter("bob", { n: 2 });
    await jane.sees({ jane: [{ n: 1 }], bob: [{ n: 2 }] });
    await until(async () => (await server.metric("herenow_members")) === 0);
    jane.heard.length = 0;
    enter("ann", { n: 3 });
    for (const one of [jane, bob]) await one.sees({ jane: [{ n: 1 }], bob: [{ n: 2 }], ann: [{ n: 3 }] });
    expect(jane.heard.map((event) => event.slice(0, 2))).toEqual([["join", "ann"]]);
  });

  // P7.8, P7.9
  it("nobody sees a socket break where the server waits, and everybody a close", async () => {
    server = await RealServer.start(GRACE);
    const bob = enter("bob", { n: 2 });
    await bob.sees({ bob: [{ n: 2 }] });
    const jane = enter("jane", { n: 1 });
    for (const one of [bob, jane]) await one.sees({ bob: [{ n: 2 }], jane: [{ n: 1 }] });
    for (const n of [2, 3]) {
      const broken = becomes(jane.client, "reconnecting");
      sockets.at(-1)?.terminate();
      await broken;
      await until(() => jane.client.status === "connected");
      jane.presence.track({ n });
      await bob.sees({ bob: [{ n: 2 }], jane: [{ n }] });
    }
    jane.client.close();
    await bob.sees({ bob: [{ n: 2 }] });
    expect(bob.heard.map(([what]) => what)).toEqual(["join", "update", "update", "leave"]);
    expect(new Set(bob.heard.map(([, , connectionId]) => connectionId)).size).toBe(1);
    expect(jane.heard.map(([what]) => what)).not.toContain("leave");
  });

  // P4.23
  it("a field that ends by itself is gone for everybody, and a connection that comes back does not show it again", async () => {
    server = await RealServer.start();
    const bob = enter("bob", undefined);
    await bob.sees({});
    const jane = enter("jane", { n: 1 });
    await bob.sees({ jane: [{ n: 1 }] });
    expect(await jane.presence.patch({ typing: true }, { expire: { typing: 1_000 } })).toBe(true);
    await bob.sees({ jane: [{ n: 1, typing: true }] });
    await bob.sees({ jane: [{ n: 1 }] });
    await jane.sees({ jane: [{ n: 1 }] });
    const states: object[] = [];
    bob.presence.onJoin((_user, _connection, state) => states.push(state));
    bob.presence.onUpdate((_user, _connection, state) => states.push(state));
    const broken = becomes(jane.client, "reconnecting");
    sockets.at(-1)?.terminate();
    await broken;
    await until(() => jane.client.status === "connected");
    expect(await jane.presence.patch({ n: 2 })).toBe(true);
    await bob.sees({ jane: [{ n: 2 }] });
    expect(states.at(-1)).toEqual({ n: 2 });
    expect(states.filter((state) => "typing" in state)).toEqual([]);
  });

  it("the promise of track is the server's answer", async () => {
    server = await RealServer.start({ HERENOW_MAX_MEMBERS: "1" });
    const jane = enter("jane", undefined);
    expect(await jane.presence.track({ n: 1 })).toBe(true);
    expect(await jane.presence.track({ n: 1 })).toBe(true);
    const bob = enter("bob", undefined);
    await expect(bob.presence.track({ n: 1 })).rejects.toMatchObject({ code: "MEMBER_LIMIT" });
  });

  // P7.11
  it("an entry that was untracked while the socket was broken goes when it is back", async () => {
    server = await RealServer.start(GRACE);
    const bob = enter("bob", undefined);
    await bob.sees({});
    const jane = enter("jane", { n: 1 });
    for (const one of [bob, jane]) await one.sees({ jane: [{ n: 1 }] });
    const untracked = becomes(jane.client, "reconnecting").then(() => jane.presence.untrack());
    sockets.at(-1)?.terminate();
    await untracked;
    await bob.sees({});
    await jane.sees({});
    expect(bob.heard.at(-1)?.[3]).toMatchObject({ reason: "leave" });
  });

  it("nobody sees a page that is loaded again, but what the new page does not want", async () => {
    server = await RealServer.start(GRACE);
    const bob = enter("bob", undefined);
    const lobby = enter("bob", undefined, "lobby");
    for (const one of [bob, lobby]) await one.sees({});
    const first = aPage();
    const before = enter("jane", { n: 1 });
    before.client.realtime.presence("lobby").track({ n: 1 });
    await bob.sees({ jane: [{ n: 1 }] });
    await lobby.sees({ jane: [{ n: 1 }] });
    await before.sees({ jane: [{ n: 1 }] });
    first.happens("pagehide");

    aPage();
    const after = enter("jane", { n: 2 });
    await bob.sees({ jane: [{ n: 2 }] });
    expect(bob.heard.map(([what]) => what)).toEqual(["join", "update"]);
    expect(after.heard.map(([what]) => what).filter((what) => what !== "update")).toEqual([]);
    expect(lobby.heard.map(([what]) => what)).toEqual(["join"]);
    await lobby.sees({});
  });

  // P4.22, P4.24, P5.8
  it("counts in more channels than one message names, and has a list only where it is wanted", async () => {
    server = await RealServer.start({ HERENOW_MAX_CHANNELS_PER_CONNECTION: "300" });
    const jane = enter("jane", undefined);
    const rooms = Array.from({ length: 250 }, (_, n) => jane.client.realtime.presence(`room-${n}`));
    const counts = new Map<string, string>();
    for (const room of rooms) room.onCount(({ users, connections }) => counts.set(room.name, `${users}/${connections}`));
    await until(() => counts.size === rooms.length);
    const bobs = [enter("bob", { n: 1 }, "room-7"), enter("bob", { n: 2 }, "room-7")];
    await until(() => counts.get("room-7") === "1/2");
    expect(rooms[7]?.users()).toEqual([]);

    const seen: string[] = [];
    rooms[7]?.onSync((users) => seen.push(users.map(({ userId }) => userId).join()));
    await until(() => seen.at(-1) === "bob");
    bobs[0]?.client.close();
    await until(() => counts.get("room-7") === "1/1");
    expect(new Set(counts.values())).toEqual(new Set(["0/0", "1/1"]));
    expect(jane.problems).toEqual([]);
  });

  it("nobody sees a network that is gone for three seconds", async () => {
    server = await RealServer.start(GRACE);
    const bob = enter("bob", undefined);
    await bob.sees({});
    const page = aPage();
    const network = await Network.to(server.port);
    const jane = enter("jane", { n: 1 }, "game-room", network.url);
    for (const one of [bob, jane]) await one.sees({ jane: [{ n: 1 }] });
    network.stall();
    page.happens("offline");
    await until(() => jane.client.status === "reconnecting");
    network.flow();
    page.happens("online");
    await until(() => jane.client.status === "connected");
    jane.presence.track({ n: 2 });
    await bob.sees({ jane: [{ n: 2 }] });
    expect(bob.heard.map(([what]) => what)).toEqual(["join", "update"]);
    expect(new Set(bob.heard.map(([, , connectionId]) => connectionId)).size).toBe(1);
    await network.close();
  });
}

type Heard = [what: string, userId: string, connectionId: string, more?: { first?: boolean; last?: boolean; reason?: string }];
type States = Record<string, unknown[]>;

/** A client of `user`, with all that it hears. */
function enter(user: string, state: object | undefined, name = "game-room", url = server.url) {
  const client = createClient(url, { WebSocket: Recorded as never, getToken: () => server.token(user) });
  clients.push(client);
  const presence = client.realtime.presence(name);
  const heard: Heard[] = [];
  const problems: string[] = [];
  client.onError((problem) => problems.push(problem.code));
  presence.onJoin((userId, connectionId, _state, more) => heard.push(["join", userId, connectionId, more]));
  presence.onUpdate((userId, connectionId) => heard.push(["update", userId, connectionId]));
  presence.onLeave((userId, connectionId, more) => heard.push(["leave", userId, connectionId, more]));
  if (state) presence.track(state as never);

  /** Waits for a list with these states of each user, where each row is as it should be. */
  const seesAll = (states: States, isRight: (row: User) => boolean): Promise<void> =>
    new Promise((resolve, reject) => {
      const late = setTimeout(() => {
        end();
        reject(new Error(`${user} sees ${JSON.stringify(presence.users())}, not ${JSON.stringify(states)}`));
      }, PATIENCE_MS);
      const end = presence.onSync((users) => {
        if (!isSame(users, states) || !users.every(isRight)) return;
        clearTimeout(late);
        // Not at once: the list may be told before the first of its waiters is.
        queueMicrotask(() => end());
        resolve();
      });
    });
  return { client, presence, heard, problems, seesAll, sees: (states: States) => seesAll(states, () => true) };
}

function isSame(users: readonly User[], states: States): boolean {
  const seen = users.map((user): [string, string[]] => [user.userId, user.connections.map(({ state }) => JSON.stringify(state))]);
  const meant = Object.entries(states).map(([user, list]): [string, string[]] => [user, list.map((state) => JSON.stringify(state))]);
  return JSON.stringify(seen.sort()) === JSON.stringify(meant.sort());
}

function hasConnection(old: User, row: User): boolean {
  return old.connections.some((one) => row.connections.some((other) => one.connectionId === other.connectionId));
}

/** To look for the status now and then might miss a quick return. */
function becomes(client: Client, wanted: Status): Promise<void> {
  return new Promise((resolve) => {
    client.onStatus((status) => {
      if (status === wanted) resolve();
    });
  });
}

async function until(isSo: () => boolean | Promise<boolean>): Promise<void> {
  await vi.waitFor(async () => expect(await isSo()).toBe(true), { timeout: PATIENCE_MS, interval: 20 });
}

/** What the library sees of a browser's page, from now on. */
function aPage(): { happens(name: string): void } {
  const page = new EventTarget();
  const items = (globalThis as { sessionStorage?: Partial<Storage> }).sessionStorage ?? storage();
  vi.stubGlobal("sessionStorage", items);
  vi.stubGlobal("addEventListener", page.addEventListener.bind(page));
  vi.stubGlobal("document", { visibilityState: "visible" });
  return { happens: (name) => void page.dispatchEvent(Object.assign(new Event(name), { persisted: false })) };
}

function storage(): Partial<Storage> {
  const items = new Map<string, string>();
  return {
    getItem: (key) => items.get(key) ?? null,
    setItem: (key, value) => void items.set(key, value),
    removeItem: (key) => void items.delete(key),
  };
}

/** The development server, on a port that it keeps over restarts. */
class RealServer {
  port = 0;
  #settings: Record<string, string>;
  #process: ChildProcess | undefined;

  static async start(settings: Record<string, string> = {}): Promise<RealServer> {
    const started = new RealServer(settings);
    await started.restart();
    return started;
  }

  private constructor(settings: Record<string, string>) {
    this.#settings = settings;
  }

  get url(): string {
    return `http://127.0.0.1:${this.port}`;
  }

  async restart(): Promise<void> {
    const child = spawn(BIN ?? "", ["dev", "--port", String(this.port)], {
      env: { ...process.env, JWT_USER_SECRET: "the same before and after a restart", ...this.#settings },
      stdio: ["ignore", "pipe", "inherit"],
    });
    this.#process = child;
    for await (const line of createInterface(child.stdout)) {
      const ready = /http:\/\/127\.0\.0\.1:(\d+)\//.exec(line);
      if (!ready) continue;
      this.port = Number(ready[1]);
      child.stdout.resume();
      return;
    }
    throw new Error("the server ended before it was ready");
  }

  async kill(signal: NodeJS.Signals = "SIGKILL"): Promise<void> {
    const child = this.#process;
    if (!child || child.exitCode !== null || child.signalCode !== null) return;
    child.kill(signal);
    await once(child, "exit");
  }

  async token(userId: string): Promise<string> {
    const response = await fetch(`${this.url}/dev/token`, { method: "POST", body: JSON.stringify({ userId }) });
    return ((await response.json()) as { token: string }).token;
  }

  async metric(name: string): Promise<number> {
    const text = await (await fetch(`${this.url}/metrics`)).text();
    return Number(new RegExp(`^${name} (\\S+)$`, "m").exec(text)?.[1]);
  }
}

/** A wire to the server that can stand still: nothing is closed, and nothing gets through. */
class Network {
  #server: Server;
  #pairs: [NetSocket, NetSocket][] = [];
  #stalled = false;

  static async to(port: number): Promise<Network> {
    const network = new Network(port);
    network.#server.listen(0, "127.0.0.1");
    await once(network.#server, "listening");
    return network;
  }

  private constructor(port: number) {
    this.#server = createServer((near) => {
      if (this.#stalled) return void near.destroy();
      const far = connect(port, "127.0.0.1");
      this.#pairs.push([near, far]);
      near.pipe(far).on("error", () => near.destroy());
      far.pipe(near).on("error", () => far.destroy());
    });
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  stall(): void {
    this.#stalled = true;
    for (const [near, far] of this.#pairs) near.unpipe(far), far.unpipe(near);
  }

  /** What was sent meanwhile arrives, first of all. */
  flow(): void {
    this.#stalled = false;
    for (const [near, far] of this.#pairs) near.pipe(far), far.pipe(near);
  }

  async close(): Promise<void> {
    for (const pair of this.#pairs) for (const socket of pair) socket.destroy();
    this.#server.close();
    await once(this.#server, "close");
  }
}

import { afterEach, beforeEach, expect, it, vi } from "vitest";
import type { Client } from "../src/index.js";
import { count, me, status, users } from "../src/svelte.js";
import { CHANNEL, entry, FakeServer, join, settle, sync, update } from "./fake.js";

let server: FakeServer;
let client: Client;

beforeEach(() => {
  vi.useFakeTimers();
  server = new FakeServer();
  client = server.client();
});

afterEach(async () => {
  client.close();
  await settle();
  expect(vi.getTimerCount()).toBe(0);
  vi.useRealTimers();
});

it("tells the present value at once, then each other one, and nothing after the end", async () => {
  const heard: unknown[] = [];
  const store = users(client, "game-room");
  const end = store.subscribe((list) => heard.push(list.map(({ userId }) => userId)));
  expect(heard).toEqual([[]]);
  store.track({ n: 1 });
  const socket = await server.accept();
  expect(socket.take()).toContainEqual({ type: "presence_join", channel: CHANNEL, state: { n: 1 } });
  socket.say(sync(1, entry("jane", "me")), join(2, "bob", "b1"));
  await settle();
  expect(heard).toEqual([[], ["jane", "bob"]]);
  store.close();
  end();
  socket.say(join(3, "ann", "a1"));
  await settle();
  expect(heard).toHaveLength(2);
  expect(socket.take()).toEqual([{ type: "unsubscribe", channel: CHANNEL }]);
});

it("connects to nothing before something subscribes", async () => {
  users(client, "game-room");
  count(client, "game-room");
  status(client).subscribe(() => {});
  me(client).subscribe(() => {});
  await settle();
  expect(server.sockets).toHaveLength(0);
});

it("tells a count, a status and who this client is only where they change", async () => {
  const counts: number[] = [];
  const statuses: string[] = [];
  const mine: unknown[] = [];
  count(client, "game-room").subscribe((now) => counts.push(now));
  status(client).subscribe((now) => statuses.push(now));
  me(client).subscribe((now) => mine.push(now?.userId));
  const socket = await server.accept();
  socket.say(sync(1, entry("bob", "b1")));
  await settle();
  for (let seq = 2; seq < 10; seq++) {
    socket.say(update(seq, "bob", "b1", { seq }));
    await settle();
  }
  expect(counts).toEqual([0, 1]);
  expect(statuses).toEqual(["connecting", "connected"]);
  expect(mine).toEqual([undefined, "jane"]);
});

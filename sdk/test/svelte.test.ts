import { expect, it } from "vitest";
import { count, me, status, statusReason, synced, users } from "../src/svelte.js";
import { CHANNEL, entry, join, settle, sync } from "./fake.js";
import { client, server, track, UNSUBSCRIBE } from "./scene.js";

it("tells the present value at once, then each other one, and nothing after the end", async () => {
  const heard: unknown[] = [];
  const store = users(client, "game-room");
  const end = store.subscribe((list) => heard.push(list.map(({ userId }) => userId)));
  expect(heard).toEqual([[]]);
  store.track({ n: 1 });
  const socket = await server.accept();
  expect(socket.take()).toContainEqual(track({ n: 1 }));
  socket.say(sync(1, entry("jane", "me")), join(2, "bob", "b1"));
  await settle();
  expect(heard).toEqual([[], ["jane", "bob"]]);
  store.close();
  end();
  socket.say(join(3, "ann", "a1"));
  await settle();
  expect(heard).toHaveLength(2);
  expect(socket.take()).toEqual([UNSUBSCRIBE]);
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
  expect(socket.take()).toContainEqual({ type: "subscribe", channels: [CHANNEL], mode: "count" });
  for (let seq = 1; seq < 10; seq++) {
    socket.say({ type: "presence_count", channel: CHANNEL, epoch: 1, seq, users: 1, connections: seq });
    await settle();
  }
  expect(counts).toEqual([0, 1]);
  expect(statuses).toEqual(["connecting", "connected"]);
  expect(mine).toEqual([undefined, "jane"]);
});

it("says whether a list is current, and why the connection is not open", async () => {
  const heard: unknown[] = [];
  synced(client, "game-room").subscribe((now) => heard.push(now));
  statusReason(client).subscribe((now) => heard.push(now?.code));
  (await server.accept()).say(sync(1));
  await settle();
  server.socket.end(1006);
  expect(heard).toEqual([false, undefined, true, false, "CONNECTION_LOST"]);
});

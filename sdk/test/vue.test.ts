// @vitest-environment happy-dom
import { expect, it, vi } from "vitest";
import { effectScope, nextTick, ref, watch } from "vue";
import { useCount, usePresence } from "../src/vue.js";
import { CHANNEL, entry, join, pass, settle, sync, update } from "./fake.js";
import { client, said, server, track, UNSUBSCRIBE } from "./scene.js";

it("shows who is here, tracks what a ref holds, and leaves with its scope", async () => {
  const state = ref<{ n: number } | undefined>({ n: 1 });
  const scope = effectScope();
  const here = scope.run(() => usePresence(client, "game-room", state));
  await server.accept();
  expect(said()).toEqual([track({ n: 1 })]);
  server.socket.say(sync(1, entry("jane", "me")), join(2, "bob", "b1"));
  await settle();
  expect(here?.users.value.map(({ userId }) => userId)).toEqual(["jane", "bob"]);
  expect([here?.count.value, here?.status.value, here?.me.value?.userId]).toEqual([2, "connected", "jane"]);
  state.value = { n: 2 };
  await nextTick();
  await pass(50);
  expect(said()).toEqual([track({ n: 2 })]);
  scope.stop();
  await settle();
  expect(said()).toEqual([UNSUBSCRIBE]);
});

it("counts without a list where nothing else is wanted", async () => {
  const scope = effectScope();
  const count = scope.run(() => useCount(client, "game-room"));
  await server.accept();
  expect(said()).toEqual([{ type: "subscribe", channels: [CHANNEL], mode: "count" }]);
  server.socket.say({ type: "presence_count", channel: CHANNEL, epoch: 1, seq: 1, users: 2, connections: 3 });
  expect(count?.value).toBe(2);
  scope.stop();
  await settle();
  expect(said()).toEqual([UNSUBSCRIBE]);
});

it("gives a state that is too large as an error, until there is another", async () => {
  const state = ref<object>({ text: "x".repeat(2_000) });
  const scope = effectScope();
  const here = scope.run(() => usePresence(client, "game-room", () => state.value));
  expect(here?.error.value?.code).toBe("STATE_TOO_LARGE");
  state.value = { n: 1 };
  await nextTick();
  expect(here?.error.value).toBeUndefined();
  scope.stop();
  await settle();
});

it("changes no count where a cursor moves", async () => {
  const scope = effectScope();
  const counted = vi.fn();
  scope.run(() => watch(usePresence(client, "game-room").count, counted));
  await server.accept();
  server.socket.say(sync(1, entry("bob", "b1")));
  await settle();
  await nextTick();
  for (let seq = 2; seq < 10; seq++) {
    server.socket.say(update(seq, "bob", "b1", { seq }));
    await settle();
    await nextTick();
  }
  expect(counted).toHaveBeenCalledTimes(1);
  scope.stop();
  await settle();
});

it("says whether the list is current, and why the connection is not open", async () => {
  const scope = effectScope();
  const here = scope.run(() => usePresence(client, "game-room"));
  (await server.accept()).say(sync(1, entry("bob", "b1")));
  await settle();
  expect([here?.synced.value, here?.statusReason.value]).toEqual([true, undefined]);
  server.socket.end(1006);
  expect([here?.synced.value, here?.statusReason.value?.code]).toEqual([false, "CONNECTION_LOST"]);
  expect(here?.users.value).toHaveLength(1);
  scope.stop();
  await settle();
});

it("does nothing on a server", async () => {
  vi.stubGlobal("window", undefined);
  const scope = effectScope();
  const here = scope.run(() => usePresence(client, "game-room", { n: 1 }));
  expect(here?.users.value).toEqual([]);
  await settle();
  expect(server.sockets).toHaveLength(0);
  scope.stop();
});

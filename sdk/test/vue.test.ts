// @vitest-environment happy-dom
import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { effectScope, nextTick, ref, watch } from "vue";
import type { Client } from "../src/index.js";
import { usePresence } from "../src/vue.js";
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
  vi.useRealTimers();
  vi.unstubAllGlobals();
});

const track = (state: object): object => ({ type: "presence_join", channel: CHANNEL, state });
const said = (): object[] => server.socket.take().filter(({ type }) => type !== "auth");

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
  await settle();
  expect(said()).toEqual([track({ n: 2 })]);
  scope.stop();
  await settle();
  expect(said()).toEqual([{ type: "unsubscribe", channel: CHANNEL }]);
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

it("does nothing on a server", async () => {
  vi.stubGlobal("window", undefined);
  const scope = effectScope();
  const here = scope.run(() => usePresence(client, "game-room", { n: 1 }));
  expect(here?.users.value).toEqual([]);
  await settle();
  expect(server.sockets).toHaveLength(0);
  scope.stop();
});

// @vitest-environment happy-dom
import { act, createElement, StrictMode, useState } from "react";
import { createRoot, type Root } from "react-dom/client";
import { afterEach, beforeEach, expect, it, vi } from "vitest";
import type { Client } from "../src/index.js";
import { usePresence } from "../src/react.js";
import { CHANNEL, entry, error, FakeServer, join, settle, sync } from "./fake.js";

let server: FakeServer;
let client: Client;
let root: Root;
let place: HTMLElement;

beforeEach(() => {
  vi.useFakeTimers();
  vi.stubGlobal("IS_REACT_ACT_ENVIRONMENT", true);
  vi.spyOn(console, "error").mockImplementation(() => {});
  server = new FakeServer();
  client = server.client();
  place = document.createElement("div");
  root = createRoot(place);
});

afterEach(async () => {
  await act(async () => root.unmount());
  client.close();
  await settle();
  vi.useRealTimers();
  vi.unstubAllGlobals();
  vi.restoreAllMocks();
});

function Names({ name = "game-room", state }: { name?: string; state?: object }): string {
  const { users, status, error } = usePresence(client, name, state);
  return `${status}: ${users.map((user) => user.userId).join(", ")}${error ? ` ${error.code}` : ""}`;
}

async function show(element: Parameters<Root["render"]>[0]): Promise<void> {
  await act(async () => root.render(element));
  // What is taken back, is taken back one task after the effects.
  await act(settle);
}

/** What was sent but the token. */
const said = (): object[] => server.socket.take().filter((frame) => frame["type"] !== "auth");
const track = (state: object): object => ({ type: "presence_join", channel: CHANNEL, state });

it("shows who is here, and everything that changes", async () => {
  await show(createElement(Names));
  await act(() => server.accept());
  expect(said()).toEqual([{ type: "subscribe", channel: CHANNEL }]);
  await act(async () => {
    server.socket.say(sync(1, entry("jane", "j1")), join(2, "bob", "b1"));
    await settle();
  });
  expect(place.textContent).toBe("connected: jane, bob");
  await act(async () => server.socket.say(error("RATE_LIMITED", CHANNEL)));
  expect(place.textContent).toBe("connected: jane, bob RATE_LIMITED");
});

it("tracks once in StrictMode, sends only states that differ, and leaves when unmounted", async () => {
  const strict = (state?: object): ReturnType<typeof createElement> =>
    createElement(StrictMode, null, createElement(Names, state ? { state } : {}));
  await show(strict({ n: 1 }));
  await act(() => server.accept());
  expect(server.sockets).toHaveLength(1);
  expect(said()).toEqual([track({ n: 1 })]);
  await show(strict({ n: 1 }));
  expect(said()).toEqual([]);
  await show(strict({ n: 2 }));
  expect(said()).toEqual([track({ n: 2 })]);
  await show(strict());
  // No list has come yet, so the track may still wait, and take its subscription with it.
  const subscribe = { type: "subscribe", channel: CHANNEL };
  expect(said()).toEqual([{ type: "presence_leave", channel: CHANNEL }, subscribe]);
  await show(strict({ n: 3 }));
  said();
  await show(null);
  expect(said()).toEqual([{ type: "unsubscribe", channel: CHANNEL }]);
});

it("keeps the subscription that another component still uses", async () => {
  let hide: () => void = () => {};
  function Both(): ReturnType<typeof createElement> {
    const [both, setBoth] = useState(true);
    hide = () => setBoth(false);
    return createElement("p", null, createElement(Names, { key: 1 }), both && createElement(Names, { key: 2 }));
  }
  await show(createElement(Both));
  await act(() => server.accept());
  said();
  await act(async () => hide());
  await act(settle);
  expect(said()).toEqual([]);
});

it("moves to another channel with its state", async () => {
  await show(createElement(Names, { state: { n: 1 } }));
  await act(() => server.accept());
  said();
  await show(createElement(Names, { name: "lobby", state: { n: 1 } }));
  expect(said()).toEqual([
    { type: "presence_join", channel: "presence:lobby", state: { n: 1 } },
    { type: "unsubscribe", channel: CHANNEL },
  ]);
});

// @vitest-environment happy-dom
import { act, createElement, type ReactNode, StrictMode, useState, version } from "react";
import { createRoot, hydrateRoot, type Root } from "react-dom/client";
import { renderToString } from "react-dom/server";
import { afterEach, beforeEach, expect, it, vi } from "vitest";
import type { Client } from "../src/index.js";
import { PresenceProvider, useCount, useMe, usePresence, useStatus, useUsers } from "../src/react.js";
import { CHANNEL, entry, error, FakeServer, join, pass, settle, sync, update } from "./fake.js";

let server: FakeServer;
let client: Client;
let root: Root;
let place: HTMLElement;

beforeEach(() => {
  vi.useFakeTimers();
  vi.stubGlobal("IS_REACT_ACT_ENVIRONMENT", true);
  vi.spyOn(console, "error").mockImplementation(() => {});
  vi.spyOn(console, "warn").mockImplementation(() => {});
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

function Names({ name, state }: { name?: string | undefined; state?: object }): string {
  const { users, status, error } = usePresence(name, state);
  return `${status}: ${users.map((user) => user.userId).join(", ")}${error ? ` ${error.code}` : ""}`;
}

const provided = (...children: ReactNode[]): ReturnType<typeof createElement> =>
  createElement(PresenceProvider, { client, channel: "game-room" }, ...children);
const names = (props: Parameters<typeof Names>[0] = {}): ReturnType<typeof createElement> =>
  createElement(Names, { name: "game-room", ...props });

async function show(element: Parameters<Root["render"]>[0]): Promise<void> {
  await act(async () => root.render(element));
  // What is taken back, is taken back one task after the effects.
  await act(settle);
}

/** What was sent but the token. */
const said = (): object[] => server.socket.take().filter((frame) => frame["type"] !== "auth");
const says = (...frames: Parameters<FakeServer["socket"]["say"]>): Promise<void> =>
  act(async () => {
    server.socket.say(...frames);
    await settle();
  });
const track = (state: object): object => ({ type: "presence_join", channel: CHANNEL, state });

it("runs with the React that this project of vitest is for", () => {
  expect(version.split(".")[0]).toBe(process.env["REACT"]);
});

it("shows who is here, and everything that changes", async () => {
  await show(provided(names()));
  await act(() => server.accept());
  expect(said()).toEqual([{ type: "subscribe", channels: [CHANNEL] }]);
  await says(sync(1, entry("jane", "j1")), join(2, "bob", "b1"));
  expect(place.textContent).toBe("connected: jane, bob");
});

it("shows an error until it is over", async () => {
  await show(provided(names({ state: { n: 1 } })));
  await act(() => server.accept());
  await says(sync(1, entry("bob", "b1")), error("MEMBER_LIMIT", CHANNEL));
  expect(place.textContent).toBe("connected: bob MEMBER_LIMIT");
  await says(join(2, "ann", "a1"));
  expect(place.textContent).toBe("connected: bob, ann MEMBER_LIMIT");
  await says(join(3, "jane", "me"));
  expect(place.textContent).toBe("connected: bob, ann, jane");
  await act(async () => server.socket.end(1006));
  await act(() => pass(4_000));
  await act(async () => server.socket.end(1006));
  expect(place.textContent).toContain("UNREACHABLE");
  await act(() => pass(4_000));
  await act(() => server.accept());
  expect(place.textContent).toBe("connected: bob, ann, jane");
});

it("gives a state that is too large as an error, and keeps the page and the state before", async () => {
  await show(provided(names({ state: { n: 1 } })));
  await act(() => server.accept());
  said();
  await says(sync(1, entry("jane", "me")));
  await show(provided(names({ state: { text: "x".repeat(2_000) } })));
  expect(place.textContent).toBe("connected: jane STATE_TOO_LARGE");
  expect(said()).toEqual([]);
  await show(provided(names({ state: { n: 2 } })));
  expect(place.textContent).toBe("connected: jane");
  await act(() => pass(50));
  expect(said()).toEqual([track({ n: 2 })]);
});

it("tracks once in StrictMode, sends only states that differ, and leaves when unmounted", async () => {
  const strict = (state?: object): ReturnType<typeof createElement> =>
    createElement(StrictMode, null, provided(names(state ? { state } : {})));
  await show(strict({ n: 1 }));
  await act(() => server.accept());
  expect(server.sockets).toHaveLength(1);
  expect(said()).toEqual([track({ n: 1 })]);
  await show(strict({ n: 1 }));
  expect(said()).toEqual([]);
  await show(strict({ n: 2 }));
  await act(() => pass(50));
  expect(said()).toEqual([track({ n: 2 })]);
  await show(strict());
  // No list has come yet, so the track may still wait, and take its subscription with it.
  const subscribe = { type: "subscribe", channels: [CHANNEL] };
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
    return createElement("p", null, names(), both && names());
  }
  await show(provided(createElement(Both)));
  await act(() => server.accept());
  said();
  await act(async () => hide());
  await act(settle);
  expect(said()).toEqual([]);
});

it("moves to another channel with its state", async () => {
  await show(provided(names({ state: { n: 1 } })));
  await act(() => server.accept());
  said();
  await show(provided(names({ name: "lobby", state: { n: 1 } })));
  expect(said()).toEqual([
    { type: "presence_join", channel: "presence:lobby", state: { n: 1 } },
    { type: "unsubscribe", channel: CHANNEL },
  ]);
});

it("does nothing without a name, and begins with one", async () => {
  await show(provided(names({ name: undefined, state: { n: 1 } })));
  expect(server.sockets).toHaveLength(0);
  expect(place.textContent).toBe("idle: ");
  await show(provided(names({ state: { n: 1 } })));
  await act(() => server.accept());
  expect(said()).toEqual([track({ n: 1 })]);
});

it("renders again only what selected the change: 100 moves of one of 21 users render no count", async () => {
  const renders = { all: 0, count: 0, mover: 0, still: 0, ids: 0, me: 0, status: 0 };
  type Moving = { x: number };
  const stateOf = (userId: string) => (users: readonly { userId: string; state: Moving }[]) =>
    users.find((user) => user.userId === userId)?.state.x;
  const counted = (what: keyof typeof renders, use: () => unknown) => {
    const Counted = (): null => {
      renders[what] += 1;
      use();
      return null;
    };
    return createElement(Counted, { key: what });
  };
  await show(
    provided(
      counted("all", () => useUsers()),
      counted("count", () => useCount()),
      counted("mover", () => useUsers<Moving, unknown>(stateOf("user-0"))),
      counted("still", () => useUsers<Moving, unknown>(stateOf("user-1"))),
      // A new array each time, of the same texts.
      counted("ids", () => useUsers<Moving, unknown>((users) => users.map((user) => user.userId))),
      counted("me", () => useMe()),
      counted("status", () => useStatus()),
    ),
  );
  await act(() => server.accept());
  await says(sync(1, ...Array.from({ length: 21 }, (_, n) => entry(`user-${n}`, `c${n}`, { x: 0 }))));
  const before = { ...renders };
  for (let move = 1; move <= 100; move++) await says(update(1 + move, "user-0", "c0", { x: move }));
  const after = Object.fromEntries(Object.entries(renders).map(([what, n]) => [what, n - before[what as "all"]]));
  expect(after).toEqual({ all: 100, count: 0, mover: 100, still: 0, ids: 0, me: 0, status: 0 });
});

it("counts without a list where nothing else is wanted", async () => {
  const Count = (): string => String(useCount());
  await show(provided(createElement(Count)));
  await act(() => server.accept());
  expect(said()).toEqual([{ type: "subscribe", channels: [CHANNEL], mode: "count" }]);
  await says({ type: "presence_count", channel: CHANNEL, epoch: 1, seq: 1, users: 2, connections: 3 });
  expect(place.textContent).toBe("2");
  await show(provided(createElement(Count), names()));
  expect(said()).toEqual([{ type: "subscribe", channels: [CHANNEL] }]);
});

it("says who this client is", async () => {
  const Who = (): string => useMe()?.userId ?? "nobody";
  await show(provided(createElement(Who), names()));
  expect(place.textContent).toContain("nobody");
  await act(() => server.accept());
  expect(place.textContent).toContain("jane");
});

it("renders on a server and hydrates without a word and without a socket", async () => {
  const Page = (): ReturnType<typeof createElement> => {
    const all = [useCount(), useMe(), useStatus(), useUsers().length];
    return createElement("p", null, JSON.stringify(all), names({ state: { n: 1 } }));
  };
  const html = renderToString(provided(createElement(Page)));
  expect(server.sockets).toHaveLength(0);
  const sent = document.createElement("div");
  sent.innerHTML = html;
  let hydrated: Root | undefined;
  await act(async () => {
    hydrated = hydrateRoot(sent, provided(createElement(Page)));
  });
  expect(console.error).not.toHaveBeenCalled();
  await act(() => server.accept());
  expect(sent.textContent).toContain("connected");
  await act(async () => hydrated?.unmount());
});

it("warns of a client that a component makes anew, and of a hook without a provider", async () => {
  const other = server.client();
  await show(createElement(PresenceProvider, { client }, names()));
  expect(console.warn).not.toHaveBeenCalled();
  await show(createElement(PresenceProvider, { client: other }, names()));
  expect(console.warn).toHaveBeenCalledExactlyOnceWith(expect.stringContaining("outside of components"));
  other.close();
  expect(() => renderToString(names())).toThrow("PresenceProvider");
});

/**
 * The client over real sockets, with the WebSocket of the package ws, as on Node 20.
 */
import { once } from "node:events";
import type { AddressInfo } from "node:net";
import { afterEach, beforeEach, expect, it } from "vitest";
import { type WebSocket as Peer, WebSocket, WebSocketServer } from "ws";
import { createClient } from "../src/index.js";
import { CHANNEL, entry, type Frame, join, sync } from "./fake.js";

let server: WebSocketServer;

beforeEach(async () => {
  server = new WebSocketServer({ host: "127.0.0.1", port: 0, path: "/api/realtime" });
  await once(server, "listening");
});

afterEach(() => {
  server.close();
});

it("authenticates, tracks, hears, and comes back by itself", async () => {
  const { port } = server.address() as AddressInfo;
  const client = createClient(`http://127.0.0.1:${port}`, { token: "t", WebSocket });
  const presence = client.realtime.presence<{ n: number }>("game-room");
  const lists = queue<string[]>();
  presence.onSync((users) => lists.put(users.map((user) => user.userId)));
  presence.track({ n: 1 });

  const first = await accepted();
  expect(await first.next()).toEqual({ type: "auth", token: "t" });
  expect(await first.next()).toMatchObject({ type: "presence_join", channel: CHANNEL, state: { n: 1 } });
  first.say({ type: "auth_success", userId: "jane", connectionId: "one" }, sync(1, entry("jane", "one")));
  expect(await lists.next()).toEqual(["jane"]);
  first.say(join(2, "bob", "b1"));
  expect(await lists.next()).toEqual(["jane", "bob"]);

  first.peer.close(1012, '{"retryAfterMs":0}');
  const second = await accepted();
  expect(await second.next()).toEqual({ type: "auth", token: "t" });
  expect(await second.next()).toMatchObject({ type: "presence_join", channel: CHANNEL, state: { n: 1 } });
  second.say({ type: "auth_success", userId: "jane", connectionId: "two" }, sync(1, entry("jane", "two")));
  expect(await lists.next()).toEqual(["jane"]);

  const closed = once(second.peer, "close");
  client.close();
  expect((await closed)[0]).toBe(1000);
});

interface Accepted {
  peer: Peer;
  next(): Promise<Frame>;
  say(...frames: Frame[]): void;
}

async function accepted(): Promise<Accepted> {
  const [peer] = (await once(server, "connection")) as [Peer];
  const frames = queue<Frame>();
  peer.on("message", (data) => frames.put(JSON.parse(String(data)) as Frame));
  return { peer, next: frames.next, say: (...said) => said.forEach((frame) => peer.send(JSON.stringify(frame))) };
}

/** What is put in comes out in order, to who waits for it. */
function queue<T>(): { put(item: T): void; next(): Promise<T> } {
  const items: T[] = [];
  const waiting: ((item: T) => void)[] = [];
  return {
    put(item) {
      const taker = waiting.shift();
      if (taker) taker(item);
      else items.push(item);
    },
    next: () =>
      new Promise((resolve) => {
        const item = items.shift();
        if (item === undefined) waiting.push(resolve);
        else resolve(item);
      }),
  };
}

import { describe, expect, it, vi } from "vitest";
import { online } from "../src/online.js";
import { type Frame, pass, settle } from "./fake.js";
import { client, problems, said, server, track } from "./scene.js";

const names = (count: number, of = (n: number): string => `room-${n}`): string[] => Array.from({ length: count }, (_, n) => of(n));

function listenTo(all: readonly string[]): void {
  for (const name of all) client.realtime.presence(name).onSync(() => {});
}

const sizes = (frames: object[]): unknown[] => frames.map((frame) => (frame as { channels: string[] }).channels.length);

// P4.24
describe("channels that are subscribed to together", () => {
  it("are in one message, at most a hundred, also after a reconnect", async () => {
    listenTo(names(250));
    await server.accept();
    const first = said();
    expect(sizes(first)).toEqual([100, 100, 50]);
    expect(first.flatMap((frame) => (frame as Frame)["channels"])).toEqual(names(250).map((name) => `presence:${name}`));
    server.socket.end(1006);
    await pass(2_000);
    await server.accept("me-2");
    expect(said()).toEqual(first);
  });

  it("are fewer where their names are long: no message is larger than the server takes", async () => {
    // Three bytes each.
    listenTo(names(100, (n) => `${"漢".repeat(60)}${n}`));
    const socket = await server.accept();
    const sent = said();
    const bytes = sent.map((frame) => new TextEncoder().encode(JSON.stringify(frame)).length);
    expect(Math.max(...bytes)).toBeLessThan(16_384);
    expect(Math.max(...bytes)).toBeGreaterThan(13_000);
    expect(sent.flatMap((frame) => (frame as Frame)["channels"])).toHaveLength(100);
    expect(socket.take()).toEqual([]);
  });

  it("are apart from those that are only counted, and in order with everything else", async () => {
    listenTo(["one"]);
    client.realtime.presence("two").onCount(() => {});
    client.realtime.presence("three").onCount(() => {});
    client.realtime.presence("game-room").track({ n: 1 });
    listenTo(["four"]);
    await server.accept();
    expect(said()).toEqual([
      { type: "subscribe", channels: ["presence:one"] },
      { type: "subscribe", channels: ["presence:two", "presence:three"], mode: "count" },
      track({ n: 1 }),
      { type: "subscribe", channels: ["presence:four"] },
    ]);
  });

  it("are asked for again where the message was one too many, which is told once", async () => {
    listenTo(names(3));
    await server.accept();
    said();
    server.socket.say({ type: "error", code: "RATE_LIMITED", message: "too many" });
    expect(problems).toEqual(["RATE_LIMITED"]);
    await pass(2_000);
    expect(said().flatMap((frame) => (frame as Frame)["channels"])).toEqual(names(3).map((name) => `presence:${name}`));
    for (const name of names(3)) server.socket.say({ type: "subscribed", channel: `presence:${name}` });
    server.socket.say({ type: "error", code: "RATE_LIMITED", message: "too many" });
    await pass(30_000);
    expect(said()).toEqual([]);
  });

  it("are ten messages for a thousand friends", async () => {
    const warned = vi.fn();
    online(client, names(1_000, (n) => `0f8fad5b-d9cb-469f-a165-70867728${n}`.slice(0, 36)), warned);
    await server.accept();
    await settle();
    expect(said()).toHaveLength(10);
  });
});

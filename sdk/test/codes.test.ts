/**
 * What this library does after each code, against the table that the documentation, the server and the Rust client are
 * tested from as well.
 */
import { readFileSync } from "node:fs";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { closeAdvice } from "../src/protocol.js";
import { CHANNEL, error, FakeServer, pass, settle } from "./fake.js";

const read = (path: string): string => readFileSync(new URL(path, import.meta.url), "utf8");
const codes = JSON.parse(read("../../fixtures/codes.json")) as {
  errors: { code: string; client: string }[];
  closes: { code: number; client: string }[];
};

// P10.2
it.each(codes.closes)("after close $code: $client", ({ code, client }) => {
  // A hint is followed after whichever close it comes with, so 1012 needs no advice of its own.
  expect(closeAdvice(code)).toBe(client === "told" ? "soon" : client);
  expect(closeAdvice(4999)).toBe("soon");
});

// P10.1
it("names every code of the server in its types, and no other", () => {
  const [, union = ""] = /type ServerErrorCode =([^;]*);/.exec(read("../src/protocol.ts")) ?? [];
  const names = [...union.matchAll(/"(\w+)"/g)].map(([, name]) => name);
  expect(names.sort()).toEqual(codes.errors.map(({ code }) => code).sort());
});

describe("an error of a channel", () => {
  beforeEach(() => {
    vi.useFakeTimers();
  });

  afterEach(() => {
    vi.useRealTimers();
  });

  // P10.1
  it.each(codes.errors.filter(({ client }) => client !== "close"))("$code: $client", async ({ code, client: does }) => {
    const server = new FakeServer();
    const client = server.client();
    client.onError(() => {});
    client.realtime.presence("game-room").onSync(() => {});
    const socket = await server.accept();
    socket.take();
    socket.say({ ...error(code, CHANNEL), ...(does === "kicked" ? { retryAfterMs: 5_000 } : {}) });
    const asks = { type: "subscribe", channels: [CHANNEL] };
    await pass(4_999);
    expect(socket.take()).toEqual(does === "retry" ? [asks] : []);
    await pass(1);
    expect(socket.take()).toEqual(does === "kicked" ? [asks] : []);
    if (does === "next-token") {
      socket.say({ type: "auth_refreshed", userId: "jane", revokedChannels: [] });
      await settle();
      expect(socket.take()).toEqual([asks]);
    }
    client.close();
    await settle();
  });
});

import { describe, expect, it } from "vitest";
import { debug } from "../src/debug.js";
import { createClient } from "../src/index.js";
import { createTestServer } from "../src/testing.js";
import { FakeServer } from "./fake.js";

describe("debug", () => {
  it("writes one line for each frame and each end, and no token", async () => {
    const server = createTestServer({ disconnectGraceMs: 1_000 });
    const lines: string[] = [];
    const token = server.token("jane");
    const client = createClient(server.url, { token, WebSocket: debug((line) => lines.push(line), server.WebSocket) });
    const lobby = client.realtime.presence("lobby");
    const synced = new Promise((done) => lobby.onSync(done));
    lobby.track({ token: "of the application", text: "a\nb" });
    await synced;
    client.close();
    const shown = lines.map((line) => line.replace(/"connectionId":"[^"]*"/g, '"connectionId":"…"'));
    expect(shown).toEqual([
      "herenow #1 is open",
      'herenow #1 > {"type":"auth","token":"[redacted]"}',
      expect.stringMatching(/^herenow #1 > \{"type":"presence_join","channel":"presence:lobby","ref":\d+,"state":\{"token":"\[redacted]","text":"a\\nb"/),
      'herenow #1 < {"type":"auth_success","userId":"jane","connectionId":"…","resume":"[redacted]"}',
      expect.stringMatching(/^herenow #1 < \{"type":"ack","ref":\d+\}$/),
      expect.stringMatching(/^herenow #1 < \{"type":"presence_sync","channel":"presence:lobby","epoch":1,"seq":1,"presences":\[/),
      "herenow #1 closes with 1000",
    ]);
    expect(lines.join()).not.toContain(token);
  });

  it("cuts what is long, shows nothing of what cannot be read, and numbers the sockets", () => {
    const server = new FakeServer();
    const lines: string[] = [];
    const Debugged = debug((line) => lines.push(line), server.WebSocket);
    new Debugged("ws://x");
    const socket = new Debugged("ws://x");
    const heard: unknown[] = [];
    socket.onmessage = ({ data }: { data: unknown }) => heard.push(data);
    socket.onclose = ({ code }: { code: number }) => heard.push(code);
    socket.send(JSON.stringify({ long: "x".repeat(5_000) }));
    server.socket.raw('{"type":"auth","token":"secret');
    server.socket.raw(new ArrayBuffer(2));
    server.socket.end(1012, "soon");
    expect(lines).toEqual([
      expect.stringMatching(/^herenow #2 > \{"long":"x{991}… \(5011 characters\)$/),
      "herenow #2 < (30 characters that are not JSON)",
      "herenow #2 < (not text)",
      "herenow #2 ended with 1012 soon",
    ]);
    expect(heard).toEqual(['{"type":"auth","token":"secret', new ArrayBuffer(2), 1012]);
  });
});

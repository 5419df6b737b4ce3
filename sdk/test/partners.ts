/**
 * The two servers that conversations are held with: the real one, as a process, and the one in memory.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { setImmediate, setTimeout } from "node:timers/promises";
import { WebSocket } from "ws";
import { createTestServer, type Namespaces } from "../src/testing.js";
import { fixture, KICK_MS, type Partner } from "./conversations.js";

/** How long the members of a broken connection stay where the conversation has a grace, in ms. */
const GRACE_MS = 600_000;

const graceMs = (server: string | undefined): number => (server === "grace" ? GRACE_MS : 0);

export async function inMemory(server: string | undefined): Promise<Partner> {
  const module = (await import(/* @vite-ignore */ `data:text/javascript,${encodeURIComponent(fixture.config)}`)) as {
    default: { realtime: { namespaces: Namespaces } };
  };
  const { namespaces } = module.default.realtime;
  const partner = createTestServer({ disconnectGraceMs: graceMs(server), namespaces });
  return {
    url: partner.url,
    WebSocket: partner.WebSocket as Partner["WebSocket"],
    token: (userId) => Promise.resolve(partner.token(userId)),
    kick: async (channel, userId) => partner.kick(channel.replace("presence:", ""), userId, KICK_MS),
    disconnect: async (userId) => partner.disconnect(userId, KICK_MS),
    wait: () => setImmediate(),
  };
}

/** The real server, until `end()`. */
export class Real implements Partner {
  readonly WebSocket = WebSocket as unknown as Partner["WebSocket"];
  url = "";
  #process: ChildProcess | undefined;
  #folder = mkdtempSync(join(tmpdir(), "herenow-talk-"));
  #key = "";

  static async start(bin: string, server: string | undefined): Promise<Real> {
    const real = new Real();
    const file = join(real.#folder, "edgebase.config.mjs");
    writeFileSync(file, fixture.config);
    const env = { ...process.env, HERENOW_DISCONNECT_GRACE_MS: String(graceMs(server)) };
    const child = spawn(bin, ["dev", "--port", "0", "--config", file], { env, stdio: ["ignore", "pipe", "inherit"] });
    real.#process = child;
    for await (const line of createInterface(child.stdout)) {
      const port = /http:\/\/127\.0\.0\.1:(\d+)\//.exec(line)?.[1];
      if (!port) continue;
      child.stdout.resume();
      real.url = `http://127.0.0.1:${port}`;
      const { key } = (await real.#post("/dev/service-key", {}, { Origin: real.url })) as { key: string };
      real.#key = key;
      return real;
    }
    throw new Error("the server ended before it was ready");
  }

  async token(userId: string): Promise<string> {
    return ((await this.#post("/dev/token", { userId })) as { token: string }).token;
  }

  async kick(channel: string, userId: string): Promise<void> {
    const name = encodeURIComponent(channel.replace("presence:", ""));
    await this.#api(`channels/${name}/kick`, { userId, forMs: KICK_MS });
  }

  async disconnect(userId: string): Promise<void> {
    await this.#api(`users/${userId}/disconnect`, { forMs: KICK_MS });
  }

  wait(): Promise<void> {
    return setTimeout(5);
  }

  async end(): Promise<void> {
    const child = this.#process;
    if (child?.exitCode === null) {
      child.kill("SIGKILL");
      await once(child, "exit");
    }
    rmSync(this.#folder, { recursive: true, force: true });
  }

  #api(path: string, body: object): Promise<unknown> {
    return this.#post(`/api/presence/${path}`, body, { Authorization: `Bearer ${this.#key}` });
  }

  async #post(path: string, body: object, headers: Record<string, string> = {}): Promise<unknown> {
    const answer = await fetch(`${this.url}${path}`, { method: "POST", body: JSON.stringify(body), headers });
    const text = await answer.text();
    if (!answer.ok) throw new Error(`${path}: ${answer.status} ${text}`);
    return text ? JSON.parse(text) : undefined;
  }
}

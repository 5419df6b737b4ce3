// Webhooks of the real binary, verified by the published libraries of the Standard Webhooks specification:
// that for Node here, that for Python in receiver.py. Both fold what they are told to the same list.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { after, before, test } from "node:test";
import { Webhook } from "standardwebhooks";

const root = join(import.meta.dirname, "../..");
const binary = process.env.HERENOW_BIN ?? join(root, "target/debug/herenow");
const python = join(root, "target/http-api-venv/bin/python");
const secret = () => `whsec_${randomBytes(32).toString("base64")}`;
const [oldSecret, newSecret, key] = [secret(), secret(), randomBytes(32).toString("hex")];

/** Messages that a receiver has verified, each with its events, in order. */
function queue() {
  const [lines, waiting] = [[], []];
  return {
    push: (line) => (waiting.length ? waiting.shift()(line) : lines.push(line)),
    next: () => (lines.length ? lines.shift() : new Promise((resolve) => waiting.push(resolve))),
  };
}

async function nodeReceiver() {
  const [webhook, messages] = [new Webhook(newSecret), queue()];
  const server = createServer(async (request, response) => {
    const chunks = await request.toArray();
    try {
      messages.push(webhook.verify(Buffer.concat(chunks).toString(), request.headers));
      response.writeHead(204).end();
    } catch (error) {
      messages.push({ error: String(error) });
      response.writeHead(401).end();
    }
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return { port: server.address().port, messages, stop: () => server.close() };
}

async function pythonReceiver() {
  const child = spawn(python, [join(import.meta.dirname, "receiver.py"), oldSecret], { stdio: ["ignore", "pipe", "inherit"] });
  const messages = queue();
  createInterface({ input: child.stdout }).on("line", (line) => messages.push(JSON.parse(line)));
  return { port: (await messages.next()).port, messages, stop: () => child.kill() };
}

let folder, server, url;
const receivers = [];

before(async () => {
  folder = await mkdtemp(join(tmpdir(), "herenow-webhooks-"));
  receivers.push(await nodeReceiver(), await pythonReceiver());
  const webhooks = receivers.map(({ port }) => ({
    url: `http://127.0.0.1:${port}/presence`,
    channels: ["presence:*"],
    allowPrivateNetworks: true,
  }));
  await writeFile(join(folder, "edgebase.config.json"), JSON.stringify({ realtime: { webhooks } }));
  // Two secrets while one is replaced: each receiver knows one of them.
  await writeFile(join(folder, "secrets"), `${oldSecret}\n${newSecret}\n`);
  server = spawn(binary, ["serve", "--listen", "127.0.0.1:0"], {
    cwd: folder,
    env: { PATH: process.env.PATH, SERVICE_KEY: key, JWT_USER_SECRET: key, WEBHOOK_SECRET_FILE: "secrets" },
    stdio: ["ignore", "ignore", "pipe"],
  });
  for await (const line of createInterface({ input: server.stderr })) {
    const address = /address="?([0-9.:]+)/.exec(line);
    if (address) {
      url = `http://${address[1]}/api/presence`;
      break;
    }
  }
  assert.ok(url, "the server listens");
});

after(async () => {
  server?.kill();
  for (const receiver of receivers) receiver.stop();
  await rm(folder, { recursive: true, force: true });
});

async function api(method, path, body) {
  const answer = await fetch(url + path, {
    method,
    headers: { authorization: `Bearer ${key}` },
    body: body && JSON.stringify(body),
  });
  assert.ok(answer.ok, `${method} ${path}: ${answer.status}`);
  return answer.status === 204 ? undefined : answer.json();
}

test("both libraries accept every message and fold it to the list at the seq that it names", async () => {
  const put = (name, userId) =>
    api("PUT", `/channels/game-1/presence/${name}`, { userId, state: { name, text: "é\u2028\"" }, ttlMs: 60_000 });
  await put("a", "jane");
  await put("b", "jane");
  await put("c", "joe");
  await api("DELETE", "/channels/game-1/presence/a");
  const list = await api("GET", "/channels/game-1/presence");
  const wanted = list.presences.map(({ connectionId, userId }) => `${connectionId} ${userId}`).sort();
  for (const { messages } of receivers) {
    const members = new Map();
    let [at, isFirst] = [{}, true];
    while (at.seq !== list.seq || at.epoch !== list.epoch) {
      const { events, error } = await messages.next();
      assert.equal(error, undefined);
      if (isFirst) assert.equal(events[0].type, "server_started");
      isFirst = false;
      for (const event of events) {
        if (event.type === "member_added") members.set(event.connectionId, event.userId);
        if (event.type === "member_removed") members.delete(event.connectionId);
        if (event.type === "member_added") assert.equal(event.state.text, "é\u2028\"");
        if (event.channel) at = event;
      }
    }
    assert.deepEqual([...members].map((pair) => pair.join(" ")).sort(), wanted);
    assert.deepEqual(at.counts, { users: 2, connections: 2 });
  }
});

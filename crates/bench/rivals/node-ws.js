// A presence server on Node's ws package: each event is encoded once and the same buffer is sent to
// every subscriber. Nothing is validated, tokens are read but not verified.
// It knows the protocol's shapes and refuses to know limits, rules, leases and slow readers.

import { randomBytes } from "node:crypto";
import { WebSocketServer } from "ws";

const port = Number(process.argv[2]);
const channels = new Map();
const AS_TEXT = { binary: false };

function channelOf(name) {
  let channel = channels.get(name);
  if (channel === undefined) {
    channel = { name, seq: 0, entries: new Map(), subscribers: new Set(), snapshot: null };
    channels.set(name, channel);
  }
  return channel;
}

function publish(channel, text) {
  const bytes = Buffer.from(text);
  for (const ws of channel.subscribers) ws.send(bytes, AS_TEXT);
}

function sendSnapshot(ws, channel) {
  channel.snapshot ??= Buffer.from(
    `{"type":"presence_sync","channel":"${channel.name}","epoch":1,"seq":${channel.seq},"presences":[${Array.from(channel.entries.values()).join(",")}]}`,
  );
  ws.send(channel.snapshot, AS_TEXT);
}

function subscribe(ws, channel) {
  channel.subscribers.add(ws);
  ws.channels.add(channel);
}

function track(ws, channel, state) {
  const isKnown = channel.entries.has(ws.connectionId);
  if (!isKnown && !channel.subscribers.has(ws)) {
    sendSnapshot(ws, channel);
    subscribe(ws, channel);
  }
  const row = `{"userId":"${ws.userId}","connectionId":"${ws.connectionId}","state":${JSON.stringify(state)}}`;
  channel.entries.set(ws.connectionId, row);
  channel.snapshot = null;
  const type = isKnown ? "presence_update" : "presence_join";
  publish(
    channel,
    `{"type":"${type}","channel":"${channel.name}","seq":${++channel.seq},${row.slice(1)}`,
  );
}

function untrack(ws, channel, reason) {
  if (!channel.entries.delete(ws.connectionId)) return;
  channel.snapshot = null;
  publish(
    channel,
    `{"type":"presence_leave","channel":"${channel.name}","seq":${++channel.seq},"userId":"${ws.userId}","connectionId":"${ws.connectionId}","reason":"${reason}"}`,
  );
}

function receive(ws, text) {
  const message = JSON.parse(text);
  switch (message.type) {
    case "presence_join":
      return track(ws, channelOf(message.channel), message.state);
    case "presence_leave":
      return untrack(ws, channelOf(message.channel), "leave");
    case "ping":
      return ws.send('{"type":"pong"}');
    case "auth":
      ws.userId = JSON.parse(Buffer.from(message.token.split(".")[1], "base64url").toString()).sub;
      return ws.send(
        `{"type":"auth_success","userId":"${ws.userId}","connectionId":"${ws.connectionId}"}`,
      );
    case "subscribe": {
      const channel = channelOf(message.channel);
      ws.send(`{"type":"subscribed","channel":"${channel.name}"}`);
      sendSnapshot(ws, channel);
      return subscribe(ws, channel);
    }
    case "presence_sync":
      return sendSnapshot(ws, channelOf(message.channel));
  }
}

const server = new WebSocketServer({
  host: "127.0.0.1",
  port,
  backlog: 4096,
  perMessageDeflate: false,
  skipUTF8Validation: true,
});
server.on("connection", (ws) => {
  ws.connectionId = randomBytes(16).toString("base64url");
  ws.channels = new Set();
  ws.on("message", (data) => receive(ws, data.toString()));
  ws.on("error", () => ws.terminate());
  ws.on("close", () => {
    for (const channel of ws.channels) {
      channel.subscribers.delete(ws);
      untrack(ws, channel, "disconnect");
    }
  });
});

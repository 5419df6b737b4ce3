// A presence server on Bun, as fast as we could make it: native publish, one string per event,
// snapshots grown by appending, nothing validated, tokens read but not verified.
// It knows the protocol's shapes and refuses to know limits, rules, leases and slow readers.

const port = Number(process.argv[2]);
const channels = new Map();

function channelOf(name) {
  let channel = channels.get(name);
  if (channel === undefined) {
    channel = { name, seq: 0, entries: new Map(), rows: "", rowsAreStale: false };
    channels.set(name, channel);
  }
  return channel;
}

function rowsOf(channel) {
  if (channel.rowsAreStale) {
    channel.rows = Array.from(channel.entries.values()).join(",");
    channel.rowsAreStale = false;
  }
  return channel.rows;
}

function sendSnapshot(ws, channel) {
  ws.sendText(
    `{"type":"presence_sync","channel":"${channel.name}","epoch":1,"seq":${channel.seq},"presences":[${rowsOf(channel)}]}`,
  );
}

function subscribe(ws, channel) {
  if (ws.isSubscribed(channel.name)) return;
  ws.subscribe(channel.name);
  ws.data.channels.push(channel);
}

function track(ws, channel, state) {
  const { userId, connectionId } = ws.data;
  const isKnown = channel.entries.has(connectionId);
  if (!isKnown && !ws.isSubscribed(channel.name)) {
    sendSnapshot(ws, channel);
    subscribe(ws, channel);
  }
  const row = `{"userId":"${userId}","connectionId":"${connectionId}","state":${JSON.stringify(state)}}`;
  if (isKnown) channel.rowsAreStale = true;
  else if (!channel.rowsAreStale) channel.rows += channel.rows === "" ? row : "," + row;
  channel.entries.set(connectionId, row);
  const type = isKnown ? "presence_update" : "presence_join";
  server.publish(
    channel.name,
    `{"type":"${type}","channel":"${channel.name}","seq":${++channel.seq},${row.slice(1)}`,
  );
}

function untrack(ws, channel, reason) {
  const { userId, connectionId } = ws.data;
  if (!channel.entries.delete(connectionId)) return;
  channel.rowsAreStale = true;
  server.publish(
    channel.name,
    `{"type":"presence_leave","channel":"${channel.name}","seq":${++channel.seq},"userId":"${userId}","connectionId":"${connectionId}","reason":"${reason}"}`,
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
      return ws.sendText('{"type":"pong"}');
    case "auth": {
      const claims = JSON.parse(Buffer.from(message.token.split(".")[1], "base64url").toString());
      ws.data.userId = claims.sub;
      const { userId, connectionId } = ws.data;
      return ws.sendText(
        `{"type":"auth_success","userId":"${userId}","connectionId":"${connectionId}"}`,
      );
    }
    case "subscribe": {
      const channel = channelOf(message.channel);
      ws.sendText(`{"type":"subscribed","channel":"${channel.name}"}`);
      sendSnapshot(ws, channel);
      return subscribe(ws, channel);
    }
    case "presence_sync":
      return sendSnapshot(ws, channelOf(message.channel));
  }
}

const server = Bun.serve({
  port,
  hostname: "127.0.0.1",
  fetch(request, server) {
    const connectionId = crypto.getRandomValues(new Uint8Array(16)).toBase64({
      alphabet: "base64url",
      omitPadding: true,
    });
    if (server.upgrade(request, { data: { userId: "", connectionId, channels: [] } })) return;
    return new Response("WebSocket only", { status: 426 });
  },
  websocket: {
    perMessageDeflate: false,
    sendPings: false,
    idleTimeout: 120,
    message: receive,
    close(ws) {
      for (const channel of ws.data.channels) untrack(ws, channel, "disconnect");
    },
  },
});

import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { type Client, createClient } from "../src/index.js";
import { channelOfUser, MAX_ONLINE_USERS, online } from "../src/online.js";
import { createTestServer, type TestServer } from "../src/testing.js";
import { settle } from "./fake.js";

let server: TestServer;
const clients: Client[] = [];

beforeEach(() => {
  vi.useFakeTimers();
  server = createTestServer({ maxChannelsPerConnection: MAX_ONLINE_USERS });
});

afterEach(() => {
  for (const client of clients.splice(0)) client.close();
  vi.useRealTimers();
});

function clientOf(userId: string): Client {
  const client = createClient(server.url, { token: server.token(userId), WebSocket: server.WebSocket });
  clients.push(client);
  return client;
}

/** The user's page, which shows that the user is online. */
function arrive(userId: string): Client {
  const client = clientOf(userId);
  client.realtime.presence(channelOfUser(userId)).track({});
  return client;
}

it("tells which of the users are online, each time that one comes or goes", async () => {
  const heard: string[][] = [];
  arrive("bob");
  const end = online(clientOf("jane"), ["ann", "bob", "joe"], (users) => heard.push([...users].sort()));
  await settle();
  expect(heard).toEqual([["bob"]]);
  const ann = arrive("ann");
  await settle();
  expect(heard.at(-1)).toEqual(["ann", "bob"]);
  ann.close();
  await settle();
  expect(heard).toEqual([["bob"], ["ann", "bob"], ["bob"]]);
  end();
  arrive("joe");
  await settle();
  expect(heard).toHaveLength(3);
});

it("counts nobody as online because of another user in the channel", async () => {
  const heard: unknown[] = [];
  online(clientOf("jane"), ["ann"], (users) => heard.push(users));
  clientOf("eve").realtime.presence(channelOfUser("ann")).track({});
  await settle();
  expect(heard).toEqual([]);
});

it("refuses too many users and names of no channel, and leaves nothing behind", async () => {
  const client = clientOf("jane");
  const many = Array.from({ length: MAX_ONLINE_USERS + 1 }, (_, n) => `user-${n}`);
  expect(() => online(client, many, () => {})).toThrow(RangeError);
  expect(() => online(client, ["ann", "x".repeat(200)], () => {})).toThrow(/channel name/);
  await settle();
  expect(client.status).toBe("idle");
});

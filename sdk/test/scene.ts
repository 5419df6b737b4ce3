/**
 * One client of one fake server under fake time, made anew for each test of the file that imports this. No test may leave a
 * timer behind.
 */
import { afterEach, beforeEach, expect, vi } from "vitest";
import type { Client, ClientOptions, Presence, Status } from "../src/index.js";
import { CHANNEL, FakeServer, settle } from "./fake.js";

export let server: FakeServer;
export let client: Client;
export let presence: Presence;
export let statuses: Status[];
/** The codes of all errors; also keeps them from the console. */
export let problems: string[];

beforeEach(() => {
  vi.useFakeTimers();
  vi.spyOn(Math, "random").mockReturnValue(0.5);
  server = new FakeServer();
  use({ token: "fixed" });
});

afterEach(async () => {
  client.close();
  await settle();
  expect(vi.getTimerCount()).toBe(0);
  vi.useRealTimers();
  vi.restoreAllMocks();
  vi.unstubAllGlobals();
});

/** Another client, which takes the place of the one before. */
export function use(options: ClientOptions): void {
  client = server.client(options);
  presence = client.realtime.presence("game-room");
  statuses = [];
  problems = [];
  client.onStatus((status) => statuses.push(status));
  client.onError((problem) => problems.push(problem.code));
}

/** What was sent since the last call, but for tokens and pings. */
export const said = (): object[] => server.socket.take().filter(({ type }) => type !== "auth" && type !== "ping");

export const SUBSCRIBE = { type: "subscribe", channels: [CHANNEL] };
export const UNSUBSCRIBE = { type: "unsubscribe", channel: CHANNEL };
export const UNTRACK = { type: "presence_leave", channel: CHANNEL };
export const track = (state: object): object => ({ type: "presence_join", channel: CHANNEL, state });

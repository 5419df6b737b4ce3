/**
 * The real server and the one in memory say the same in every conversation of `fixtures/conversations.json`. The first takes
 * part where HERENOW_BIN names the server's binary.
 */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { fixture, type Partner, Talk } from "./conversations.js";
import { inMemory, Real } from "./partners.js";

const BIN = process.env["HERENOW_BIN"];
const PATIENCE_MS = 40_000;

const numbered = fixture.conversations.map((conversation, at) => ({ ...conversation, mark: `t${at}` }));

/** Every step is heard by all, exactly. */
async function hold({ authenticated, steps }: (typeof numbered)[number], talk: Talk): Promise<void> {
  for (const name of authenticated) await talk.authenticate(name);
  for (const step of steps) {
    await talk.act(step.do);
    for (const [name, frames] of Object.entries(step.hear ?? {})) {
      expect(await talk.hear(name, frames.length), `${name} after ${JSON.stringify(step.do)}`).toEqual(frames);
    }
  }
  expect(await talk.end()).toEqual([]);
}

// P3.1, P3.2, P3.5, P3.7, P3.10, P3.16, P4.2, P4.4, P4.5, P4.7, P4.9, P4.10, P4.13, P4.14, P4.20, P4.22, P4.23, P4.24, P5.8, P6.1, P6.6, P6.7, P7.8, P7.9
describe("the server in memory", { timeout: PATIENCE_MS }, () => {
  it.each(numbered)("$name", async (conversation) => {
    await hold(conversation, new Talk(await inMemory(conversation.server), conversation.mark));
  });
});

if (BIN === undefined) it.skip("set HERENOW_BIN=/path/to/herenow to hold the conversations with a real server");
else describe("the real server", { timeout: PATIENCE_MS }, () => {
  const reals = new Map<string | undefined, Real>();

  beforeAll(async () => {
    for (const server of [undefined, "grace"]) reals.set(server, await Real.start(BIN, server));
  }, PATIENCE_MS);
  afterAll(() => Promise.all([...reals.values()].map((real) => real.end())));

  it.each(numbered)("$name", async (conversation) => {
    await hold(conversation, new Talk(reals.get(conversation.server) as Partner, conversation.mark));
  });
});

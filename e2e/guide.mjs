/**
 * The programs of docs/your-app.md as they stand there, with the address of the server of this run in place of the usual one.
 */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";

const GUIDE = readFileSync(new URL("../docs/your-app.md", import.meta.url), "utf8");
const USUAL = "http://127.0.0.1:4600";

/** The only program of the guide in this language. */
export function program(language, server) {
  const blocks = [...GUIDE.matchAll(/^```(\w+)\n(.*?)^```$/gms)].filter(([, of]) => of === language);
  assert.equal(blocks.length, 1, `one block of ${language}`);
  assert.ok(blocks[0][2].includes(USUAL));
  return blocks[0][2].replaceAll(USUAL, server.url.replace(/\/$/, ""));
}

/** Waits until the page lists so many users. */
export const waitForRows = (page, count) =>
  page.waitForFunction((count) => document.querySelectorAll("#users li").length === count, count);

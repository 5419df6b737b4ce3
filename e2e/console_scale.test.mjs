/**
 * The console with 10,000 channels and with a channel of 5,000 members that change all the time: few elements, and a
 * page that answers. The bounds are wide, since the machine may be busy; `t.diagnostic` tells what was measured.
 */
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { Backend } from "./backend.mjs";
import { startBrowser, startServer, stopServers } from "./stage.mjs";

const CHANNELS = 10_000;
const MEMBERS = 5_000;

/** As many rows as are seen, and a few around them. */
const MAX_ROWS = 60;

/** A page that stands still for longer is felt even on a machine that is busy with other things. In ms. */
const MAX_STANDSTILL_MS = 1_500;

let browser;
let server;
let backend;

before(async () => {
  [browser, server] = await Promise.all([startBrowser(), startServer()]);
  const { key } = await (await fetch(`${server.url}dev/service-key`, { method: "POST" })).json();
  backend = new Backend(server.url, key);
});

after(async () => {
  backend?.close();
  await browser?.close();
  await stopServers();
});

async function openPage(at) {
  const page = await browser.newPage({ viewport: { width: 1280, height: 800 } });
  const problems = [];
  page.on("pageerror", (error) => problems.push(String(error)));
  page.on("console", (message) => message.type() === "error" && problems.push(message.text()));
  await page.goto(`${server.url}console${at}`);
  const close = async () => {
    assert.deepEqual(problems, []);
    await page.close();
  };
  return { page, close };
}

/** Notes from now on how long the page takes from frame to frame. */
const watchFrames = (page) =>
  page.evaluateHandle(() => {
    const frames = { count: 0, longest: 0, begun: performance.now() };
    let last = frames.begun;
    const step = (now) => {
      frames.count += 1;
      frames.longest = Math.max(frames.longest, now - last);
      last = now;
      requestAnimationFrame(step);
    };
    requestAnimationFrame(step);
    return frames;
  });

const rowsIn = (page, list) => page.locator(`#${list} .row`).count();

async function isFluent(t, page, frames) {
  const { count, longest, begun } = await frames.jsonValue();
  const seconds = ((await page.evaluate(() => performance.now())) - begun) / 1000;
  t.diagnostic(`${(count / seconds).toFixed(0)} frames a second, the longest ${longest.toFixed(0)} ms`);
  assert.ok(longest < MAX_STANDSTILL_MS, `the page stood still for ${longest} ms`);
}

test("10,000 channels are listed, found, sorted and scrolled through", async (t) => {
  await backend.all(CHANNELS, (n) => backend.put(`scale-${String(n).padStart(5, "0")}`, "k", `user-${n}`, { n }));
  const { page, close } = await openPage("#/channels");
  const frames = await watchFrames(page);
  await page.waitForFunction((count) => document.getElementById("totals").textContent.startsWith(count), "10,000 ");
  const top = () => page.locator('#channel-list [aria-rowindex="1"] .name').textContent();
  assert.equal(await top(), "scale-00000");
  assert.ok((await rowsIn(page, "channel-list")) < MAX_ROWS);

  await page.locator("#channel-list").focus();
  await page.keyboard.press("End");
  await page.locator("#channel-list .row", { hasText: "scale-09999" }).waitFor();
  await page.keyboard.press("PageUp");
  for (let scroll = 0; scroll < 20; scroll += 1) await page.mouse.wheel(0, -9000);
  assert.ok((await rowsIn(page, "channel-list")) < MAX_ROWS);

  await page.fill("#filter", "scale-0123");
  await page.waitForFunction(() => document.getElementById("totals").textContent.startsWith("10 of 10,000"));
  await page.fill("#filter", "");
  await backend.put("scale-07777", "more", "another");
  await page.click('button[data-order="members"]');
  await page.waitForFunction(() => document.querySelector('#channel-list [aria-rowindex="1"] .name')?.textContent === "scale-07777");
  await isFluent(t, page, frames);
  await close();
});

test("a channel of 5,000 members that change all the time is shown as it changes", async (t) => {
  await backend.all(MEMBERS, (n) => backend.put("crowd", `k${n}`, `user-${String(n).padStart(4, "0")}`, { n }));
  const { page, close } = await openPage("#/channels/crowd");
  await page.waitForFunction(() => document.getElementById("channel-members").textContent === "5,000");
  const frames = await watchFrames(page);
  let changes = 0;
  let goesOn = true;
  const churn = backend.all(Number.POSITIVE_INFINITY, async () => {
    if (!goesOn) throw new Error("enough");
    const n = (changes * 7) % MEMBERS;
    changes += 1;
    await backend.put("crowd", `k${n}`, `user-${String(n).padStart(4, "0")}`, { n, changes });
  }).catch((error) => assert.equal(error.message, "enough"));

  const begun = Date.now();
  await page.locator("#event-list .row", { hasText: "update" }).first().waitFor();
  await page.locator("#member-list").focus();
  for (let press = 0; press < 30; press += 1) await page.keyboard.press("PageDown");
  await page.keyboard.press("End");
  await page.locator("#member-list .row", { hasText: "user-4999" }).waitFor();
  await page.fill("#member-filter", "user-123");
  await page.waitForFunction(() => document.querySelector("#member-list").ariaRowCount === "10");
  await page.fill("#member-filter", "");
  assert.ok((await rowsIn(page, "member-list")) < MAX_ROWS && (await rowsIn(page, "event-list")) < MAX_ROWS);
  await page.waitForFunction((since) => performance.now() - since > 3000, await page.evaluate(() => performance.now()));
  const perSecond = (changes * 1000) / (Date.now() - begun);
  t.diagnostic(`${perSecond.toFixed(0)} changes a second`);
  await isFluent(t, page, frames);

  goesOn = false;
  await churn;
  await backend.put("crowd", "k0", "user-0000", { last: true });
  await page.locator("#member-list").focus();
  await page.keyboard.press("Home");
  await page.locator("#member-list .row", { hasText: '{"last":true}' }).waitFor();
  const lines = await page.locator("#event-list").getAttribute("aria-rowcount");
  assert.ok(Number(lines) <= 500, `${lines} lines`);
  await close();
});

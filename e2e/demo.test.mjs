/**
 * The demo as a page: axe finds nothing in it in any size and colour, nothing of its state is cut off, and the code that
 * it shows runs.
 */
import assert from "node:assert/strict";
import { createRequire } from "node:module";
import { readFileSync } from "node:fs";
import { after, before, test } from "node:test";
import { openWindow, problemsOf, startBrowser, startServer, stopServers, waitForPeople } from "./stage.mjs";

const AXE = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

const LOOKS = [
  { colorScheme: "light" },
  { colorScheme: "dark" },
  { colorScheme: "light", viewport: { width: 390, height: 844 } },
];

let browser;
let server;

before(async () => {
  [browser, server] = await Promise.all([startBrowser(), startServer()]);
});

after(async () => {
  await browser?.close();
  await stopServers();
});

/** What axe finds, one line each. What it cannot decide is no finding. */
async function findings(page) {
  await page.evaluate(AXE);
  const { violations } = await page.evaluate(() => globalThis.axe.run());
  return violations.flatMap(({ id, help, nodes }) => nodes.map(({ target }) => `${id}: ${help}: ${target.join(" ")}`));
}

const close = (...windows) => Promise.all(windows.map(({ context }) => context.close()));

for (const look of LOOKS) {
  const name = `${look.colorScheme} at ${look.viewport?.width ?? 1280} pixels`;
  test(`axe finds nothing in the demo: ${name}`, async () => {
    const url = `${server.url}#${encodeURIComponent(name)}`;
    const one = await openWindow(browser, url, look);
    await waitForPeople(one.page, 1);
    assert.deepEqual(await findings(one.page), [], "alone");

    const two = await openWindow(browser, url);
    await two.page.locator("#stage").hover({ position: { x: 90, y: 90 } });
    await two.page.locator("#words").pressSequentially("hello");
    await one.page.locator("#people small.typing").waitFor();
    await one.page.locator(".cursor").waitFor();
    assert.deepEqual(await findings(one.page), [], "with another user, who types");

    await one.page.locator("#show-code").click();
    assert.deepEqual(await findings(one.page), [], "with the code");
    await one.page.keyboard.press("Escape");
    await one.page.locator("#offline").click();
    assert.deepEqual(await findings(one.page), [], "offline");
    await close(one, two);
  });

  test(`the longest state is shown whole, and no part of the page is cut off at its side: ${name}`, async () => {
    const one = await openWindow(browser, `${server.url}#whole`, look);
    await one.page.locator("#name").fill("M".repeat(24));
    await one.page.locator("#words").fill("W".repeat(60));
    await one.page.locator("#words").press("Enter");
    const state = await one.page.locator("#state").evaluate(({ textContent, scrollHeight, clientHeight }) => {
      return { shown: JSON.parse(textContent), hidden: scrollHeight - clientHeight };
    });
    assert.equal(state.shown.says.length, 60);
    assert.deepEqual(JSON.parse(await one.page.locator("#info").textContent()), { name: "M".repeat(24) });
    assert.equal(state.hidden, 0, "all of its lines are visible");
    const wide = await one.page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
    assert.ok(wide <= 0, `the page is ${wide} pixels too wide`);
    await close(one);
  });
}

test("the code that the page shows has ten lines, and makes whoever runs it another tab of the same user", async () => {
  const one = await openWindow(browser, `${server.url}#code`);
  const two = await openWindow(browser, `${server.url}#code`);
  await two.page.locator("#name").fill("Jane “the coder” O'Neill");
  await two.page.locator("#show-code").click();
  const code = await two.page.locator("#lines").textContent();
  assert.equal(code.split("\n").filter(Boolean).length, 10);

  const context = await browser.newContext();
  const page = await context.newPage();
  const problems = problemsOf(page);
  await page.addInitScript(() => {
    globalThis.said = [];
    console.log = (...words) => said.push(words.join(" "));
  });
  const hears = (words) => page.waitForFunction((words) => said.some((line) => line.includes(words)), words);
  await page.goto(`${server.url}health`);
  await page.addScriptTag({ type: "module", content: code });
  await hears("O'Neill");
  await page.mouse.move(100, 100);
  await page.mouse.move(200, 200);
  await one.page.locator("#people li", { hasText: "O'Neill" }).locator(".tabs", { hasText: "2 tabs" }).waitFor();
  await close(one);
  await hears("left: disconnect");
  // A favicon that is not there is no fault of the code.
  assert.deepEqual(problems.filter((problem) => !problem.includes("404")), []);
  await close(two, { context });
});

// P5.7
test("names are those of the tokens: a state cannot say one, and a new token renames on the same connection", async () => {
  const one = await openWindow(browser, `${server.url}#names`);
  const { context, page } = await openWindow(browser, `${server.url}#elsewhere`);
  await page.evaluate(async () => {
    const { createClient } = await import("/sdk/index.js");
    const answer = await fetch("/dev/token", { method: "POST", body: JSON.stringify({ userId: "mallory" }) });
    const client = createClient(location.origin, await answer.json());
    client.realtime.presence("names").track({ name: "Jane", info: { name: "Jane" } });
  });
  await one.page.locator("#people b", { hasText: "mallory" }).waitFor();

  const two = await openWindow(browser, `${server.url}#names`);
  await one.page.locator("#people li").nth(2).waitFor();
  await one.page.locator("#log li").first().waitFor();
  await two.page.locator("#name").fill("Grace");
  await one.page.locator("#people b", { hasText: "Grace" }).waitFor();
  await one.page.locator("#log .changed", { hasText: "is now Grace" }).waitFor();
  assert.equal(await one.page.locator("#log .went").count(), 0, "nobody has left");
  assert.deepEqual(await one.page.locator("#people b", { hasText: "Jane" }).count(), 0);
  await close(one, two, { context });
});

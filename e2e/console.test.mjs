/**
 * The console in a real browser, against the real binary: how it opens, what it shows, what it does, and that it stays
 * quick with many channels and members.
 */
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { Backend } from "./backend.mjs";
import { problemsOf, startBrowser, startProduction, startServer, stopServers } from "./stage.mjs";

const KEY = "a-service-key-of-the-tests-0123456789";
const HOSTILE = "\u202E<img src=x onerror=\"alert(1)\"><b>مرحبا</b>";

let browser;
let server;
let backend;

before(async () => {
  [browser, server] = await Promise.all([startBrowser(), startProduction({ env: { SERVICE_KEY: KEY } })]);
  backend = new Backend(server.url, KEY);
});

after(async () => {
  backend?.close();
  await browser?.close();
  await stopServers();
});

/** A page of its own, and what its console complains of: a script that the policy stops is among it. */
async function openPage({ at = "#/channels", key = KEY, url = server.url, ...options } = {}) {
  const context = await browser.newContext({ viewport: { width: 1280, height: 800 }, ...options });
  const page = await context.newPage();
  const problems = problemsOf(page);
  page.on("dialog", (dialog) => problems.push(`a dialog: ${dialog.message()}`) && void dialog.dismiss());
  if (key) await page.addInitScript((key) => sessionStorage.setItem("herenow-console-key", key), key);
  await page.goto(`${url}console${at}`);
  const close = async () => {
    assert.deepEqual(problems, []);
    await context.close();
  };
  return { page, problems, close, context };
}

const isConnected = (page) => page.waitForSelector('#status[data-status="good"]');
const isLive = (page) => page.waitForSelector('#channel-live[data-status="good"]');
const rowOf = (page, list, text) => page.locator(`#${list} .row`, { hasText: text });
const textOf = (page, id) => page.locator(`#${id}`).textContent();

/** Waits until an element says it. */
const says = (page, id, text) =>
  page.waitForFunction(([id, text]) => document.getElementById(id).textContent.includes(text), [id, text]);

test("the console asks for a key, says that one is wrong, and keeps the right one for the tab", async () => {
  const { page, problems, context } = await openPage({ key: null });
  await page.waitForSelector("#key-dialog[open]");
  await page.keyboard.press("Escape");
  assert.equal(await page.locator("#key-dialog").getAttribute("open"), "", "there is nothing behind it");
  await page.keyboard.type("not-the-key-but-of-the-same-length-00");
  await page.keyboard.press("Enter");
  await says(page, "key-error", "The key is none of those in SERVICE_KEY");
  assert.equal(await page.evaluate(() => sessionStorage.length), 0, "a wrong key is not kept");
  await page.fill("#key", KEY);
  await page.keyboard.press("Enter");
  await isConnected(page);
  const kept = await page.evaluate(() => [Object.values(sessionStorage), localStorage.length, document.cookie, location.href]);
  assert.deepEqual(kept, [[KEY], 0, "", `${server.url}console#/channels`]);
  await page.reload();
  await isConnected(page);
  await page.click("#forget");
  await page.waitForSelector("#key-dialog[open]");
  assert.equal(await page.evaluate(() => sessionStorage.length), 0);
  assert.deepEqual(problems.filter((problem) => !problem.includes("401")), []);
  await context.close();
});

test("without a service key there is no console", async () => {
  const closed = await startProduction();
  const answer = await fetch(`${closed.url}console`);
  assert.equal(answer.status, 404);
  assert.match(await answer.text(), /SERVICE_KEY_FILE/);
  await closed.kill();
});

test("under dev the console opens by itself, also after the server was started again with another key", async () => {
  const dev = await startServer();
  const { key } = await (await fetch(`${dev.url}dev/service-key`, { method: "POST" })).json();
  const ofTheRun = new Backend(dev.url, key);
  await ofTheRun.put("restart", "a", "ada");
  ofTheRun.close();
  const { page, context } = await openPage({ url: dev.url, key: null, at: "#/channels/restart" });
  await isConnected(page);
  await rowOf(page, "member-list", "ada").waitFor();
  assert.equal(await page.locator("#key-dialog[open]").count(), 0);
  await dev.kill();
  await page.waitForSelector('#status[data-status="bad"]');
  assert.match(await textOf(page, "status"), /^Disconnected since \d\d:\d\d:\d\d: The server does not answer\.$/);
  await page.waitForSelector('#channel-live[data-status="bad"]');
  assert.match(await textOf(page, "channel-live"), /^Disconnected since \d\d:\d\d:\d\d: The /);
  assert.equal(await rowOf(page, "member-list", "ada").count(), 1, "what was known stays to be read");
  const again = await startServer({ port: dev.port });
  await isConnected(page);
  await isLive(page);
  await says(page, "members-empty", "Nobody is in this channel.");
  await context.close();
  await again.kill();
});

test("channels come and go with how many are in them and how busy they are", async () => {
  await backend.put("rates-busy", "a", "ada");
  await backend.put("rates-busy", "b", "grace");
  await backend.put("rates-quiet", "a", "ada");
  const { page, close } = await openPage();
  await page.fill("#filter", "RATES-");
  await rowOf(page, "channel-list", "rates-quiet").waitFor();
  let goesOn = true;
  const busy = (async () => {
    for (let n = 0; goesOn; n += 1) await backend.put("rates-busy", "a", "ada", { n });
  })();
  await page.waitForFunction(() => {
    const cells = [...document.querySelectorAll("#channel-list .row")].map((row) => [...row.children].map((cell) => cell.textContent));
    const rates = Object.fromEntries(cells.map(([name, members, rate]) => [name, [members, rate]]));
    return rates["rates-busy"]?.[0] === "2" && Number(rates["rates-busy"]?.[1].replace(",", "")) > 1 && rates["rates-quiet"]?.[1] === "0";
  });
  goesOn = false;
  await busy;
  await page.click('button[data-order="members"]');
  await page.waitForFunction(() => document.querySelector('#channel-list [aria-rowindex="1"]')?.textContent.startsWith("rates-busy"));
  await backend.remove("rates-quiet", "a");
  await rowOf(page, "channel-list", "rates-quiet").waitFor({ state: "detached" });
  await close();
});

test("members and events of a channel are shown as they come", async () => {
  await backend.put("live", "a", "ada", { mood: "calm" });
  const { page, close } = await openPage({ at: "#/channels/live" });
  await isLive(page);
  const ada = rowOf(page, "member-list", "ada");
  assert.match(await ada.textContent(), /\{"mood":"calm"\}/);
  await ada.locator(".age", { hasText: /\d+ s|min/ }).waitFor();
  await backend.put("live", "g", "grace", {});
  await rowOf(page, "member-list", "grace").waitFor();
  await backend.put("live", "a", "ada", { mood: "merry" });
  await ada.filter({ hasText: "merry" }).waitFor();
  await backend.remove("live", "g");
  await rowOf(page, "member-list", "grace").waitFor({ state: "detached" });
  const events = await page.locator("#event-list .row").evaluateAll((rows) =>
    rows.map((row) => [Number(row.ariaRowIndex), ...[...row.children].slice(1).map((cell) => cell.textContent)]).sort((a, b) => a[0] - b[0]));
  assert.deepEqual(events.map(([, ...event]) => event), [
    ["leave", "grace", "leave"],
    ["update", "ada", '{"mood":"merry"}'],
    ["join", "grace", "{}"],
    ["snapshot", "", "of 1 member"],
  ]);
  await page.click("#pause");
  await backend.put("live", "h", "hedy", {});
  await says(page, "pause", "1 not shown");
  assert.equal(await rowOf(page, "event-list", "hedy").count(), 0);
  assert.deepEqual([await textOf(page, "channel-members"), await textOf(page, "channel-users")], ["2", "2"]);
  await close();
});

test("where no event stream can be had, the list is read all the same", async () => {
  await backend.put("no-stream", "a", "ada", { mood: "calm" });
  const { page, context } = await openPage({ at: "#/" });
  await page.route("**/events", (route) => route.fulfill({
    status: 503,
    contentType: "application/problem+json",
    body: JSON.stringify({ code: "UNAVAILABLE", detail: "64 event streams are open." }),
  }));
  await page.goto(`${server.url}console#/channels/no-stream`);
  await says(page, "channel-live", "Not connected: 64 event streams are open.");
  await rowOf(page, "member-list", "ada").waitFor();
  await page.unroute("**/events");
  await isLive(page);
  await context.close();
});

test("a user is found, and kicked after a question", async () => {
  await backend.put("kicks", "a", "ada", {});
  await backend.put("kicks-too", "a", "ada", {});
  const { page, close } = await openPage({ at: "#/channels" });
  await isConnected(page);
  await page.fill("#user-id", "nobody");
  await page.keyboard.press("Enter");
  await says(page, "user-summary", "In no channel.");
  await page.fill("#user-id", "ada");
  await page.keyboard.press("Enter");
  await rowOf(page, "user-list", /^kicks\{/).click();
  await isLive(page);
  assert.equal(new URL(page.url()).hash, "#/channels/presence%3Akicks");
  await rowOf(page, "member-list", "ada").click();
  assert.match(await textOf(page, "member-state"), /\{\}/);
  await page.click("#kick-user");
  await page.locator("#removal-dialog .close").click();
  assert.equal((await backend.channel("kicks")).connections, 1, "nothing happens before the question is answered");
  await page.click("#kick-user");
  await page.selectOption("#removal-time", "0");
  await page.click("#removal-confirm");
  await says(page, "removal-done", "Removed 1 connection.");
  await says(page, "member-since", "Has left.");
  await page.keyboard.press("Escape");
  await page.keyboard.press("Escape");
  await rowOf(page, "event-list", "kicked").waitFor();
  assert.equal((await backend.channel("kicks-too")).connections, 1);
  await page.goto(`${server.url}console#/users/ada`);
  await page.click("#disconnect");
  await page.click("#removal-confirm");
  await says(page, "removal-done", "onnection");
  await close();
});

test("the console says why a user is, or is not, in a channel", async () => {
  await backend.put("why", "a", HOSTILE, {});
  const { page, problems, context } = await openPage({ at: "#/channels/why" });
  await isLive(page);
  await page.locator("#member-list .row").click();
  await page.click("#member-why");
  await page.waitForSelector("#why-answer:not([hidden])");
  assert.ok((await textOf(page, "why-summary")).includes("<b>مرحبا</b>"), await textOf(page, "why-summary"));
  assert.match(await textOf(page, "why-since"), /begin at \d\d:\d\d:\d\d/);
  await page.fill("#why-user", "nobody");
  await page.keyboard.press("Enter");
  await says(page, "why-summary", "nobody");
  await page.fill("#why-channel", "x".repeat(201));
  await page.keyboard.press("Enter");
  await says(page, "why-error", "In a channel's name");
  assert.equal(await page.locator("#why-answer").isVisible(), false);
  for (const dialog of ["why", "member"]) await page.locator(`#${dialog}-dialog .close`).click();
  await page.goto(`${server.url}console#/users/nobody`);
  await page.click("#explain-user");
  assert.equal(await page.locator("#why-user").inputValue(), "nobody");
  await page.keyboard.type("why");
  await page.keyboard.press("Enter");
  await says(page, "why-summary", "nobody");
  assert.deepEqual(problems.filter((problem) => !problem.includes("400")), []);
  await context.close();
});

test("what users call themselves and show is text, and turns nothing around it", async () => {
  await backend.put(`hostile ${HOSTILE}`, "a", HOSTILE, { [HOSTILE]: HOSTILE, "</script><script>alert(2)</script>": 1 });
  await backend.put(`hostile ${"x".repeat(190)}`, "a", "u".repeat(256), { text: "y".repeat(900) });
  const { page, close } = await openPage();
  await page.fill("#filter", "hostile");
  await rowOf(page, "channel-list", "<img src=x").click();
  await isLive(page);
  const row = page.locator("#member-list .row");
  await row.click();
  await says(page, "member-state", "<script>alert(2)</script>");
  assert.equal(await textOf(page, "member-title"), HOSTILE.replace("\u202E", "⟨U+202E⟩"));
  const found = await page.evaluate(() => ({
    strangers: document.querySelectorAll("img, b, .row script, dialog script").length,
    isolated: [...document.querySelectorAll(".row .name, .row .detail, #member-title > *")].every((name) => name.tagName === "BDI"),
    overrides: /[\u202a-\u202e\u2066-\u2069]/.test(document.body.textContent),
    title: document.title,
  }));
  assert.deepEqual({ ...found, title: 0 }, { strangers: 0, isolated: true, overrides: false, title: 0 });
  const isSideways = () => page.evaluate(() => document.documentElement.scrollWidth > innerWidth);
  assert.equal(await isSideways(), false);
  await page.goto(`${server.url}console#/users/${"u".repeat(256)}`);
  await rowOf(page, "user-list", "hostile").waitFor();
  assert.equal(await isSideways(), false);
  await close();
});

test("the browser itself makes no markup and runs no script of a text", async () => {
  const { page, problems, context } = await openPage();
  await isConnected(page);
  const made = await page.evaluate(() => {
    try {
      document.body.innerHTML = "<b>x</b>";
      return "markup";
    } catch (error) {
      return error.name;
    }
  });
  assert.equal(made, "TypeError");
  assert.ok(problems.some((problem) => /TrustedHTML/.test(problem)), problems.join("\n"));
  await context.close();
});

test("everything can be done with the keyboard", async () => {
  for (const n of [1, 2, 3]) await backend.put("keys-a", `k${n}`, `user-${n}`, { n });
  await backend.put("keys-b", "k", "user-1", {});
  const { page, close } = await openPage();
  await isConnected(page);
  await page.keyboard.press("/");
  await page.keyboard.type("keys-");
  await says(page, "totals", "2 of ");
  const isActive = (name) =>
    page.waitForFunction((name) => {
      const id = document.activeElement?.getAttribute("aria-activedescendant");
      return id && document.getElementById(id)?.firstElementChild?.textContent === name;
    }, name);
  await page.keyboard.press("Enter");
  await isActive("keys-a");
  await page.keyboard.press("ArrowDown");
  await isActive("keys-b");
  await page.keyboard.press("ArrowUp");
  await isActive("keys-a");
  await page.keyboard.press("Enter");
  await isLive(page);
  assert.equal(await page.evaluate(() => document.activeElement?.id), "channel-title");
  // Tab reaches the members after the filter and a button.
  for (let tabs = 0; (await page.evaluate(() => document.activeElement?.id)) !== "member-list"; tabs += 1) {
    assert.ok(tabs < 6, "the members are out of reach");
    await page.keyboard.press("Tab");
  }
  await page.keyboard.press("End");
  await page.keyboard.press("Enter");
  await page.waitForSelector("#member-dialog[open]");
  assert.equal(await textOf(page, "member-title"), "user-3");
  await page.keyboard.press("Escape");
  assert.equal(await page.evaluate(() => document.activeElement?.id), "member-list", "the dialog gives the focus back");
  await page.keyboard.press("Escape");
  await page.waitForSelector("#nothing:not([hidden])");
  await page.waitForFunction(() => document.activeElement?.id === "channel-list");
  await isActive("keys-a");
  await close();
});

test("390 px are enough", async () => {
  await backend.put("narrow", "a", "ada", { text: "y".repeat(500) });
  const { page, close } = await openPage({ viewport: { width: 390, height: 844 } });
  await isConnected(page);
  const isSideways = () => page.evaluate(() => document.documentElement.scrollWidth > innerWidth);
  assert.equal(await isSideways(), false);
  await page.fill("#filter", "narrow");
  await rowOf(page, "channel-list", "narrow").click();
  await isLive(page);
  assert.equal(await page.locator("#channels").isVisible(), false);
  assert.equal(await isSideways(), false);
  await page.click('button[data-panel="events"]');
  await rowOf(page, "event-list", "snapshot").waitFor();
  await page.click('button[data-panel="members"]');
  await rowOf(page, "member-list", "ada").click();
  assert.equal(await isSideways(), false);
  await page.locator("#member-dialog .close").click();
  await page.locator("#channel .back").click();
  await page.locator("#channels").waitFor({ state: "visible" });
  await close();
});

/**
 * Two windows of a real browser, on the demo of the real binary: they see each other come, move, type and go, and
 * find each other again after the server was killed.
 */
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { openWindow, peopleOf, startBrowser, startServer, stopServers, waitForPeople } from "./stage.mjs";

let browser;
let server;

before(async () => {
  [browser, server] = await Promise.all([startBrowser(), startServer()]);
});

after(async () => {
  await browser?.close();
  await stopServers();
});

async function twoWindows(url) {
  const one = await openWindow(browser, url);
  const two = await openWindow(browser, url);
  await Promise.all([waitForPeople(one.page, 2), waitForPeople(two.page, 2)]);
  return [one, two];
}

/** An old list looks true: that both are back is seen by what is new. */
async function seeEachOtherType(one, two) {
  for (const [writer, reader] of [[one, two], [two, one]]) {
    await writer.page.locator("#words").pressSequentially("x");
    await reader.page.locator("#people li:nth-child(2) small.typing").waitFor();
  }
}

const close = (...windows) => Promise.all(windows.map(({ context }) => context.close()));
const nothing = (...windows) => windows.forEach(({ problems }) => assert.deepEqual(problems, []));

test("two windows see each other come, move, type and speak", async () => {
  const [one, two] = await twoWindows(`${server.url}#meeting`);
  assert.equal((await peopleOf(one.page)).length, 2);
  assert.match((await peopleOf(one.page))[0], /\(you\)$/);

  const stage = await one.page.locator("#stage").boundingBox();
  await one.page.mouse.move(stage.x + stage.width / 4, stage.y + stage.height / 2);
  const cursor = two.page.locator(".cursor");
  await cursor.waitFor();
  const at = await cursor.evaluate(({ style }) => [style.getPropertyValue("--x"), style.getPropertyValue("--y")]);
  assert.ok(Math.abs(at[0] - 0.25) < 0.01 && Math.abs(at[1] - 0.5) < 0.01, `the cursor stands at ${at}`);

  await one.page.locator("#words").pressSequentially("hello");
  await two.page.locator("#people small.typing").waitFor();
  await one.page.locator("#words").press("Enter");
  await two.page.locator(".cursor .label", { hasText: "hello" }).waitFor();

  const before = await two.page.locator("#people li b").nth(1).textContent();
  await one.page.locator("#name").fill("Grace");
  await two.page.locator("#people b", { hasText: "Grace" }).waitFor();
  assert.notEqual(before, "Grace");
  nothing(one, two);
  await close(one, two);
});

test("who closes the tab is gone within a second", async () => {
  const [one, two] = await twoWindows(`${server.url}#leaving`);
  const closed = Date.now();
  await two.context.close();
  await waitForPeople(one.page, 1);
  const took = Date.now() - closed;
  assert.ok(took < 1000, `the leave was seen after ${took} ms`);
  assert.match(await one.page.locator("#log").textContent(), /left \(disconnect\)/);
  nothing(one);
  await close(one);
});

test("who goes offline is gone, and comes back", async () => {
  const [one, two] = await twoWindows(`${server.url}#offline`);
  await two.page.locator("#offline").click();
  await waitForPeople(one.page, 1);
  await two.page.locator("#offline").click();
  await Promise.all([waitForPeople(one.page, 2), waitForPeople(two.page, 2)]);
  nothing(one, two);
  await close(one, two);
});

test("who loses the network finds the others again once it is back", async () => {
  const [one, two] = await twoWindows(`${server.url}#network`);
  const network = await two.context.newCDPSession(two.page);
  const emulate = (offline) =>
    network.send("Network.emulateNetworkConditions", { offline, latency: 0, downloadThroughput: -1, uploadThroughput: -1 });

  await emulate(true);
  await two.page.waitForSelector('#status[data-status="reconnecting"]');
  assert.equal((await peopleOf(two.page)).length, 2, "the list stays meanwhile");
  await emulate(false);
  await two.page.waitForSelector('#status[data-status="connected"]');
  await seeEachOtherType(one, two);
  nothing(one);
  // What a browser says of a socket that it cannot open is no fault of the page.
  assert.deepEqual(two.problems.filter((problem) => !problem.includes("ERR_INTERNET_DISCONNECTED")), []);
  await close(one, two);
});

test("after the server was killed and started again both are back without a reload", async () => {
  const mortal = await startServer();
  const [one, two] = await twoWindows(`${mortal.url}#restart`);
  await Promise.all([one, two].map(({ page }) => page.evaluate(() => (window.isSamePage = true))));
  const names = (await peopleOf(one.page)).map((name) => name.replace(" (you)", "")).sort();

  await mortal.kill("SIGKILL");
  await one.page.waitForSelector('#status[data-status="reconnecting"]');
  assert.equal((await peopleOf(one.page)).length, 2, "the list stays meanwhile");

  const again = await startServer({ port: mortal.port });
  await Promise.all([one, two].map(({ page }) => page.waitForSelector('#status[data-status="connected"]')));
  await Promise.all([waitForPeople(one.page, 2), waitForPeople(two.page, 2)]);
  for (const { page } of [one, two]) {
    assert.equal(await page.evaluate(() => window.isSamePage), true);
    assert.deepEqual((await peopleOf(page)).map((name) => name.replace(" (you)", "")).sort(), names);
  }
  await seeEachOtherType(one, two);
  await close(one, two);
  await again.kill();
});

test("a reload is seen by nobody where grace is allowed", async () => {
  const patient = await startServer({ env: { HERENOW_DISCONNECT_GRACE_MS: "10000" } });
  const [one, two] = await twoWindows(`${patient.url}#reload`);
  const watched = await one.page.evaluateHandle(() => {
    const counts = [];
    const people = document.getElementById("people");
    new MutationObserver(() => counts.push(people.children.length)).observe(people, { childList: true });
    return counts;
  });
  await two.page.reload();
  await two.page.waitForSelector('#status[data-status="connected"]');
  await waitForPeople(two.page, 2);
  await two.page.locator("#words").pressSequentially("back");
  await one.page.locator("#people small.typing").waitFor();
  assert.ok((await watched.jsonValue()).every((count) => count === 2), "somebody was seen to leave or to join");
  assert.doesNotMatch(await one.page.locator("#log").textContent(), /left|is away|is back/);
  nothing(one, two);
  await close(one, two);
  await patient.kill();
});

test("a user who leaves by a link a page that the browser does not keep is gone soon, however long the grace is", async () => {
  const patient = await startServer({ env: { HERENOW_DISCONNECT_GRACE_MS: "600000" } });
  const [one, two] = await twoWindows(`${patient.url}#link`);
  await two.page.evaluate(() => {
    addEventListener("pagehide", ({ persisted }) => sessionStorage.setItem("persisted", persisted));
    const link = document.createElement("a");
    link.href = "/health";
    document.body.append(link);
    link.click();
  });
  await waitForPeople(one.page, 1);
  await two.page.waitForURL("**/health");
  assert.equal(await two.page.evaluate(() => sessionStorage.getItem("persisted")), "false");
  await close(one, two);
  await patient.kill();
});

/**
 * What can happen to a window, in Chromium and in Firefox: each test asserts what the other window saw of it.
 */
import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer } from "node:http";
import { after, before, describe, test } from "node:test";
import { startServer, stopServers } from "./stage.mjs";
import { BROWSERS, launch, Network, Window } from "./windows.mjs";

/** Longer than any test takes: a leave that comes meanwhile was not caused by its end. In ms. */
const GRACE = { HERENOW_DISCONNECT_GRACE_MS: "600000" };

/** Shorter than the page is frozen, in ms. */
const TTL_MS = 4_000;
const FROZEN_MS = 3 * TTL_MS;

/** By how much the clock of a window is wrong, in ms. */
const WRONG_MS = 5 * 3_600_000;

after(stopServers);

for (const name of Object.keys(BROWSERS)) describe(name, () => scenes(name));

function scenes(name) {
  let browser;
  let plain;
  let patient;

  before(async () => {
    [browser, plain, patient] = await Promise.all([launch(name), startServer(), startServer({ env: GRACE })]);
  });
  after(() => browser?.close());

  /** Two windows that see each other; the first is the one that watches. */
  async function two(url, options) {
    const one = await Window.open(browser, url);
    const other = await Window.open(browser, url, options);
    await Promise.all([one.sees(2), other.sees(2)]);
    await one.watch();
    return [one, other];
  }

  /** An old list looks true: that the other is here is seen by what is new. */
  async function isAlive(one, other) {
    await other.rename("Still here");
    await one.seesName("Still here");
  }

  const close = (...windows) => Promise.all(windows.map((window) => window.close()));

  test("a window that is closed leaves once", async () => {
    const [one, other] = await two(`${plain.url}#closed`);
    await other.close();
    await one.sees(1);
    assert.deepEqual(await one.watched(), ["disconnect"]);
    await one.close();
  });

  test("offline and back within the grace: the other window sees nothing", async () => {
    const network = await Network.to(patient);
    const one = await Window.open(browser, `${patient.url}#offline`);
    const other = await Window.open(browser, `${network.url}#offline`);
    await Promise.all([one.sees(2), other.sees(2)]);
    await one.watch();
    network.down();
    await other.status("reconnecting");
    network.up();
    await other.isConnected();
    await isAlive(one, other);
    assert.deepEqual(await one.watched(), []);
    await close(one, other);
    network.close();
  });

  test("the server is killed and comes back: neither window sees the other leave", async () => {
    const mortal = await startServer();
    const [one, other] = await two(`${mortal.url}#killed`);
    await mortal.kill("SIGKILL");
    await Promise.all([one.status("reconnecting"), other.status("reconnecting")]);
    const again = await startServer({ port: mortal.port });
    await Promise.all([one.isConnected(), other.isConnected()]);
    await isAlive(one, other);
    await one.sees(2);
    // Who is back first finds the other missing in the first list, and is told at once that it came.
    assert.deepEqual((await one.watched()).filter((what) => !["came", "unknown"].includes(what)), []);
    await close(one, other);
    await again.kill();
  });

  test("a tab whose scripts stand still for three times the TTL does not leave", async () => {
    const strict = await startServer({ env: { HERENOW_PRESENCE_TTL: String(TTL_MS) } });
    const slow = createServer((_, answer) => setTimeout(() => answer.end(), FROZEN_MS));
    slow.listen(0, "127.0.0.1");
    await once(slow, "listening");
    const [one, other] = await two(`${strict.url}#frozen`);
    // A synchronous request: until it is answered, no script, no timer and no listener of the page runs.
    const stoodMs = await other.page.evaluate((url) => {
      const from = performance.now();
      const request = new XMLHttpRequest();
      request.open("GET", url, false);
      try {
        request.send();
      } catch {
        // The answer is for no other origin; that it took its time is what counts.
      }
      return performance.now() - from;
    }, `http://127.0.0.1:${slow.address().port}/`);
    assert.ok(stoodMs >= FROZEN_MS - 100, `the page stood still for ${stoodMs} ms`);
    await isAlive(one, other);
    assert.deepEqual(await one.watched(), []);
    await close(one, other);
    slow.close();
    await strict.kill();
  });

  test("a reload within the grace: the other window sees nothing", async () => {
    const [one, other] = await two(`${patient.url}#reload`);
    await other.page.reload();
    await other.isConnected();
    await isAlive(one, other);
    assert.deepEqual(await one.watched(), []);
    await close(one, other);
  });

  test("a link to a page without presence is a leave soon, however long the grace is; going back is a join", async () => {
    const [one, other] = await two(`${patient.url}#link`);
    await other.follow(`${patient.url}health`);
    await one.sees(1);
    assert.deepEqual(await one.watched(), ["disconnect"]);
    await other.page.goBack();
    await other.isConnected();
    await one.sees(2);
    await isAlive(one, other);
    assert.deepEqual(await one.watched(), ["disconnect", "came"]);
    await close(one, other);
  });

  test("a link to a page that tracks in the same channel, and back: the other window sees nothing", async () => {
    const [one, other] = await two(`${patient.url}#pages`);
    await other.follow(`${patient.url}?page=2#pages`);
    await other.isConnected();
    await isAlive(one, other);
    await other.page.goBack();
    await other.isConnected();
    await other.rename("Back again");
    await one.seesName("Back again");
    assert.deepEqual(await one.watched(), []);
    assert.equal(await one.tabs(), "", "no connection of another page is left");
    await close(one, other);
  });

  test("a link that is answered without a page, as a download is: the other window sees nothing", async () => {
    const empty = createServer((_, answer) => answer.writeHead(204).end());
    empty.listen(0, "127.0.0.1");
    await once(empty, "listening");
    const [one, other] = await two(`${patient.url}#download`);
    const asked = once(empty, "request");
    await other.click(`http://127.0.0.1:${empty.address().port}/`);
    await asked;
    await isAlive(one, other);
    assert.deepEqual(await one.watched(), []);
    assert.equal(await one.tabs(), "");
    await close(one, other);
    empty.close();
  });

  test("a clock that is wrong by hours, either way: the other window sees a user who stays", async () => {
    for (const wrongMs of [WRONG_MS, -WRONG_MS]) {
      const init = new Function(`
        const now = Date.now.bind(Date);
        Date.now = () => now() + ${wrongMs};
        const get = globalThis.fetch;
        globalThis.tokens = 0;
        globalThis.fetch = (...request) => (tokens++, get(...request));
      `);
      const [one, other] = await two(`${plain.url}#clock`, { init });
      await isAlive(one, other);
      assert.deepEqual(await one.watched(), []);
      assert.equal(await other.page.evaluate(() => tokens), 2, "one to connect, and one that says the new name");
      await other.close();
      await one.sees(1);
      await one.close();
    }
  });

  test("two tabs of one user are one row; one of them closes, and nobody has left", async () => {
    const url = `${plain.url}#tabs`;
    const identity = { userId: `guest-${name}`, name: "Two Tabs", hue: 10 };
    const [one, first] = await two(url, { identity });
    const second = await Window.open(browser, url, { identity });
    await one.seesName("Two Tabs");
    await one.page.waitForFunction(() => [...document.querySelectorAll(".tabs")].some((tabs) => tabs.textContent === "2 tabs"), { polling: 50 });
    await second.close();
    await one.page.waitForFunction(() => [...document.querySelectorAll(".tabs")].every((tabs) => !tabs.textContent), { polling: 50 });
    await one.sees(2);
    assert.deepEqual(await one.watched(), []);
    await first.close();
    await one.sees(1);
    assert.deepEqual(await one.watched(), ["disconnect"]);
    await one.close();
  });
}

/**
 * Takes the picture of the console for the README; with a folder as argument, those of other sizes, colours and views
 * too, to be looked at there.
 */
import { Backend } from "./backend.mjs";
import { startBrowser, startServer } from "./stage.mjs";

const folder = process.argv[2];
const out = folder ?? new URL("../docs/images/", import.meta.url).pathname;
const shots = [
  ["console", { colorScheme: "light" }],
  ["console-dark", { colorScheme: "dark" }],
  ["console-phone", { viewport: { width: 390, height: 844 }, colorScheme: "light" }],
].slice(0, folder ? undefined : 1);

const PEOPLE = ["ada", "alan", "barbara", "edsger", "frances", "grace", "hedy", "jane", "joe", "linus", "margaret", "tim"];
const PLACES = ["atlas", "cobalt", "ember", "harbor", "lantern", "meadow", "quarry", "signal"];

const [browser, server] = await Promise.all([startBrowser(), startServer()]);
const { key } = await (await fetch(`${server.url}dev/service-key`, { method: "POST" })).json();
const backend = new Backend(server.url, key);
await fill();
const busy = stir();
for (const [file, options] of shots) await take(file, options);
clearInterval(busy);
backend.close();
await browser.close();
await server.kill();

async function fill() {
  await backend.all(160, (n) => backend.put(`game-${PLACES[n % 8]}-${n % 40}`, `k${n}`, PEOPLE[n % 12], { score: n }));
  await backend.all(PEOPLE.length, (n) => backend.put("board", `m${n}`, PEOPLE[n], stateOf(n, 0)));
}

/** What people do at a shared board. */
function stir() {
  let turn = 0;
  return setInterval(() => {
    turn += 1;
    const who = turn % 7;
    void backend.put("board", `m${who}`, PEOPLE[who], stateOf(who, turn));
    if (turn % 9 === 0) void backend.put(`game-${PLACES[turn % 8]}-${turn % 8}`, `k${turn % 8}`, PEOPLE[turn % 8], { score: turn });
    if (turn % 30 === 0) void backend.put("board", "bot", "export-bot", { task: "export", percent: turn % 100 });
    if (turn % 30 === 20) void backend.remove("board", "bot").catch(() => undefined);
  }, 50);
}

function stateOf(who, turn) {
  const cursor = { x: ((who * 37 + turn) % 100) / 100, y: ((who * 53 + turn * 2) % 100) / 100 };
  return { status: who % 4 === 3 ? "away" : "active", ...(who < 7 && { cursor }) };
}

async function take(file, options) {
  const context = await browser.newContext({ viewport: { width: 1280, height: 800 }, ...options });
  const page = await context.newPage();
  const shot = (view) => page.screenshot({ path: `${out}/${file}${view}.png` });
  await page.goto(`${server.url}console#/channels/presence%3Aboard`);
  await page.waitForFunction(() => /\d/.test(document.getElementById("channel-rate").textContent));
  await page.waitForFunction(() => /[1-9].* changes/.test(document.getElementById("totals").textContent));
  await shot("");
  if (folder) await takeViews(page, shot);
  await context.close();
}

async function takeViews(page, shot) {
  if (await page.locator(".tabs").isVisible()) {
    await page.click('button[data-panel="events"]');
    await shot("-events");
    await page.click('button[data-panel="members"]');
  }
  await page.locator("#member-list .row", { hasText: "barbara" }).click();
  await shot("-member");
  await page.click("#member-why");
  await page.waitForSelector("#why-answer:not([hidden])");
  await shot("-why");
  await page.keyboard.press("Escape");
  await page.click("#kick-user");
  await shot("-kick");
  await page.keyboard.press("Escape");
  await page.keyboard.press("Escape");
  await page.goto(`${server.url}console#/users/jane`);
  await page.locator("#user-list .row").first().waitFor();
  await shot("-user");
  await page.goto(`${server.url}console#/channels`);
  await shot("-channels");
}

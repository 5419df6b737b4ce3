/**
 * The programs of docs/your-app.md as they stand there, against the real binary: a page of another port in Chromium, and
 * a program in Node with the package of the SDK. Only the port of the server differs.
 */
import assert from "node:assert/strict";
import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { after, before, test } from "node:test";
import { program, waitForRows as rows } from "./guide.mjs";
import { problemsOf, startBrowser, startServer, stopServers } from "./stage.mjs";

const SDK = new URL("../sdk/", import.meta.url).pathname;

let browser;
let server;
let folder;
const ends = [];

before(async () => {
  folder = mkdtempSync(join(tmpdir(), "herenow-app-"));
  [browser, server] = await Promise.all([startBrowser(), startServer()]);
});

after(async () => {
  for (const end of ends) await end();
  await browser?.close();
  await stopServers();
  rmSync(folder, { recursive: true, force: true });
});

async function serve(page) {
  const http = createServer((_, answer) => answer.setHeader("content-type", "text/html").end(page));
  http.listen(0, "127.0.0.1");
  await once(http, "listening");
  ends.push(() => new Promise((done) => http.close(done)));
  return http.address().port;
}

async function open(url) {
  const page = await (await browser.newContext()).newPage();
  const problems = problemsOf(page);
  await page.goto(url);
  return { page, problems };
}

/** A favicon that is not there is no fault of the guide. */
const own = (problems) => problems.filter((problem) => !problem.includes("404"));

test("the page of the guide runs on any port of this machine and lists who has it open", async () => {
  const port = await serve(program("html", server));
  const one = await open(`http://localhost:${port}/`);
  const two = await open(`http://127.0.0.1:${port}/`);
  await Promise.all([rows(one.page, 2), rows(two.page, 2)]);
  assert.match(await one.page.locator("#status").textContent(), /^user-\d+ is connected$/);
  assert.match(await one.page.locator("#users li").first().textContent(), /^user-\d+: curious$/);
  await two.page.close();
  await rows(one.page, 1);
  assert.deepEqual([own(one.problems), own(two.problems)], [[], []]);
  await one.page.close();
});

test("the program of the guide runs in Node with the package, and is seen", async () => {
  execFileSync("npm", ["pack", "--silent", "--pack-destination", folder], { cwd: SDK });
  const [file] = readdirSync(folder).filter((name) => name.endsWith(".tgz"));
  writeFileSync(join(folder, "package.json"), "{}");
  execFileSync("npm", ["install", "--silent", "--no-audit", "--no-fund", `./${file}`], { cwd: folder });
  writeFileSync(join(folder, "app.mjs"), program("js", server));
  const flags = globalThis.WebSocket ? [] : ["--experimental-websocket"];
  const app = spawn("node", [...flags, "app.mjs"], { cwd: folder, stdio: ["ignore", "pipe", "inherit"] });
  ends.push(() => app.kill());
  for await (const line of createInterface({ input: app.stdout })) {
    if (line === "robot") break;
  }
  app.kill();
  assert.equal((await once(app, "exit"))[1], "SIGTERM");
});

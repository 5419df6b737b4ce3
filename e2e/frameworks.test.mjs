/**
 * The files of docs/your-app.md for React, Vue, Svelte and Next, in the projects that the guide has the reader make: each is
 * built with the package of the SDK and opened in two windows, against the real binary.
 */
import assert from "node:assert/strict";
import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { cpSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { extname, join } from "node:path";
import { createInterface } from "node:readline";
import { after, before, test } from "node:test";
import { program, waitForRows } from "./guide.mjs";
import { problemsOf, startBrowser, startServer, stopServers } from "./stage.mjs";

const SDK = new URL("../sdk/", import.meta.url).pathname;
const APPS = new URL("apps/", import.meta.url).pathname;
const MADE = join(APPS, "made");
const BIN = join(APPS, "node_modules/.bin");
const TYPES = { ".html": "text/html", ".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml" };

let browser;
let server;
const ends = [];

before(async () => {
  installSdk();
  rmSync(MADE, { recursive: true, force: true });
  [browser, server] = await Promise.all([startBrowser(), startServer()]);
});

after(async () => {
  for (const end of ends) await end();
  await browser?.close();
  await stopServers();
});

/** The packed package: what a reader installs. */
function installSdk() {
  const folder = mkdtempSync(join(tmpdir(), "herenow-apps-"));
  try {
    execFileSync("npm", ["pack", "--silent", "--pack-destination", folder], { cwd: SDK });
    const [file] = readdirSync(folder);
    const flags = ["--no-save", "--no-audit", "--no-fund", "--silent", "--prefer-offline"];
    execFileSync("npm", ["install", ...flags, join(folder, file)], { cwd: APPS });
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** A project as its tool makes it, with one file from the guide. */
function project(name, template, file, text) {
  const folder = join(MADE, name);
  mkdirSync(folder, { recursive: true });
  cpSync(join(APPS, "node_modules", template), folder, { recursive: true });
  writeFileSync(join(folder, file), text);
  return folder;
}

/** What it printed is shown if it fails. */
function run(folder, command, args, env = {}) {
  try {
    execFileSync(join(BIN, command), args, { cwd: folder, env: { ...process.env, ...env }, stdio: "pipe", encoding: "utf8" });
  } catch ({ stdout, stderr }) {
    throw new Error(`${command} ${args.join(" ")} failed:\n${stdout}\n${stderr}`);
  }
}

async function serve(folder) {
  const http = createServer((request, answer) => {
    const path = request.url === "/" ? "/index.html" : new URL(request.url, "http://x").pathname;
    try {
      answer.setHeader("content-type", TYPES[extname(path)] ?? "application/octet-stream").end(readFileSync(join(folder, path)));
    } catch {
      answer.writeHead(404).end();
    }
  });
  http.listen(0, "127.0.0.1");
  await once(http, "listening");
  ends.push(() => new Promise((done) => (http.closeAllConnections(), http.close(done))));
  return `http://localhost:${http.address().port}/`;
}

async function open(url) {
  const page = await (await browser.newContext()).newPage();
  const problems = problemsOf(page);
  await page.goto(url);
  return { page, problems };
}

/** What one window shows of the other's coming and going: each once, and of nobody else. */
async function twoWindows(url) {
  const one = await open(url);
  await waitForRows(one.page, 1);
  const counts = await one.page.evaluateHandle(() => {
    const counts = [];
    const users = document.querySelector("#users");
    new MutationObserver(() => counts.push(users.children.length)).observe(users, { childList: true });
    return counts;
  });
  const two = await open(url);
  await Promise.all([waitForRows(one.page, 2), waitForRows(two.page, 2)]);
  await one.page.waitForFunction(() => /^user-\d+ is connected$/.test(document.querySelector("#status").textContent));
  assert.match(await one.page.locator("#users li").first().textContent(), /^user-\d+: curious$/);
  await two.page.context().close();
  await waitForRows(one.page, 1);
  assert.deepEqual(await counts.jsonValue(), [2, 1]);
  assert.deepEqual([...one.problems, ...two.problems].filter((problem) => !problem.includes("404")), []);
  await one.page.context().close();
}

for (const [name, file, language] of [
  ["vue", "src/App.vue", "vue"],
  ["svelte", "src/App.svelte", "svelte"],
]) {
  test(`the file of the guide for ${name} is built, and lists who has its page open`, async () => {
    const folder = project(name, `create-vite/template-${name}`, file, program(language, server));
    run(folder, "vite", ["build", "--logLevel", "warn"]);
    await twoWindows(await serve(join(folder, "dist")));
  });
}

// A build for development: there StrictMode mounts each component, unmounts it and mounts it again, which nobody sees.
test("the file of the guide for react is built, and lists who has its page open, under StrictMode", async () => {
  const folder = project("react", "create-vite/template-react", "src/App.jsx", program("jsx", server));
  assert.match(readFileSync(join(folder, "src/main.jsx"), "utf8"), /<StrictMode>/);
  run(folder, "vite", ["build", "--logLevel", "warn", "--mode", "development"], { NODE_ENV: "development" });
  await twoWindows(await serve(join(folder, "dist")));
});

// The folder of the lock file, and no bound on the time of a busy machine.
const NEXT_CONFIG = `export default {
  turbopack: { root: ${JSON.stringify(APPS)} },
  outputFileTracingRoot: ${JSON.stringify(APPS)},
  staticPageGenerationTimeout: 600,
};
`;

test("the file of the guide for next is built and type checked, and lists who has its page open", async () => {
  const folder = project("next", "create-next-app/dist/templates/app-empty/ts", "app/page.tsx", program("tsx", server));
  writeFileSync(join(folder, "next.config.ts"), NEXT_CONFIG);
  const env = { NEXT_TELEMETRY_DISABLED: "1" };
  run(folder, "next", ["build"], env);
  const next = spawn("node", [join(BIN, "next"), "start", "--port", "0", "--hostname", "127.0.0.1"], {
    cwd: folder,
    env: { ...process.env, ...env },
    stdio: ["ignore", "pipe", "inherit"],
  });
  ends.push(async () => {
    next.kill();
    await once(next, "exit");
  });
  for await (const line of createInterface({ input: next.stdout })) {
    const port = /http:\/\/127\.0\.0\.1:(\d+)/.exec(line)?.[1];
    if (!port) continue;
    next.stdout.resume();
    return await twoWindows(`http://127.0.0.1:${port}/`);
  }
  throw new Error("next ended before it said where it is");
});

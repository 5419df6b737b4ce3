/**
 * What the browser tests stand on: the real binary on a port of its own, and Debian's Chromium.
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { createInterface } from "node:readline";
import { chromium } from "playwright-core";

const BINARY = process.env.HERENOW_BIN ?? new URL("../target/debug/herenow", import.meta.url).pathname;
const CHROMIUM = process.env.CHROMIUM ?? "/usr/bin/chromium";

const running = new Set();

/** Starts `herenow dev`; port 0 takes any. The secret outlives a restart, and so do the tokens. */
export function startServer({ port = 0, env = {} } = {}) {
  return start(["dev", "--port", String(port)], env, "stdout");
}

/** Starts `herenow serve`, as in production. */
export function startProduction({ port = 0, env = {} } = {}) {
  return start(["serve", "--listen", `127.0.0.1:${port}`], env, "stderr");
}

/** `said` is where the server says its address. */
async function start(words, env, said) {
  if (!existsSync(BINARY)) throw new Error(`${BINARY} is missing: run \`cargo build\`, or set HERENOW_BIN`);
  const server = spawn(BINARY, words, {
    env: { ...process.env, JWT_USER_SECRET: "a secret for tests, of some forty letters", ...env },
    stdio: ["ignore", "pipe", said === "stderr" ? "pipe" : "inherit"],
  });
  running.add(server);
  for await (const line of createInterface({ input: server[said] })) {
    const port = /(?:http:\/\/|listening.*address=)127\.0\.0\.1:(\d+)/.exec(line)?.[1];
    if (!port) continue;
    server[said].resume();
    return { url: `http://127.0.0.1:${port}/`, port: Number(port), kill: (signal) => end(server, signal) };
  }
  throw new Error("the server ended before it said where it is");
}

async function end(server, signal = "SIGTERM") {
  if (server.exitCode !== null || server.signalCode !== null) return;
  running.delete(server);
  server.kill(signal);
  await once(server, "exit");
}

/** Ends those that are left of a test that failed: the process would wait for them for ever. */
export const stopServers = () => Promise.all([...running].map((server) => end(server)));

export async function startBrowser() {
  if (!existsSync(CHROMIUM)) {
    throw new Error(`${CHROMIUM} is missing: \`apt-get install chromium\`, or set CHROMIUM to where one is`);
  }
  const args = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"];
  return chromium.launch({ executablePath: CHROMIUM, args: [...args, "--disable-component-update", "--disable-sync"] });
}

/** A list that fills with what the console of a page complains of. */
export function problemsOf(page) {
  const problems = [];
  page.on("pageerror", (error) => problems.push(String(error)));
  page.on("console", (message) => message.type() === "error" && problems.push(message.text()));
  return problems;
}

/** A window of somebody of its own. `problems` fills with what its console complains of. */
export async function openWindow(browser, url, options = {}) {
  const context = await browser.newContext({ viewport: { width: 1280, height: 800 }, ...options });
  const page = await context.newPage();
  const problems = problemsOf(page);
  await page.goto(url);
  await page.waitForSelector('#status[data-status="connected"]');
  return { context, page, problems };
}

export const peopleOf = (page) => page.locator("#people li b").allTextContents();

/** Waits until the page lists so many people. */
export const waitForPeople = (page, count) =>
  page.waitForFunction((count) => document.querySelectorAll("#people li").length === count, count);

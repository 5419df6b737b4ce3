/**
 * Two windows in Chromium or in Firefox, on the demo of the real binary, and what the one saw of the other. Firefox is
 * driven by WebDriver BiDi, which it speaks itself.
 */
import { once } from "node:events";
import { existsSync } from "node:fs";
import { connect, createServer } from "node:net";
import puppeteer from "puppeteer-core";

export const BROWSERS = {
  chromium: { browser: "chrome", executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium", args: ["--no-sandbox"] },
  firefox: { browser: "firefox", executablePath: process.env.FIREFOX ?? "/usr/bin/firefox-esr" },
};

/** For everything that a busy machine does late, in ms. */
const PATIENCE_MS = 60_000;

export async function launch(name) {
  const options = BROWSERS[name];
  if (!existsSync(options.executablePath)) throw new Error(`${options.executablePath} is missing: run scripts/install-needs`);
  return puppeteer.launch({ ...options, headless: true, timeout: 2 * PATIENCE_MS, protocolTimeout: 2 * PATIENCE_MS });
}

/** Waits in a page that may be hidden, where no frame is drawn. */
const until = (page, check, ...args) => page.waitForFunction(check, { polling: 50, timeout: PATIENCE_MS }, ...args);

/** One window: another user in each, unless `identity` says who it is. `init` runs before the page's own scripts. */
export class Window {
  static async open(browser, url, { identity, init } = {}) {
    const context = await browser.createBrowserContext();
    const page = await context.newPage();
    if (identity) {
      await page.evaluateOnNewDocument((text) => {
        try {
          sessionStorage.setItem("herenow-demo-identity", text);
        } catch {
          // A page without an origin has no storage.
        }
      }, JSON.stringify(identity));
    }
    if (init) await page.evaluateOnNewDocument(init);
    const window = new Window(context, page);
    await page.goto(url);
    await window.isConnected();
    return window;
  }

  constructor(context, page) {
    this.context = context;
    this.page = page;
  }

  isConnected() {
    return until(this.page, () => document.querySelector("#status")?.dataset.status === "connected");
  }

  status(status) {
    return until(this.page, (status) => document.querySelector("#status")?.dataset.status === status, status);
  }

  sees(count) {
    return until(this.page, (count) => document.querySelectorAll("#people li").length === count, count);
  }

  /** Fetches a token with this name, which the others see only while the connection works. */
  rename(name) {
    return this.page.evaluate((name) => {
      const input = document.querySelector("#name");
      input.value = name;
      input.dispatchEvent(new Event("input"));
    }, name);
  }

  seesName(name) {
    return until(this.page, (name) => [...document.querySelectorAll("#people b")].some((b) => b.textContent.includes(name)), name);
  }

  /** From now on, what the list of events says of coming and going, oldest first. */
  async watch() {
    await this.page.evaluate(() => {
      globalThis.watched = [];
      new MutationObserver((changes) => {
        for (const { addedNodes } of changes) {
          for (const { className, textContent } of addedNodes) {
            if (className === "came") watched.push("came");
            if (className === "went") watched.push(/\((.*)\)/.exec(textContent)[1]);
          }
        }
      }).observe(document.querySelector("#log"), { childList: true });
    });
  }

  watched() {
    return this.page.evaluate(() => watched);
  }

  /** Waits until so much was seen of coming and going. */
  saw(count) {
    return until(this.page, (count) => watched.length >= count, count);
  }

  /** Leaves the page by a link. */
  async follow(url) {
    const arrived = this.page.waitForNavigation({ waitUntil: "load", timeout: PATIENCE_MS });
    await this.click(url);
    await arrived;
  }

  /** Follows a link, wherever that leads. */
  click(url) {
    return this.page.evaluate((url) => {
      const link = document.createElement("a");
      link.href = url;
      document.body.append(link);
      link.click();
    }, url);
  }

  /** What the rows say of users with several connections. */
  tabs() {
    return this.page.evaluate(() => [...document.querySelectorAll("#people .tabs")].map((tabs) => tabs.textContent).join(""));
  }

  close() {
    return this.context.close();
  }
}

/** A network between browser and server that can fail, for all of its connections at once. */
export class Network {
  #pairs = new Set();
  #isDown = false;

  static async to(server) {
    const network = new Network();
    network.server = createServer((near) => network.#accept(near, server.port));
    network.server.listen(0, "127.0.0.1");
    await once(network.server, "listening");
    network.url = `http://127.0.0.1:${network.server.address().port}/`;
    return network;
  }

  down() {
    this.#isDown = true;
    for (const socket of this.#pairs) socket.destroy();
  }

  up() {
    this.#isDown = false;
  }

  close() {
    this.down();
    this.server.close();
  }

  #accept(near, port) {
    if (this.#isDown) return near.destroy();
    const far = connect(port, "127.0.0.1");
    for (const [one, other] of [[near, far], [far, near]]) {
      this.#pairs.add(one);
      one.on("error", () => other.destroy()).on("close", () => {
        this.#pairs.delete(one);
        other.destroy();
      });
    }
    near.pipe(far);
    far.pipe(near);
  }
}

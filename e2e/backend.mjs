/**
 * What a backend does over HTTP: shows members that have no connection, many at once.
 */
import { Agent, request } from "node:http";

/** The server answers at most 32 requests at once; the console wants some of them. */
const AT_ONCE = 12;

export class Backend {
  #agent = new Agent({ keepAlive: true, maxSockets: AT_ONCE });
  #url;
  #key;

  constructor(url, key) {
    this.#url = url;
    this.#key = key;
  }

  /** Shows a member of this key, or changes its state. */
  put(channel, key, userId, state = {}) {
    const path = `/channels/${encodeURIComponent(channel)}/presence/${key}`;
    return this.#send("PUT", path, { userId, state, ttlMs: 600_000 });
  }

  remove(channel, key) {
    return this.#send("DELETE", `/channels/${encodeURIComponent(channel)}/presence/${key}`);
  }

  channel(channel) {
    return this.#send("GET", `/channels/${encodeURIComponent(channel)}`);
  }

  /** `count` requests, some at a time. */
  async all(count, send) {
    let next = 0;
    const worker = async () => {
      while (next < count) await send(next++);
    };
    await Promise.all(Array.from({ length: AT_ONCE }, worker));
  }

  close() {
    this.#agent.destroy();
  }

  #send(method, path, body) {
    const text = body && JSON.stringify(body);
    const headers = { Authorization: `Bearer ${this.#key}`, ...(text && { "Content-Length": Buffer.byteLength(text) }) };
    return new Promise((resolve, reject) => {
      const sent = request(`${this.#url}api/presence${path}`, { method, headers, agent: this.#agent }, (answer) => {
        let said = "";
        answer.setEncoding("utf8");
        answer.on("data", (more) => (said += more));
        answer.on("end", () => {
          if (answer.statusCode < 300) resolve(said && JSON.parse(said));
          else reject(new Error(`${method} ${path}: ${answer.statusCode} ${said}`));
        });
      });
      sent.on("error", reject);
      sent.end(text);
    });
  }
}

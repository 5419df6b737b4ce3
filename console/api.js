/**
 * What the console asks of `/api/presence`, on the server that it comes from. Knows paths and errors; knows no page.
 */
import { encoded } from "./route.js";

const BASE = "/api/presence";

/** Longer than the server itself waits for its event loops. In ms. */
const TIMEOUT_MS = 15_000;

/** The most that a page of a list may hold. */
const PAGE_ITEMS = 1000;

/** @typedef {import("./channels.js").ChannelRow} ChannelRow */
/** @typedef {{ userId: string, connectionId: string, state: unknown, since: string }} ListedPresence */
/** @typedef {{ channel: string, presences: { connectionId: string, state: unknown, since: string }[] }} UserChannel */

/** A request that has not done what it should; the message says why. */
export class ApiError extends Error {
  /** @param {string} code @param {string} message */
  constructor(code, message) {
    super(message);
    this.code = code;
  }
}

export class Api {
  #key;

  /** @param {string} key */
  constructor(key) {
    this.#key = key;
  }

  /** The pages of all channels in use, by name. @param {AbortSignal} signal @returns {AsyncGenerator<ChannelRow[]>} */
  channels(signal) {
    return this.#pages("/channels", "channels", signal);
  }

  /** @param {string} channel @param {AbortSignal} signal @returns {Promise<ChannelRow>} */
  channel(channel, signal) {
    return this.#ask("GET", channelPath(channel), { signal });
  }

  /** @param {string} channel @param {AbortSignal} signal @returns {AsyncGenerator<ListedPresence[]>} */
  members(channel, signal) {
    return this.#pages(`${channelPath(channel)}/presence`, "presences", signal);
  }

  /** @param {string} userId @param {AbortSignal} signal @returns {AsyncGenerator<UserChannel[]>} */
  user(userId, signal) {
    return this.#pages(`/users/${encoded(userId)}`, "channels", signal);
  }

  /** @param {string} channel @param {{ userId: string } | { connectionId: string }} whom @param {number} forMs @returns {Promise<{ connections: number }>} */
  kick(channel, whom, forMs) {
    return this.#ask("POST", `${channelPath(channel)}/kick`, { body: { ...whom, forMs } });
  }

  /** @param {string} userId @param {number} forMs @returns {Promise<{ connections: number }>} */
  disconnect(userId, forMs) {
    return this.#ask("POST", `/users/${encoded(userId)}/disconnect`, { body: { forMs } });
  }

  /** @param {string} channel @param {string} userId @returns {Promise<import("./why.js").Explanation>} */
  explain(channel, userId) {
    return this.#ask("GET", `/explain?channel=${encoded(channel)}&userId=${encoded(userId)}`, {});
  }

  /** What happens in a channel, until the signal or the server ends it. @param {string} channel @param {AbortSignal} signal */
  async events(channel, signal) {
    const answer = await this.#send("GET", `${channelPath(channel)}/events`, { signal });
    if (!answer.body) throw new ApiError("UNREACHABLE", UNREACHABLE);
    return answer.body;
  }

  /** @param {string} path @param {string} field @param {AbortSignal} signal */
  async *#pages(path, field, signal) {
    let cursor = "";
    for (;;) {
      const query = `?limit=${PAGE_ITEMS}${cursor && `&cursor=${encoded(cursor)}`}`;
      const page = await this.#ask("GET", path + query, { signal });
      yield page[field];
      if (page.next === null) return;
      cursor = page.next;
    }
  }

  /** @param {string} method @param {string} path @param {{ body?: object, signal?: AbortSignal }} more @returns {Promise<any>} */
  async #ask(method, path, { body, signal }) {
    const timeout = AbortSignal.timeout(TIMEOUT_MS);
    const answer = await this.#send(method, path, {
      ...(body && { body: JSON.stringify(body) }),
      signal: signal ? AbortSignal.any([signal, timeout]) : timeout,
    });
    try {
      return await answer.json();
    } catch (error) {
      throw signal?.aborted ? error : new ApiError("UNREACHABLE", BROKEN);
    }
  }

  /** @param {string} method @param {string} path @param {RequestInit} init */
  async #send(method, path, init) {
    const headers = { Authorization: `Bearer ${this.#key}` };
    let answer;
    try {
      answer = await fetch(BASE + path, { ...init, method, headers, cache: "no-store" });
    } catch (error) {
      if (init.signal?.aborted && init.signal.reason?.name !== "TimeoutError") throw error;
      throw new ApiError("UNREACHABLE", UNREACHABLE);
    }
    if (!answer.ok) throw await problem(answer);
    return answer;
  }
}

/** @param {string} channel */
function channelPath(channel) {
  return `/channels/${encoded(channel)}`;
}

/** An error as the server describes it; a proxy before it may answer with anything. @param {Response} answer */
async function problem(answer) {
  const body = await answer.json().catch(() => ({}));
  const detail = typeof body?.detail === "string" ? body.detail : `The server answered ${answer.status}.`;
  const code = answer.status === 401 ? "UNAUTHORIZED" : body?.code;
  return new ApiError(typeof code === "string" ? code : "UNKNOWN", detail);
}

const UNREACHABLE = "The server does not answer.";
const BROKEN = "The answer of the server has not come whole.";

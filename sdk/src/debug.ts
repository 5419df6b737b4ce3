/**
 * What goes over the wire, for the eyes of a developer: `import { debug } from "herenow/debug"`. One line for each frame and
 * for each end of a socket, without the tokens.
 */
import type { WebSocketClass, WebSocketLike } from "./link.js";

/** Longer frames are cut, in characters. */
const MAX_LINE_CHARACTERS = 1_000;

/** What lets others in, or take a connection over. */
const SECRETS: ReadonlySet<string> = new Set(["token", "resume"]);

/**
 * The option `WebSocket` of `createClient`: sockets that tell `log` what they carry. `WebSocket` is the class below, by
 * default the global one.
 */
export function debug(log: (line: string) => void, WebSocket?: WebSocketClass): WebSocketClass {
  let count = 0;
  return class extends DebuggedSocket {
    constructor(url: string) {
      const number = ++count;
      super(new (WebSocket ?? globalThis.WebSocket)(url), (text) => log(`herenow #${number} ${text}`));
    }
  };
}

class DebuggedSocket implements WebSocketLike {
  onopen: ((event: never) => void) | null = null;
  onmessage: ((event: never) => void) | null = null;
  onclose: ((event: never) => void) | null = null;
  onerror: ((event: never) => void) | null = null;
  readonly #inner: WebSocketLike;
  readonly #log: (text: string) => void;

  constructor(inner: WebSocketLike, log: (text: string) => void) {
    this.#inner = inner;
    this.#log = log;
    inner.onopen = (event) => {
      log("is open");
      this.onopen?.(event);
    };
    inner.onmessage = (event: { data: unknown }) => {
      log(`< ${readable(event.data)}`);
      this.onmessage?.(event as never);
    };
    inner.onclose = (event: { code: number; reason: string }) => {
      log(`ended with ${event.code} ${event.reason}`.trimEnd());
      this.onclose?.(event as never);
    };
    inner.onerror = (event) => this.onerror?.(event);
  }

  send(data: string): void {
    this.#log(`> ${readable(data)}`);
    this.#inner.send(data);
  }

  close(code?: number, reason?: string): void {
    this.#log(`closes with ${code ?? "no code"}`);
    this.#inner.close(code, reason);
  }
}

/** One line, in which no secret stands. What cannot be read may hold one, and is only counted. */
function readable(data: unknown): string {
  if (typeof data !== "string") return "(not text)";
  try {
    const line = JSON.stringify(JSON.parse(data), (key, value: unknown) => (SECRETS.has(key) ? "[redacted]" : value));
    if (line.length <= MAX_LINE_CHARACTERS) return line;
    return `${line.slice(0, MAX_LINE_CHARACTERS)}… (${line.length} characters)`;
  } catch {
    return `(${data.length} characters that are not JSON)`;
  }
}

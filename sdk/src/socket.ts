/**
 * One connection to the server that comes back for ever: token, authentication, liveness, backoff.
 *
 * Passes messages on and says when all must be said again; knows nothing of channels. Every way in which a
 * WebSocket can end leads to `#ended`, which alone decides what comes next.
 */
import { Heartbeat } from "./heartbeat.js";
import { watchPage } from "./page.js";
import { closeAdvice, describe, KICKED_CLOSE, parse, PresenceError, retryAfterMs, say } from "./protocol.js";
import type { CloseAdvice, ServerMessage } from "./protocol.js";
import type { Resume } from "./resume.js";
import { expiresAt, type Tokens } from "./token.js";

/**
 * `idle`: nothing is asked for yet. `connecting`: for the first time. `reconnecting`: after it stood.
 * `closed`: by `close()`, for good. `failed`: the token was refused and there is no way to get another, or a backend
 * disconnected the user; until `refresh()`.
 */
export type Status = "idle" | "connecting" | "connected" | "reconnecting" | "closed" | "failed";

/** What this library uses of a WebSocket. */
export interface WebSocketLike {
  onopen: ((event: never) => void) | null;
  onmessage: ((event: never) => void) | null;
  onclose: ((event: never) => void) | null;
  onerror: ((event: never) => void) | null;
  send(data: string): void;
  close(code?: number, reason?: string): void;
}

export type WebSocketClass = new (url: string) => WebSocketLike;

/** The one who is told. */
export interface SocketEvents {
  /** A new connection takes messages: all that is wanted must be said again. */
  opened(): void;
  received(message: ServerMessage): void;
  failed(error: PresenceError): void;
  statusChanged(status: Status): void;
  /** Whether anybody wants a connection now. */
  isWanted(): boolean;
}

export interface SocketOptions {
  url: string;
  tokens: Tokens;
  resume: Resume;
  WebSocket: WebSocketClass | undefined;
}

/** From the start of a connection to `auth_success`, in ms. */
const CONNECT_TIMEOUT_MS = 10_000;

/** Full jitter: a delay is random between 0 and this, doubled for each failure up to the most. In ms. */
const FIRST_DELAY_MS = 1_000;
const MAX_DELAY_MS = 10_000;

/** As many failures are taken as given where the advice is to come back later. */
const LATER_FAILURES = 4;

/** A connection that stood this long, in ms, clears the failures before it. */
const STABLE_MS = 10_000;

/** A token is renewed this long before it ends, and never sooner than the least wait, in ms. */
const REFRESH_AHEAD_MS = 60_000;
const MIN_REFRESH_WAIT_MS = 30_000;

/** What setTimeout can hold, in ms: beyond it, timers fire at once. A token that lives longer is renewed sooner. */
const MAX_TIMER_MS = 2 ** 31 - 1;

export class Socket {
  #options: SocketOptions;
  #told: SocketEvents;
  #status: Status = "idle";
  #ws: WebSocketLike | undefined;
  /** The one before, let go without a farewell: a late one would end the entries that are to be taken over. */
  #old: WebSocketLike | undefined;
  #isOpen = false;
  #stoodOnce = false;
  #connectedAt = 0;
  #failures = 0;
  /** Grows with each attempt: what an older one waited for is no longer of interest. */
  #attempt = 0;
  #isWaiting = false;
  /** The retry while waiting, the deadline of connecting, then the refresh of the token: never two at once. */
  #timer: ReturnType<typeof setTimeout> | undefined;
  #token: string | undefined;
  #offered: string | undefined;
  #refusal: PresenceError | undefined;
  #heartbeat = new Heartbeat(
    () => this.send(say.ping()),
    () => this.#drop(),
  );
  #endWatch: (() => void) | undefined;

  constructor(options: SocketOptions, told: SocketEvents) {
    this.#options = options;
    this.#told = told;
  }

  get status(): Status {
    return this.#status;
  }

  /** Whether a message sent now goes out. */
  get isOpen(): boolean {
    return this.#isOpen;
  }

  /** Connects, where nothing did yet. Throws `NO_WEBSOCKET`. */
  start(): void {
    if (this.#status === "idle") this.#begin();
  }

  /** Uses the token of now: on the connection that stands, or on a new one. */
  refresh(): void {
    if (this.#isOpen) {
      void this.#refresh(this.#options.tokens.usable());
    } else if (this.#status !== "closed" && this.#told.isWanted()) {
      const ws = this.#ws;
      this.#release();
      ws?.close();
      this.#begin();
    } else if (this.#status === "failed") this.#setStatus("idle");
  }

  #begin(): void {
    if (!this.#webSocket()) {
      throw new PresenceError(
        "NO_WEBSOCKET",
        "There is no global WebSocket: pass one, createClient(url, { WebSocket }).",
      );
    }
    this.#endWatch ??= watchPage({
      woke: () => this.#woke(),
      left: () => this.#left(),
      shelved: () => this.#shelved(),
    });
    void this.#connect();
  }

  send(text: string): void {
    if (this.#isOpen) this.#ws?.send(text);
  }

  /** Ends it for good. */
  close(): void {
    this.#stop("closed");
  }

  #webSocket(): WebSocketClass | undefined {
    return this.#options.WebSocket ?? (globalThis as { WebSocket?: WebSocketClass }).WebSocket;
  }

  async #connect(): Promise<void> {
    clearTimeout(this.#timer);
    this.#isWaiting = false;
    const attempt = ++this.#attempt;
    this.#setOut();
    try {
      const token = await this.#options.tokens.usable();
      if (attempt === this.#attempt) this.#open(token);
    } catch (error) {
      if (attempt !== this.#attempt) return;
      this.#told.failed(asPresenceError(error));
      this.#retry("soon");
    }
  }

  #open(token: string | undefined): void {
    const WebSocket = this.#webSocket();
    if (!WebSocket) return;
    const ws = new WebSocket(this.#options.url);
    this.#ws = ws;
    this.#token = token;
    this.#timer = setTimeout(() => this.#drop(), CONNECT_TIMEOUT_MS);
    const ifCurrent = (run: () => void): void => {
      if (this.#ws === ws) run();
    };
    ws.onopen = () => ifCurrent(() => this.#opened(token));
    ws.onmessage = (event: { data: unknown }) => ifCurrent(() => this.#received(event.data));
    ws.onclose = (event: { code: number; reason: string }) => ifCurrent(() => this.#ended(event.code, event.reason));
    // A close follows each error, and says more. Without a listener, some WebSockets throw.
    ws.onerror = () => {};
  }

  /** Nothing waits for the reply to `auth`: the server takes messages in order, and one round trip is saved. */
  #opened(token: string | undefined): void {
    this.#isOpen = true;
    this.#heartbeat.start();
    if (token === undefined) this.#stands();
    else this.send(say.auth(token, this.#options.resume.offer(token)));
    this.#told.opened();
  }

  #stands(): void {
    this.#stoodOnce = true;
    this.#connectedAt = Date.now();
    this.#scheduleRefresh();
    this.#setStatus("connected");
  }

  #received(data: unknown): void {
    this.#heartbeat.heard();
    const message = parse(data);
    if (!message) return;
    switch (message.type) {
      case "auth_success":
        this.#options.resume.held = message.resume;
        this.#token = this.#offered ?? this.#token;
        this.#closeOld();
        this.#stands();
        break;
      case "auth_refreshed":
        this.#token = this.#offered;
        this.#scheduleRefresh();
        break;
      case "auth_error":
        this.#refusal = new PresenceError(message.code, message.message);
        this.#drop();
        return;
      case "error":
        if (message.channel === undefined) {
          this.#failed(new PresenceError(message.code, message.message, undefined, message.retryAfterMs));
          return;
        }
        break;
    }
    this.#told.received(message);
  }

  #failed(error: PresenceError): void {
    if (error.code === "AUTH_EXPIRED" || error.code === "KICKED") {
      // Told at the close that follows, which decides whether it is the end.
      this.#refusal = error;
      return;
    }
    if (error.code === "AUTH_REFRESH_FAILED") {
      this.#options.tokens.refused();
      this.#scheduleRefresh();
    } else if (error.code === "AUTH_USER_MISMATCH") {
      // The application's user is another one now, and only a new connection can be that user's.
      this.#options.resume.held = undefined;
      this.#drop();
    }
    this.#told.failed(error);
  }

  /** Lets go of a socket that is dead or of no use, without waiting for it to agree. */
  #drop(): void {
    const ws = this.#ws;
    const stood = this.#connectedAt > 0;
    this.#ended(0, "");
    if (stood && this.#isWaiting && this.#options.resume.held) this.#old = ws;
    else ws?.close();
  }


  #ended(code: number, reason: string): void {
    const advice: CloseAdvice = this.#refusal ? "new-token" : closeAdvice(code);
    if (this.#connectedAt > 0 && Date.now() - this.#connectedAt >= STABLE_MS) this.#failures = 0;
    const refusal =
      this.#refusal ?? new PresenceError(code === KICKED_CLOSE ? "KICKED" : "AUTH_FAILED", "The server refused the token.");
    this.#release();
    if (advice === "new-token") {
      this.#options.tokens.refused();
      // A kicked user's next token would be refused as well: the application decides when to ask.
      if (refusal.code === "KICKED" || !this.#options.tokens.isRenewable) this.#stop("failed");
      this.#told.failed(refusal);
      if (this.#status === "failed") return;
    }
    if (this.#told.isWanted()) return this.#retry(advice, retryAfterMs(reason));
    this.#closeOld();
    this.#setStatus("idle");
  }

  #release(): void {
    clearTimeout(this.#timer);
    this.#attempt += 1;
    this.#isWaiting = false;
    this.#heartbeat.stop();
    this.#ws = undefined;
    this.#isOpen = false;
    this.#connectedAt = 0;
    this.#offered = undefined;
    this.#refusal = undefined;
  }

  #retry(advice: CloseAdvice, hint?: number): void {
    if (advice === "later") this.#failures = Math.max(this.#failures, LATER_FAILURES);
    const most = Math.min(MAX_DELAY_MS, FIRST_DELAY_MS * 2 ** this.#failures);
    this.#failures += 1;
    this.#setOut();
    this.#isWaiting = true;
    // The server spread its hint already, so it is kept to the letter.
    this.#timer = setTimeout(() => void this.#connect(), hint ?? Math.random() * most);
  }

  #stop(status: "closed" | "failed"): void {
    this.#farewell();
    this.#endWatch = void this.#endWatch?.();
    this.#setStatus(status);
  }

  /** Ends this connection and what is kept of it, here and at the server. */
  #farewell(): void {
    const ws = this.#ws;
    this.#release();
    this.#options.resume.held = undefined;
    this.#closeOld();
    ws?.close(1000);
  }

  #closeOld(): void {
    this.#old?.close(1000);
    this.#old = undefined;
  }

  #woke(): void {
    if (this.#isWaiting) void this.#connect();
    else if (this.#isOpen) this.#heartbeat.probe();
  }

  /** The browser's own close says that the page goes away, which is no farewell: it may be loaded again. */
  #left(): void {
    if (this.#options.resume.held) this.#options.resume.leave();
    else this.#shelved();
  }

  /**
   * In the browser's cache a socket may stay open and answer the server's Pings, for a page that nobody sees. What
   * is asked for stays, for `pageshow`.
   */
  #shelved(): void {
    if (this.#status === "idle") return;
    this.#farewell();
    this.#setOut();
    this.#isWaiting = true;
  }

  /** Half of a short token's life, or a minute before the end of a long one. */
  #scheduleRefresh(): void {
    clearTimeout(this.#timer);
    const ends = this.#token === undefined ? undefined : expiresAt(this.#token);
    if (ends === undefined || !this.#options.tokens.isRenewable) return;
    const remaining = ends - Date.now();
    const wait = Math.max(MIN_REFRESH_WAIT_MS, remaining - Math.min(REFRESH_AHEAD_MS, remaining / 2));
    const refresh = (): void => void this.#refresh(this.#options.tokens.renew());
    this.#timer = setTimeout(refresh, Math.min(wait, MAX_TIMER_MS));
  }

  async #refresh(next: Promise<string | undefined>): Promise<void> {
    const attempt = this.#attempt;
    try {
      const token = await next;
      if (attempt !== this.#attempt) return;
      if (token === undefined || token === this.#token) return this.#scheduleRefresh();
      this.#offered = token;
      this.send(say.auth(token));
    } catch (error) {
      if (attempt !== this.#attempt) return;
      this.#told.failed(asPresenceError(error));
      this.#scheduleRefresh();
    }
  }

  #setOut(): void {
    this.#setStatus(this.#stoodOnce ? "reconnecting" : "connecting");
  }

  #setStatus(status: Status): void {
    if (this.#status === status) return;
    this.#status = status;
    this.#told.statusChanged(status);
  }
}

function asPresenceError(error: unknown): PresenceError {
  return error instanceof PresenceError ? error : new PresenceError("INVALID_URL", describe(error));
}

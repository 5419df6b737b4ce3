/**
 * One connection to the server that comes back for ever: token, authentication, liveness, backoff.
 *
 * Passes messages on and says when all must be said again; knows nothing of channels. Every way in which a
 * WebSocket can end leads to `#ended`, which alone decides what comes next. The application is called in the middle of
 * all this, and may close the client: what is still to be done is arranged before each call, and looked at after it.
 */
import { Heartbeat } from "./heartbeat.js";
import type { Line, Link, SocketEvents, SocketOptions, Status, WebSocketClass, WebSocketLike } from "./link.js";
import { watchPage } from "./page.js";
import { closeAdvice, describe, errorOf, KICKED_CLOSE, parse, PresenceError, retryAfterMs, say } from "./protocol.js";
import type { CloseAdvice } from "./protocol.js";
import { type Token, unavailable } from "./token.js";

/** From the start of a connection to `auth_success`, in ms. */
const CONNECT_TIMEOUT_MS = 10_000;

/** `getToken` must answer within this time, in ms: one that hangs must not stop all reconnecting. */
const TOKEN_TIMEOUT_MS = 15_000;

/** Full jitter: a delay is random between 0 and this, doubled for each failure up to the most. In ms. */
const FIRST_DELAY_MS = 1_000;
const MAX_DELAY_MS = 4_000;

/** After this many failures, which are also taken as given where the advice is to come back later, the most is this. */
const MANY_FAILURES = 10;
const MAX_LATE_DELAY_MS = 10_000;

/** A connection that stood this long, in ms, clears the failures before it. */
const STABLE_MS = 10_000;

/** A token is renewed this long before it ends, and never sooner than the least wait, in ms. */
const REFRESH_AHEAD_MS = 60_000;
const MIN_REFRESH_WAIT_MS = 30_000;

/** What setTimeout can hold, in ms: beyond it, timers fire at once. A token that lives longer is renewed sooner. */
const MAX_TIMER_MS = 2 ** 31 - 1;

/** The reason of a status, and no error: the client is about to come back. */
const LOST = "CONNECTION_LOST";

export class Socket {
  statusReason: PresenceError | undefined;
  #options: SocketOptions;
  #told: SocketEvents;
  #status: Status = "idle";
  #link: Link = { is: "down" };
  #timer: ReturnType<typeof setTimeout> | undefined;
  /** The one before, let go without a farewell: a late one would end the entries that are to be taken over. */
  #old: WebSocketLike | undefined;
  #stoodOnce = false;
  #failures = 0;
  /** A refused token is replaced at once, but not that of the replacement. */
  #isReplaced = false;
  #heartbeat = new Heartbeat({
    ping: () => this.send(say.ping()),
    unheard: () => this.#setStatus("unstable"),
    dead: () => this.#drop(),
  });
  #endWatch: (() => void) | undefined;

  constructor(options: SocketOptions, told: SocketEvents) {
    this.#options = options;
    this.#told = told;
  }

  get status(): Status {
    return this.#status;
  }

  /** Whether there is a connection, or will be one by itself. */
  get isRunning(): boolean {
    return this.#link.is !== "down";
  }

  /** Whether a message sent now goes out. */
  get isOpen(): boolean {
    return this.#link.is === "open";
  }

  /** Something new is wanted: connects, unless another attempt would fail like the one before. Throws `NO_WEBSOCKET`. */
  start(): void {
    if (this.#status === "idle" || (this.#status === "failed" && this.statusReason?.code === "NOT_AUTHENTICATED")) this.#begin();
  }

  /** Uses the token of now: on the connection that stands, or on a new one. */
  refresh(): void {
    const link = this.#link;
    if (link.is === "open") {
      this.#refresh(link, () => this.#options.tokens.usable());
    } else if (this.#status !== "closed" && this.#told.isWanted()) {
      if (link.is === "opening") link.ws.close();
      this.#begin();
    } else if (this.#status === "failed") this.#setStatus("idle");
  }

  send(text: string): void {
    if (this.#link.is === "open") this.#link.ws.send(text);
  }

  /** Ends it until something is wanted. */
  rest(): void {
    if (this.isRunning) this.#stop("idle");
  }

  /** Ends it until the application has done something about it. */
  fail(reason: PresenceError): void {
    this.#stop("failed", reason);
  }

  /** Ends it for good. */
  close(): void {
    this.#stop("closed");
  }

  #begin(): void {
    if (!this.#webSocket) {
      throw new PresenceError(
        "NO_WEBSOCKET",
        "No global WebSocket: pass one to createClient.",
      );
    }
    this.#endWatch ??= watchPage({
      woke: () => this.#woke(),
      left: () => this.#left(),
      shelved: () => this.#shelved(),
    });
    this.#connect();
  }

  get #webSocket(): WebSocketClass | undefined {
    return this.#options.WebSocket ?? (globalThis as { WebSocket?: WebSocketClass }).WebSocket;
  }

  /** The only way from one link to another. */
  #enter<L extends Link>(link: L): L {
    clearTimeout(this.#timer);
    this.#heartbeat.stop();
    this.#link = link;
    return link;
  }

  #after(ms: number, run: () => void): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(run, ms);
  }

  #connect(): void {
    const link = this.#enter({ is: "asking" });
    this.#setOut();
    const { tokens } = this.#options;
    void this.#ask(link, () => tokens.usable(), (token) => this.#open(token), (error) => this.#retry("soon", error));
  }

  /** Nobody hears of an answer that comes after the link has become another one. */
  async #ask(
    link: Link,
    request: () => Promise<Token | undefined>,
    then: (token: Token | undefined) => void,
    failed: (error: PresenceError) => void,
  ): Promise<void> {
    if (this.#link !== link) return;
    this.#after(TOKEN_TIMEOUT_MS, () => failed(unavailable("no answer in time")));
    try {
      const token = await request();
      if (this.#link === link) then(token);
    } catch (error) {
      if (this.#link === link) failed(error instanceof PresenceError ? error : new PresenceError("INVALID_URL", describe(error)));
    }
  }

  #open(token: Token | undefined): void {
    const ws = new (this.#webSocket as WebSocketClass)(this.#options.url);
    const line = this.#enter<Line>({ is: "opening", ws, token });
    this.#after(CONNECT_TIMEOUT_MS, () => this.#drop());
    const ifCurrent = (run: () => void): void => {
      if (this.#link === line) run();
    };
    ws.onopen = () => ifCurrent(() => this.#opened(line));
    ws.onmessage = (event: { data: unknown }) => ifCurrent(() => this.#received(line, event.data));
    ws.onclose = (event: { code: number; reason: string }) =>
      ifCurrent(() => this.#ended(line, event.code, event.reason));
    // A close follows each error, and says more. Without a listener, some WebSockets throw.
    ws.onerror = () => {};
  }

  /** Nothing waits for the reply to `auth`: the server takes messages in order, and one round trip is saved. */
  #opened(line: Line): void {
    line.is = "open";
    this.#heartbeat.start();
    if (line.token) this.send(say.auth(line.token.text, this.#options.resume.offer(line.token.text)));
    else this.#stands(line);
    this.#told.opened();
  }

  #stands(line: Line): void {
    this.#stoodOnce = true;
    line.stoodAt = Date.now();
    this.#isReplaced = false;
    this.#scheduleRefresh(line);
    this.#setStatus("connected");
  }

  #received(line: Line, data: unknown): void {
    this.#heartbeat.heard();
    if (this.#status === "unstable") this.#setStatus("connected");
    const message = parse(data);
    if (!message) return;
    if (message.type === "auth_error") {
      line.refusal = errorOf(message);
      return this.#drop();
    }
    if (message.type === "error" && message.channel === undefined) return this.#refused(line, errorOf(message));
    if (message.type === "auth_refreshed") this.#renewed(line);
    this.#told.received(message);
    if (message.type === "auth_success" && this.#link === line) {
      this.#options.resume.held = message.resume;
      this.#closeOld();
      this.#renewed(line);
      this.#stands(line);
    }
  }

  #renewed(line: Line): void {
    line.token = line.offered ?? line.token;
    this.#scheduleRefresh(line);
  }

  #refused(line: Line, error: PresenceError): void {
    if (error.code === "AUTH_EXPIRED" || error.code === "KICKED") {
      // Told at the close that follows, which decides whether it is the end.
      line.refusal = error;
      return;
    }
    if (error.code === "AUTH_REFRESH_FAILED") {
      this.#options.tokens.refused();
      this.#scheduleRefresh(line);
    } else if (error.code === "AUTH_TIMEOUT" && !this.#told.isWanted()) {
      // The last public channel was left, and with it the right to stay.
      return;
    } else if (error.code === "AUTH_USER_MISMATCH") {
      // The application's user is another one now, and only a new connection can be that user's.
      this.#options.resume.giveUp();
      this.#drop();
    }
    this.#told.failed(error);
  }

  /** Lets go of a socket that is dead or of no use, without waiting for it to agree. */
  #drop(): void {
    const line = this.#link as Line;
    // Before the application is called, which may close what is kept.
    if (line.stoodAt && this.#options.resume.held && !line.refusal && this.#told.isWanted()) this.#old = line.ws;
    else line.ws.close();
    this.#ended(line, 0, "no answer");
  }

  #ended(line: Line, code: number, reason: string): void {
    const { tokens } = this.#options;
    let { refusal } = line;
    let hint = retryAfterMs(reason);
    const advice = refusal ? "new-token" : closeAdvice(code);
    if (line.stoodAt && Date.now() - line.stoodAt >= STABLE_MS) this.#failures = 0;
    if (advice === "new-token") {
      refusal ??= new PresenceError(code === KICKED_CLOSE ? "KICKED" : "AUTH_FAILED", "The server refused the token.");
      tokens.refused();
      // A kicked user's next token would be refused as well: the application decides when to ask.
      if (refusal.code === "KICKED" || !tokens.isRenewable) {
        this.fail(refusal);
        return this.#told.failed(refusal);
      }
      hint = this.#isReplaced ? undefined : 0;
      this.#isReplaced = true;
    } else {
      refusal =
        line.is === "opening"
          ? new PresenceError("UNREACHABLE", `No connection to ${this.#options.url} (${code}).`)
          : new PresenceError(LOST, `The connection ended (${code} ${reason}).`);
    }
    this.#retry(advice, refusal, hint);
  }

  #retry(advice: CloseAdvice, error: PresenceError, hint?: number): void {
    if (!this.#told.isWanted()) {
      this.#enter({ is: "down" });
      this.#closeOld();
      return this.#setStatus("idle");
    }
    if (advice === "later") this.#failures = Math.max(this.#failures, MANY_FAILURES);
    const most = Math.min(
      this.#failures < MANY_FAILURES ? MAX_DELAY_MS : MAX_LATE_DELAY_MS,
      FIRST_DELAY_MS * 2 ** this.#failures,
    );
    this.#failures += 1;
    const link = this.#enter({ is: "waiting" });
    // The server spread its hint already, so it is kept to the letter.
    this.#after(hint ?? Math.random() * most, () => this.#connect());
    // Once, until it stands again or something else goes wrong.
    if (error.code !== LOST && error.code !== this.statusReason?.code) this.#told.failed(error);
    if (this.#link === link) this.#setOut(error);
  }

  #stop(status: Status, reason?: PresenceError): void {
    this.#farewell({ is: "down" });
    this.#endWatch = void this.#endWatch?.();
    this.#setStatus(status, reason);
  }

  /** Ends this connection and what is kept of it, here and at the server. */
  #farewell(next: Link): void {
    const link = this.#link;
    this.#enter(next);
    this.#options.resume.giveUp();
    this.#closeOld();
    (link as Partial<Line>).ws?.close(1000);
  }

  #closeOld(): void {
    this.#old?.close(1000);
    this.#old = undefined;
  }

  #woke(): void {
    if (this.#link.is === "waiting") this.#connect();
    else if (this.#link.is === "open") this.#heartbeat.probe();
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
    this.#farewell({ is: "waiting" });
    this.#setOut();
  }

  /** Half of a short token's life, or a minute before the end of a long one. */
  #scheduleRefresh(line: Line): void {
    const { tokens } = this.#options;
    clearTimeout(this.#timer);
    const remaining = line.token?.remainingMs();
    if (remaining === undefined || !tokens.isRenewable) return;
    const wait = Math.max(MIN_REFRESH_WAIT_MS, remaining - Math.min(REFRESH_AHEAD_MS, remaining / 2));
    this.#after(Math.min(wait, MAX_TIMER_MS), () => this.#refresh(line, () => tokens.renew()));
  }

  #refresh(line: Line, request: () => Promise<Token | undefined>): void {
    const offer = (token: Token | undefined): void => {
      this.#scheduleRefresh(line);
      if (!token || token.text === line.token?.text) return;
      line.offered = token;
      this.send(say.auth(token.text));
    };
    void this.#ask(line, request, offer, (error) => {
      this.#scheduleRefresh(line);
      this.#told.failed(error);
    });
  }

  #setOut(reason = this.statusReason): void {
    this.#setStatus(this.#stoodOnce ? "reconnecting" : "connecting", reason);
  }

  #setStatus(status: Status, reason?: PresenceError): void {
    this.statusReason = reason;
    if (this.#status === status) return;
    this.#status = status;
    this.#told.statusChanged();
  }
}

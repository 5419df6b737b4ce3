/**
 * One connection to the server that comes back for ever: token, authentication, liveness, backoff.
 *
 * Passes messages on and says when all must be said again; knows nothing of channels. Where it stands is one `Link`, and the
 * status is read from that. Every way in which a WebSocket can end leads to `ended`, which alone decides what comes next. The
 * application is called in the middle of all this, and may close the client: what is still to be done is arranged before each
 * call, and looked at after it.
 */
import { MANY_FAILURES, waitMs } from "./backoff.js";
import { createHeartbeat } from "./heartbeat.js";
import { CONNECT_TIMEOUT_MS, LEFT_CLOSE, STABLE_MS, TOKEN_TIMEOUT_MS } from "./link.js";
import type { Line, Link, SocketEvents, SocketOptions, Status, WebSocketClass, WebSocketLike } from "./link.js";
import { watchPage } from "./page.js";
import { type ClientMessage, type CloseAdvice, closeAdvice, errorOf, KICKED_CLOSE, parse, PresenceError, retryAfterMs } from "./protocol.js";
import { refreshMs, type Token, unavailable } from "./token.js";

/** The reason of a status, and no error: the client is about to come back. */
const LOST = "CONNECTION_LOST";

const NO_ANSWER = "no answer";

export function createSocket({ url, tokens, resume, WebSocket }: SocketOptions, told: SocketEvents) {
  let link: Link = { is: "down", status: "idle" };
  let reason: PresenceError | undefined;
  /** The one thing that is waited for: what that is, the link says. */
  let timer: ReturnType<typeof setTimeout> | undefined;
  /** The one before, let go without a farewell: a late one would end the members that are to be taken over. */
  let old: WebSocketLike | undefined;
  let hasStood = false;
  let failures = 0;
  /** A refused token is replaced at once, but not that of the replacement. */
  let isReplaced = false;
  let endWatch: (() => void) | undefined;
  const heartbeat = createHeartbeat(() => send({ type: "ping" }), () => become("unstable"), drop);

  function status(): Status {
    return link.status ?? (hasStood ? "reconnecting" : "connecting");
  }

  /** The only way from one link to another. */
  function enter<L extends Link>(next: L): L {
    clearTimeout(timer);
    heartbeat.stop();
    link = next;
    return next;
  }

  function after(ms: number, run: () => void): void {
    clearTimeout(timer);
    timer = setTimeout(run, ms);
  }

  function send(message: ClientMessage): void {
    if (link.is === "open") link.ws.send(JSON.stringify(message));
  }

  function begin(): void {
    WebSocket ??= (globalThis as { WebSocket?: WebSocketClass }).WebSocket;
    if (!WebSocket) throw new PresenceError("NO_WEBSOCKET", "No global WebSocket: pass one to createClient.");
    endWatch ??= watchPage({ woke, left });
    connect();
  }

  function connect(): void {
    const mine = enter<Link>({ is: "asking" });
    told.statusChanged();
    void ask(mine, tokens.usable, open, (error) => retry("soon", error));
  }

  /** Nobody hears of an answer that comes after the link has become another one. */
  async function ask(
    mine: Link,
    request: () => Promise<Token | undefined>,
    then: (token: Token | undefined) => void,
    failed: (error: PresenceError) => void,
  ): Promise<void> {
    if (link !== mine) return;
    after(TOKEN_TIMEOUT_MS, () => failed(unavailable(NO_ANSWER)));
    try {
      const token = await request();
      if (link === mine) then(token);
    } catch (error) {
      if (link === mine) failed(error instanceof PresenceError ? error : new PresenceError("INVALID_URL", `${error}`));
    }
  }

  function open(token: Token | undefined): void {
    const ws = new (WebSocket as WebSocketClass)(url);
    const line = enter<Line>({ is: "opening", ws, token });
    after(CONNECT_TIMEOUT_MS, drop);
    const ifCurrent =
      <E>(run: (event: E) => void) =>
      (event: E): void =>
        void (link === line && run(event));
    ws.onopen = ifCurrent(() => opened(line));
    ws.onmessage = ifCurrent(({ data }: { data: unknown }) => received(line, data));
    ws.onclose = ifCurrent(({ code, reason }: { code: number; reason: string }) => ended(line, code, reason));
    // A close follows each error, and says more. Without a listener, some WebSockets throw.
    ws.onerror = () => {};
  }

  /** Nothing waits for the reply to `auth`: the server takes messages in order, and one round trip is saved. */
  function opened(line: Line): void {
    line.is = "open";
    heartbeat.start();
    if (line.token) send({ type: "auth", token: line.token.text, resume: resume.offer(line.token.text) });
    else stands(line);
    told.opened();
  }

  function stands(line: Line): void {
    hasStood = true;
    line.stoodAt = Date.now();
    isReplaced = false;
    reason = undefined;
    renewed(line);
    become("connected");
  }

  function become(status: Status): void {
    link.status = status;
    told.statusChanged();
  }

  function received(line: Line, data: unknown): void {
    heartbeat.heard();
    if (line.status === "unstable") become("connected");
    const message = parse(data);
    if (!message) return;
    if (message.type === "auth_error") {
      line.refused = errorOf(message);
      return drop();
    }
    if (message.type === "error" && message.channel === undefined) return refused(line, errorOf(message));
    if (message.type === "auth_refreshed") renewed(line);
    told.received(message);
    if (message.type === "auth_success" && link === line) {
      resume.held = message.resume;
      closeOld();
      stands(line);
    }
  }

  function renewed(line: Line): void {
    line.token = line.offered ?? line.token;
    scheduleRefresh(line);
  }

  function refused(line: Line, error: PresenceError): void {
    if (error.code === "AUTH_EXPIRED" || error.code === "KICKED") {
      // Told at the close that follows, which decides whether it is the end.
      return void (line.refused = error);
    } else if (error.code === "AUTH_REFRESH_FAILED") {
      tokens.refused();
      scheduleRefresh(line);
    } else if (error.code === "AUTH_TIMEOUT" && !told.isWanted()) {
      // The last public channel was left, and with it the right to stay.
      return;
    } else if (error.code === "AUTH_USER_MISMATCH") {
      // The application's user is another one now, and only a new connection can be that user's.
      resume.giveUp();
      drop();
    }
    told.failed(error);
  }

  /** Lets go of a socket that is dead or of no use, without waiting for it to agree. */
  function drop(): void {
    const line = link as Line;
    // Before the application is called, which may close what is kept.
    if (line.stoodAt && resume.held && !line.refused && told.isWanted()) old = line.ws;
    else line.ws.close();
    ended(line, 0, NO_ANSWER);
  }

  function ended(line: Line, code: number, why: string): void {
    let { refused: refusal } = line;
    let hint = retryAfterMs(why);
    const advice = refusal ? "new-token" : closeAdvice(code);
    if (line.stoodAt && Date.now() - line.stoodAt >= STABLE_MS) failures = 0;
    if (advice === "new-token") {
      refusal ??= new PresenceError(code === KICKED_CLOSE ? "KICKED" : "AUTH_FAILED", "The server refused the token.");
      tokens.refused();
      // A kicked user's next token would be refused as well: the application decides when to ask.
      if (refusal.code === "KICKED" || !tokens.isRenewable) {
        stop("failed", refusal);
        return told.failed(refusal);
      }
      hint = isReplaced ? NaN : 0;
      isReplaced = true;
    } else {
      const what = line.is === "opening" ? "UNREACHABLE" : LOST;
      refusal = new PresenceError(what, `No connection to ${url} (${code} ${why}).`);
    }
    retry(advice, refusal, hint);
  }

  function retry(advice: CloseAdvice, error: PresenceError, hint = NaN): void {
    if (!told.isWanted()) return stop("idle");
    if (advice === "later") failures = Math.max(failures, MANY_FAILURES);
    // Once, until it stands again or something else goes wrong.
    const isNews = error.code !== LOST && error.code !== reason?.code;
    enter({ is: "waiting" });
    reason = error;
    // The server spread its hint already, so it is kept to the letter.
    after(hint >= 0 ? hint : waitMs(failures), connect);
    failures += 1;
    if (isNews) told.failed(error);
    told.statusChanged();
  }

  function stop(status: Status, why?: PresenceError): void {
    farewell({ is: "down", status });
    endWatch = void endWatch?.();
    reason = why;
    told.statusChanged();
  }

  /** Ends this connection and what is kept of it, here and at the server. */
  function farewell(next: Link, code = 1000): void {
    const { ws } = link as Partial<Line>;
    enter(next);
    resume.giveUp();
    closeOld(code);
    ws?.close(code);
  }

  function closeOld(code = 1000): void {
    old?.close(code);
    old = undefined;
  }

  function woke(): void {
    if (link.is === "waiting") connect();
    else if (link.is === "open") heartbeat.probe();
  }

  /**
   * In the browser's cache a socket may stay open and answer the server's Pings, for a page that nobody sees: so it is closed.
   * The next page of this tab may take the connection's place. What is asked for stays, for `pageshow`.
   */
  function left(): void {
    resume.keep();
    farewell({ is: "waiting" }, LEFT_CLOSE);
    told.statusChanged();
  }

  function scheduleRefresh(line: Line): void {
    clearTimeout(timer);
    const wait = line.token && refreshMs(line.token);
    if (wait && tokens.isRenewable) after(wait, () => refreshOn(line, tokens.renew));
  }

  function refreshOn(line: Line, request: () => Promise<Token | undefined>): void {
    const offer = (token: Token | undefined): void => {
      scheduleRefresh(line);
      if (!token || token.text === line.token?.text) return;
      line.offered = token;
      send({ type: "auth", token: token.text });
    };
    void ask(line, request, offer, (error) => {
      scheduleRefresh(line);
      told.failed(error);
    });
  }

  return {
    status,
    /** What ended the connection, or keeps it from being open. */
    reason: () => reason,
    /** Whether there is a connection, or will be one by itself. */
    isRunning: () => link.is !== "down",
    /** Whether a message sent now goes out. */
    isOpen: () => link.is === "open",
    send,
    /** Something new is wanted: connects, unless another attempt would fail like the one before. Throws `NO_WEBSOCKET`. */
    start(): void {
      if (status() === "idle" || (status() === "failed" && reason?.code === "NOT_AUTHENTICATED")) begin();
    },
    /** Uses the token of now: on the connection that stands, or on a new one. */
    refresh(): void {
      if (link.is === "open") {
        refreshOn(link, tokens.usable);
      } else if (status() !== "closed" && told.isWanted()) {
        if (link.is === "opening") link.ws.close();
        begin();
      } else if (status() === "failed") stop("idle");
    },
    /**
     * Ends it: until something is wanted (`idle`), until the application has done something about the reason (`failed`), or
     * for good (`closed`).
     */
    stop,
  };
}

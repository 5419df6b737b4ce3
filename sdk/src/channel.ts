/**
 * One channel of one client: what is wanted of it, what the server was told, and what it said.
 *
 * Many `presence(name)` handles share it. Wanting goes up at the end of the microtask and down one task later, so
 * that a component which unmounts and mounts again (React's StrictMode, a change of route) is seen by nobody.
 */
import { afterTask, Listeners, type Unsubscribe } from "./listeners.js";
import { type LeaveReason, nameOf, PresenceError, say, type ServerMessage, type Snapshot, type State } from "./protocol.js";
import { type Outcome, Roster, type User } from "./roster.js";

export type SyncListener<S extends object = State> = (users: readonly User<S>[]) => void;
export type JoinListener<S extends object = State> = (
  userId: string,
  connectionId: string,
  state: S,
  more: { first: boolean },
) => void;
export type UpdateListener<S extends object = State> = (userId: string, connectionId: string, state: S) => void;
export type LeaveListener = (userId: string, connectionId: string, more: { reason: LeaveReason; last: boolean }) => void;

/** What a channel asks of its client. */
export interface ChannelHost {
  readonly isOpen: boolean;
  send(text: string): void;
  unsubscribe(name: string): void;
  /** This connection's own id, once it has one. */
  readonly connectionId: string | undefined;
  failed(error: PresenceError): void;
  forget(name: string): void;
}

/**
 * Where this connection stands with the channel: nothing asked; a subscription asked for, alone or by tracking
 * ("tracked"); granted; refused; kicked, and then nothing is asked for until the time is over.
 */
type Standing = "none" | "asked" | "tracked" | "granted" | "refused" | "kicked";

/** The wait before that, random between half of this and this, doubled each time up to the most. In ms. */
const FIRST_RETRY_MS = 2_000;
const MAX_RETRY_MS = 30_000;

/** A kick that lasts longer, in ms, is not believed: the server names none. */
const MAX_KICK_MS = 86_400_000;

export class Channel<S extends object = State> {
  /** `presence:<name>`, as on the wire. */
  readonly name: string;
  readonly onSync = new Listeners<Parameters<SyncListener<S>>>();
  readonly onJoin = new Listeners<Parameters<JoinListener<S>>>();
  readonly onUpdate = new Listeners<Parameters<UpdateListener<S>>>();
  readonly onLeave = new Listeners<Parameters<LeaveListener>>();
  #host: ChannelHost;
  #roster = new Roster<S>();
  /** The state that each handle tracks, as JSON, the newest last: that one is this connection's entry. */
  #tracked = new Map<object, string>();
  /** The state that the server was last sent on this connection, while that may be a member: "" once it was refused. */
  #sent: string | undefined;
  /** Whether this connection has lost the right to track. */
  #isKicked = false;
  #standing: Standing = "none";
  #isSyncDue = false;
  /** Forgotten by the client: another object has, or will have, this name. */
  #isOver = false;
  #retries = 0;
  #retryTimer: ReturnType<typeof setTimeout> | undefined;

  constructor(name: string, host: ChannelHost) {
    this.name = name;
    this.#host = host;
  }

  /** Whether anybody listens or tracks. */
  get isWanted(): boolean {
    return this.#tracked.size > 0 || this.#isListening;
  }

  users(): readonly User<S>[] {
    return this.#roster.users();
  }

  /** Listens to the list; told at once, after the present microtask, where one is known. */
  addSync(call: SyncListener<S>): Unsubscribe {
    // A list that has just changed is told to all listeners in a moment, this one included.
    return this.onSync.addLate(call, () => (this.#roster.known && !this.#isSyncDue ? [this.users()] : undefined));
  }

  /** One of the four kinds of listeners that make this client a subscriber was added; returns its end. */
  subscribing(end: Unsubscribe): Unsubscribe {
    // Who listens anew deserves an answer of its own, be it the same refusal.
    if (this.#standing === "refused") this.#standing = "none";
    this.#raiseSoon();
    return () => {
      end();
      this.#lowerLater();
    };
  }

  /** `json` was checked; `owner` is the handle whose state it is. */
  track(owner: object, json: string): void {
    this.#tracked.delete(owner);
    this.#tracked.set(owner, json);
    this.#raiseSoon();
  }

  untrack(owner: object): void {
    if (!this.#tracked.delete(owner)) return;
    // The state of the handle before it, if there is one.
    this.#raiseSoon();
    this.#lowerLater();
  }

  /** A new connection knows nothing of this channel. The list stays until its snapshot. */
  opened(): void {
    clearTimeout(this.#retryTimer);
    this.#retries = 0;
    this.#roster.reconnected();
    this.#standing = "none";
    this.#sent = undefined;
    this.#isKicked = false;
    this.#raise();
  }

  /** The same user's new token may open what was refused. */
  refreshed(): void {
    if (this.#isKeptOut) this.#standing = "none";
    this.#raise();
  }

  received(message: ServerMessage): void {
    switch (message.type) {
      case "presence_sync":
        this.#synced(message);
        break;
      case "presence_join":
      case "presence_update":
      case "presence_leave":
        // Changes follow a list: it came while nothing was wanted of this channel, the connection's default one.
        if (this.#standing === "tracked") this.#subscribe();
        this.#tell(this.#roster.delta(message));
        break;
      case "subscribed":
        this.#granted();
        break;
      case "unsubscribed":
        if (message.code !== undefined) this.lost(message.code, message.retryAfterMs);
        break;
      case "PRESENCE_RESYNC":
        this.#sent = undefined;
        this.#raise();
        break;
      case "error":
        this.#refused(message.code, message.message, message.retryAfterMs);
        break;
    }
  }

  /** The server ended the subscription. What is wanted stays wanted, for a new token or connection. */
  lost(code: string, kickMs?: number): void {
    if (this.#standing === "refused") return;
    clearTimeout(this.#retryTimer);
    this.#standing = "refused";
    this.#sent = undefined;
    this.#isKicked = false;
    if (kickMs !== undefined) this.#kicked(kickMs);
    this.#tell(this.#roster.lost());
    this.#fail(code, `The server ended the subscription of ${this.name}.`, kickMs);
  }

  /** This connection was found with an entry: taken back, where nobody here tracks. */
  settle(): void {
    if (this.#tracked.size === 0) this.#host.send(say.untrack(this.name));
  }

  /** Ends all that would still happen by itself. */
  stop(): void {
    clearTimeout(this.#retryTimer);
    this.#isSyncDue = false;
    this.#isOver = true;
  }

  get #isKeptOut(): boolean {
    return this.#standing === "refused" || this.#standing === "kicked";
  }

  get #isListening(): boolean {
    return this.onSync.size + this.onJoin.size + this.onUpdate.size + this.onLeave.size > 0;
  }

  #raiseSoon(): void {
    queueMicrotask(() => this.#raise());
  }

  /** Says what is wanted and not yet said. Tracking subscribes, and its snapshot then holds the own entry. */
  #raise(): void {
    if (!this.#host.isOpen || this.#standing === "kicked") return;
    const state = [...this.#tracked.values()].at(-1);
    if (state) {
      if (this.#sent === state) return;
      this.#sent = state;
      if (this.#standing === "none") this.#standing = "tracked";
      this.#host.send(say.track(this.name, state));
    } else if (this.#isListening && this.#standing === "none") {
      this.#subscribe();
    }
  }

  #subscribe(): void {
    this.#standing = "asked";
    this.#host.send(say.subscribe(this.name));
  }

  #lowerLater(): void {
    afterTask(() => this.#lower());
  }

  /** Takes back what nobody wants any more. */
  #lower(): void {
    if (this.#isOver) return;
    if (!this.isWanted) {
      clearTimeout(this.#retryTimer);
      if (this.#standing !== "none" && !this.#isKeptOut) this.#host.unsubscribe(this.name);
      this.#isOver = true;
      this.#host.forget(this.name);
    } else if (this.#tracked.size === 0 && this.#sent !== undefined) {
      this.#sent = undefined;
      this.#host.send(say.untrack(this.name));
      // The track may wait for the rate: then it goes, and its subscription with it.
      if (this.#standing === "tracked") this.#subscribe();
    }
  }

  #granted(): void {
    this.#standing = "granted";
    this.#retries = 0;
  }

  #synced(message: Snapshot): void {
    // The first list holds the own member if tracking was the first that was said: else the server has ended it since.
    const isExpected = this.#standing === "tracked";
    this.#granted();
    this.#tell(this.#roster.snapshot(message));
    if (isExpected && !message.presences.some((row) => row.connectionId === this.#host.connectionId)) this.#ended();
  }

  #refused(code: string, message: string, kickMs?: number): void {
    // Should it have been the state, then that is still to be sent, once there is a reason to try again.
    this.#sent &&= "";
    // The application has heard of the loss.
    if (this.#isKicked && code === "CHANNEL_ACCESS_DENIED") return this.#retryLater();
    if (kickMs !== undefined) {
      this.#kicked(kickMs);
    } else if (code === "SERVER_ERROR" || code === "RATE_LIMITED") {
      this.#retryLater();
    } else if (this.#standing === "tracked") {
      // Who may not appear may still be allowed to watch.
      if (this.#isListening) this.#subscribe();
      else this.#standing = "refused";
    } else if (this.#standing === "asked") {
      this.#standing = "refused";
    }
    this.#fail(code, message, kickMs);
  }

  /**
   * The server ended this connection's own entry, or it is missing from the list: it is tracked again. At once, since
   * this client is evidently alive; after the loss of the right later, and more slowly each time.
   */
  #ended(reason?: LeaveReason): void {
    this.#sent = undefined;
    if (reason === "kicked") {
      this.#isKicked = true;
      this.#retryLater();
      // Soon, since a list that lacks the member may tell it twice.
    } else if (this.#standing !== "refused") this.#raiseSoon();
  }

  /** A backend keeps this connection out for so long. */
  #kicked(ms: number): void {
    this.#standing = "kicked";
    this.#retryLater(Math.min(ms, MAX_KICK_MS));
  }

  #retryLater(leastMs = 0): void {
    clearTimeout(this.#retryTimer);
    const most = Math.min(MAX_RETRY_MS, FIRST_RETRY_MS * 2 ** this.#retries);
    this.#retries += 1;
    this.#retryTimer = setTimeout(() => {
      if (this.#standing !== "granted") this.#standing = "none";
      this.#raise();
    }, Math.max(leastMs, most * (0.5 + Math.random() / 2)));
  }

  #fail(code: string, message: string, kickMs?: number): void {
    this.#host.failed(new PresenceError(code, message, nameOf(this.name), kickMs));
  }

  #tell({ events, changed }: Outcome<S>): void {
    for (const event of events) {
      const { userId, connectionId } = event;
      if (event.type === "join") this.onJoin.emit(userId, connectionId, event.state, { first: event.first });
      else if (event.type === "update") this.onUpdate.emit(userId, connectionId, event.state);
      else {
        const { reason, last } = event;
        this.onLeave.emit(userId, connectionId, { reason, last });
        if (connectionId === this.#host.connectionId && reason !== "leave") this.#ended(reason);
      }
    }
    if (changed) this.#syncSoon();
  }

  /** Once for all frames of a task: a storm of joins is one list, not one for each. */
  #syncSoon(): void {
    if (this.#isSyncDue) return;
    this.#isSyncDue = true;
    afterTask(() => {
      if (!this.#isSyncDue) return;
      this.#isSyncDue = false;
      this.onSync.emit(this.users());
    });
  }
}

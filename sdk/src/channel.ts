/**
 * One channel of one client: what is wanted of it, what the server was told, and what it said.
 *
 * Many `presence(name)` handles share it. Wanting goes up at the end of the microtask and down one task later, so
 * that a component which unmounts and mounts again (React's StrictMode, a change of route) is seen by nobody.
 */
import type { EventDetails, JoinListener, LeaveListener, SyncedListener, SyncListener, UpdateListener } from "./events.js";
import { afterTask, Listeners, type Unsubscribe } from "./listeners.js";
import { errorOf, type LeaveReason, nameOf, PresenceError, say, type ServerMessage, type Snapshot, type State } from "./protocol.js";
import { type Outcome, Roster } from "./roster.js";
import type { ChannelHost, Standing } from "./standing.js";

/** The wait before asking again, random between half of this and this, doubled each time up to the most. In ms. */
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
  readonly onSynced = new Listeners<Parameters<SyncedListener>>();
  readonly roster: Roster<S>;
  /** Whether the list is that of now, as the listeners were told, and since when, in ms since 1970. */
  synced = false;
  since: number | undefined;
  #host: ChannelHost;
  /** The state that each handle tracks, as JSON, the newest last: that one is this connection's entry. */
  #tracked = new Map<object, string>();
  #standing!: Standing;
  #isSyncDue = false;
  /** Forgotten by the client: another object has, or will have, this name. */
  #isOver = false;
  #retryTimer: ReturnType<typeof setTimeout> | undefined;

  constructor(name: string, host: ChannelHost) {
    this.name = name;
    this.#host = host;
    this.roster = new Roster(() => host.me);
    this.#stand("none");
  }

  /** Listens to the list; told at once, after the present microtask, where one is known. */
  addSync(call: SyncListener<S>): Unsubscribe {
    // A list that has just changed is told to all listeners in a moment, this one included.
    return this.onSync.addLate(call, () => (this.roster.known && !this.#isSyncDue ? [this.roster.users()] : undefined));
  }

  /** A listener that makes this client a subscriber was added; returns its end. */
  subscribing(end: Unsubscribe): Unsubscribe {
    // Who listens anew deserves an answer of its own, be it the same refusal.
    if (this.#standing.is === "refused") this.#stand("none");
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
    this.dropped();
    this.#stand("none");
    this.#raise();
  }

  /** There is no connection. The list stays as it was. */
  dropped(): void {
    this.roster.reconnected();
    this.#mark();
  }

  /** The same user's new token may open what was refused. */
  refreshed(): void {
    if (this.isKeptOut) this.#stand("none");
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
        if (this.#standing.is === "tracked") this.#subscribe();
        this.#tell(this.roster.delta(message));
        break;
      case "subscribed":
        this.#granted();
        break;
      case "unsubscribed":
        if (message.code !== undefined) this.lost(message.code, message.retryAfterMs);
        break;
      case "PRESENCE_RESYNC":
        this.#standing.sent = undefined;
        this.#raise();
        break;
      case "error":
        this.#refused(errorOf(message));
        break;
    }
  }

  /** The server ended the subscription. What is wanted stays wanted, for a new token or connection. */
  lost(code: string, kickMs?: number): void {
    if (this.#standing.is === "refused") return;
    this.#stand("refused");
    if (kickMs !== undefined) this.#kicked(kickMs);
    this.#tell(this.roster.lost());
    this.#fail(code, "The server ended the subscription.", kickMs);
  }

  /** This connection may have been taken over with an entry: taken back, where nobody here tracks. */
  settle(): void {
    if (this.#tracked.size === 0) this.#host.send(say.untrack(this.name));
  }

  /** Ends all that would still happen by itself. */
  stop(): void {
    this.#stand("none");
    this.#isSyncDue = false;
    this.#isOver = true;
  }

  /** Whether the server has said no, and nothing is asked for. */
  get isKeptOut(): boolean {
    return this.#standing.is === "refused" || this.#standing.is === "kicked";
  }

  get #isListening(): boolean {
    return [this.onSync, this.onJoin, this.onUpdate, this.onLeave, this.onSynced].some(({ size }) => size > 0);
  }

  /** Nothing that was said or heard before counts any more. */
  #stand(is: Standing["is"]): void {
    clearTimeout(this.#retryTimer);
    this.#standing = { is, retries: 0 };
  }

  #raiseSoon(): void {
    queueMicrotask(() => this.#raise());
  }

  /** Says what is wanted and not yet said. Tracking subscribes, and its snapshot then holds the own entry. */
  #raise(): void {
    const standing = this.#standing;
    if (!this.#host.isOpen || standing.is === "kicked") return;
    const state = [...this.#tracked.values()].at(-1);
    if (state) {
      if (standing.sent === state) return;
      standing.sent = state;
      if (standing.is === "none") standing.is = "tracked";
      this.#host.send(say.track(this.name, state));
    } else if (this.#isListening && standing.is === "none") {
      this.#subscribe();
    }
  }

  #subscribe(): void {
    this.#standing.is = "asked";
    this.#host.send(say.subscribe(this.name));
  }

  #lowerLater(): void {
    afterTask(() => this.#lower());
  }

  /** Takes back what nobody wants any more. */
  #lower(): void {
    if (this.#isOver) return;
    const standing = this.#standing;
    if (this.#tracked.size > 0) return;
    if (!this.#isListening) {
      if (standing.is !== "none" && !this.isKeptOut) this.#host.unsubscribe(this.name);
      this.stop();
      this.#host.forget(this.name);
    } else if (standing.sent !== undefined) {
      standing.sent = undefined;
      this.#host.send(say.untrack(this.name));
      // The track may wait for the rate: then it goes, and its subscription with it.
      if (standing.is === "tracked") this.#subscribe();
    }
  }

  #granted(): void {
    this.#standing.is = "granted";
    this.#standing.retries = 0;
  }

  #synced(message: Snapshot): void {
    // The first list holds the own member if tracking was the first that was said: else the server has ended it since.
    const isExpected = this.#standing.is === "tracked";
    this.#granted();
    this.#tell(this.roster.snapshot(message), "resync");
    if (isExpected && !message.presences.some(({ connectionId }) => this.#isMe(connectionId))) this.#ended();
  }

  #isMe(connectionId: string): boolean {
    return connectionId === this.#host.me?.connectionId;
  }

  #refused(error: PresenceError): void {
    const standing = this.#standing;
    const { code, retryAfterMs } = error;
    // Should it have been the state, then that is still to be sent, once there is a reason to try again.
    standing.sent &&= "";
    // The application has heard of the loss.
    if (standing.isBarred && code === "CHANNEL_ACCESS_DENIED") return this.#retryLater();
    if (retryAfterMs !== undefined) {
      this.#kicked(retryAfterMs);
    } else if (code === "SERVER_ERROR" || code === "RATE_LIMITED") {
      this.#retryLater();
    } else if (standing.is === "tracked" && this.#isListening) {
      // Who may not appear may still be allowed to watch.
      this.#subscribe();
    } else if (standing.is === "tracked" || standing.is === "asked") {
      standing.is = "refused";
    }
    this.#host.failed(error);
  }

  /**
   * The server ended this connection's own entry, or it is missing from the list: it is tracked again. At once, since
   * this client is evidently alive; after the loss of the right later, and more slowly each time.
   */
  #ended(reason?: LeaveReason): void {
    this.#standing.sent = undefined;
    if (reason === "kicked") {
      this.#standing.isBarred = true;
      this.#retryLater();
      // Soon, since a list that lacks the member may tell it twice.
    } else if (this.#standing.is !== "refused") this.#raiseSoon();
  }

  /** A backend keeps this connection out for so long. */
  #kicked(ms: number): void {
    this.#standing.is = "kicked";
    this.#retryLater(Math.min(ms, MAX_KICK_MS));
  }

  #retryLater(leastMs = 0): void {
    clearTimeout(this.#retryTimer);
    const most = Math.min(MAX_RETRY_MS, FIRST_RETRY_MS * 2 ** this.#standing.retries);
    this.#standing.retries += 1;
    this.#retryTimer = setTimeout(() => {
      if (this.#standing.is !== "granted") this.#standing.is = "none";
      this.#raise();
    }, Math.max(leastMs, most * (0.5 + Math.random() / 2)));
  }

  #fail(code: string, message: string, kickMs?: number): void {
    this.#host.failed(new PresenceError(code, message, nameOf(this.name), kickMs));
  }

  #tell({ events, changed }: Outcome<S>, cause?: "resync"): void {
    for (const event of events) {
      // A listener may have closed the client.
      if (this.#isOver) return;
      const { userId, connectionId } = event;
      const more: EventDetails = { isMe: this.#isMe(connectionId), cause };
      if (event.type === "join") this.onJoin.emit(userId, connectionId, event.state, { first: event.first, ...more });
      else if (event.type === "update") this.onUpdate.emit(userId, connectionId, event.state, more);
      else {
        const { reason, last } = event;
        this.onLeave.emit(userId, connectionId, { reason, last, ...more });
        if (!more.isMe || reason === "leave") continue;
        this.#ended(reason);
        if (reason !== "unknown") this.#fail("MEMBER_ENDED", reason);
      }
    }
    if (changed) this.#syncSoon();
    this.#mark();
  }

  #mark(): void {
    const { synced } = this.roster;
    if (this.synced === synced) return;
    this.synced = synced;
    this.since = Date.now();
    this.onSynced.emit(synced);
  }

  /** Once for all frames of a task: a storm of joins is one list, not one for each. */
  #syncSoon(): void {
    if (this.#isSyncDue) return;
    this.#isSyncDue = true;
    afterTask(() => {
      if (!this.#isSyncDue) return;
      this.#isSyncDue = false;
      this.onSync.emit(this.roster.users());
    });
  }
}

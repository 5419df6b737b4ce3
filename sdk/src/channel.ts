/**
 * One channel of one client: what is wanted of it, what the server was told, and what it said.
 *
 * Many `presence(name)` handles share it. Wanting goes up at the end of the microtask and down one task later, so
 * that a component which unmounts and mounts again (React's StrictMode, a change of route) is seen by nobody.
 */
import { createAnswers } from "./answers.js";
import { doubled } from "./backoff.js";
import type { ChannelListeners } from "./events.js";
import { createFeed } from "./feed.js";
import { afterTask, type Unsubscribe } from "./listeners.js";
import { errorOf, type LeaveReason, nameOf, PresenceError, type ServerMessage, type Snapshot, type State } from "./protocol.js";
import type { ChannelHost, Owner, Standing } from "./standing.js";
import { leftOf, type Tracked } from "./tracked.js";

/** The wait before asking again, random between half of this and this, backoff each time up to the most. In ms. */
const FIRST_RETRY_MS = 2_000;
const MAX_RETRY_MS = 30_000;

/** A kick that lasts longer, in ms, is not believed: the server names none. */
const MAX_KICK_MS = 86_400_000;

/** Each state that is sent has another one, in whichever channel: the server's answer names nothing else. */
let newestRef = 0;

export type Channel<S extends object = State> = ReturnType<typeof createChannel<S>>;

/** `name` is `presence:<name>`, as on the wire. */
export function createChannel<S extends object = State>(name: string, host: ChannelHost) {
  /** The handles that track, the newest last: its state is that of this connection's member. */
  const owners = new Set<Owner>();
  const answers = createAnswers();
  let standing: Standing = { is: "none", isCounting: false, retries: 0 };
  /** Until what is wanted is said again: after a refusal, or when the handle that tracks may send its next state. */
  let timer: ReturnType<typeof setTimeout> | undefined;
  const feed = createFeed<S>(host, {
    ownLeft(reason) {
      if (reason === "leave") return;
      ended(reason);
      if (reason !== "unknown") fail("MEMBER_ENDED", reason);
    },
    isOver: () => standing.is === "over",
  });

  /** Adds a listener, which makes this client a subscriber; returns its end. */
  function listen<K extends keyof ChannelListeners>(kind: K, listener: ChannelListeners<S>[K]): Unsubscribe {
    const end = feed.on[kind].add(listener as never);
    // Who listens anew deserves an answer of its own, be it the same refusal.
    if (standing.is === "refused") stand("none");
    raiseSoon();
    return () => {
      end();
      afterTask(() => lower());
    };
  }

  /** Gives the server's answer to this state, or to a newer one in its place. */
  function track(owner: Owner, tracked: Tracked): Promise<boolean> {
    owner.tracked = tracked;
    owners.delete(owner);
    owners.add(owner);
    raiseSoon();
    return answers.toNext();
  }

  function untrack(owner: Owner): void {
    owner.tracked = undefined;
    if (owners.delete(owner) && !owners.size) answered(false);
    // Also for the state of the handle before it, if there is one.
    afterTask(() => lower());
  }

  /** A new connection knows nothing of this channel, and has answered nothing. The list stays until its snapshot. */
  function opened(): void {
    stand("none");
    raise();
  }

  /** The same user's new token may open what was refused. */
  function refreshed(): void {
    if (isKeptOut()) stand("none");
    raise();
  }

  function received(message: ServerMessage): void {
    switch (message.type) {
      case "presence_sync":
        // It belongs to an earlier subscription, or tracking has subscribed after a message that counts was refused.
        if (standing.isCounting) subscribe();
        else listed(message);
        break;
      case "presence_count":
        feed.counted(message);
        break;
      case "presence_join":
      case "presence_update":
      case "presence_leave":
        // Changes follow a list: it came while nothing was wanted of this channel, the connection's default one.
        if (standing.is === "tracked") subscribe();
        feed.tell(feed.roster.delta(message));
        break;
      case "subscribed":
        granted();
        break;
      case "unsubscribed":
        if (message.code !== undefined) lost(message.code, message.retryAfterMs);
        break;
      case "PRESENCE_RESYNC":
        standing.sent = undefined;
        raise();
        break;
      case "ack":
        answered(true, message.ref);
        break;
      case "error":
        refused(errorOf(message), message.ref);
        break;
    }
  }

  /** The server ended the subscription. What is wanted stays wanted, for a new token or connection. */
  function lost(code: string, kickMs?: number): void {
    if (standing.is === "refused") return;
    stand("refused");
    if (kickMs !== undefined) kicked(kickMs);
    feed.tell(feed.roster.lost());
    feed.counted({ users: 0, connections: 0 });
    fail(code, "The server ended the subscription.", kickMs);
  }

  /** This connection may have been taken over with an entry: taken back, where nobody here tracks. */
  function settle(): void {
    if (!owners.size) host.send({ type: "presence_leave", channel: name });
  }

  /** The message that asked, for several channels, may have been one too many. */
  function limited(): void {
    if (standing.is === "asked") retryLater();
  }

  /** Ends all that would still happen by itself. */
  function stop(): void {
    stand("over");
    answered(false);
  }

  /** Whether the server has said no, and nothing is asked for. */
  function isKeptOut(): boolean {
    return standing.is === "refused" || standing.is === "kicked";
  }

  /** Nothing that was said or heard before counts any more. */
  function stand(is: Standing["is"]): void {
    clearTimeout(timer);
    standing = { is, isCounting: false, retries: 0 };
    answers.forget();
  }

  function raiseSoon(): void {
    queueMicrotask(() => raise());
  }

  /** Says what is wanted and not yet said. Tracking subscribes, and its snapshot then holds the own entry. */
  function raise(): void {
    if (standing.is === "over") answered(false);
    if (!host.isOpen(name) || standing.is === "kicked") return;
    const owner = [...owners].at(-1);
    // Tracking subscribes to the list, so a channel that only counts subscribes first.
    const isOther = feed.isCounting() !== standing.isCounting && !isKeptOut();
    if (feed.isListening() && (isOther || (standing.is === "none" && !owner))) subscribe();
    if (owner?.tracked) {
      const sent = JSON.stringify(owner.tracked);
      if (standing.sent !== sent) {
        const wait = owner.nextAt - performance.now();
        if (standing.sent && wait > 0) return raiseLater(wait);
        owner.nextAt = performance.now() + owner.throttleMs;
        standing.sent = sent;
        if (standing.is === "none") standing.is = "tracked";
        host.send({ type: "presence_join", channel: name, ref: (standing.ref = ++newestRef), ...leftOf(owner.tracked) });
      }
      answers.sentAs(standing.ref);
      // The server has taken this state before.
      if (!standing.ref) answered(true);
    }
  }

  function subscribe(): void {
    standing.is = "asked";
    standing.isCounting = feed.isCounting();
    if (standing.isCounting) feed.dropped();
    host.subscribe(name, standing.isCounting ? "count" : undefined);
  }

  /** Takes back what nobody wants any more. */
  function lower(): void {
    if (standing.is === "over") return;
    if (!owners.size && !feed.isListening()) {
      if (standing.is !== "none" && !isKeptOut()) host.unsubscribe(name);
      stop();
      return host.forget(name);
    }
    if (!owners.size && standing.sent !== undefined) {
      standing.sent = undefined;
      host.send({ type: "presence_leave", channel: name });
      // The track may wait for the rate: then it goes, and its subscription with it.
      if (standing.is === "tracked") subscribe();
    }
    // The listeners that are left may want only the count.
    raise();
  }

  function granted(): void {
    standing.is = "granted";
    standing.retries = 0;
  }

  function listed(message: Snapshot): void {
    // The first list holds the own member if tracking was the first that was said: else the server has ended it since.
    const isExpected = standing.is === "tracked";
    granted();
    feed.tell(feed.roster.snapshot(message), "resync");
    if (isExpected && !message.presences.some(({ connectionId }) => connectionId === host.me?.connectionId)) ended();
  }

  /** The state that was sent as `ref` has this answer; without one, all states have. */
  function answered(answer: boolean | PresenceError, ref?: number): void {
    if (standing.ref === ref) standing.ref = undefined;
    answers.give(answer, ref);
  }

  function refused(error: PresenceError, ref: number | undefined): void {
    if (ref) answered(error, ref);
    const { code, retryAfterMs } = error;
    const isTold = standing.is !== "granted" && standing.told === code;
    // A state that was sent after the subscription is refused for the same reason.
    standing.told = standing.ref ? code : undefined;
    // Should it have been the state, then that is still to be sent, once there is a reason to try again.
    standing.sent &&= "";
    // The application has heard of the loss.
    if (standing.isBarred && code === "CHANNEL_ACCESS_DENIED") return retryLater();
    if (retryAfterMs !== undefined) {
      kicked(retryAfterMs);
    } else if (code === "SERVER_ERROR" || code === "RATE_LIMITED") {
      retryLater();
    } else if (standing.is === "tracked" && feed.isListening()) {
      // Who may not appear may still be allowed to watch. If not, it is the same refusal.
      standing.told = code;
      subscribe();
    } else if (standing.is !== "granted") {
      standing.is = "refused";
    }
    if (!isTold) host.failed(error);
  }

  /**
   * The server ended this connection's own entry, or it is missing from the list: it is tracked again. At once, since
   * this client is evidently alive; after the loss of the right later, and more slowly each time.
   */
  function ended(reason?: LeaveReason): void {
    standing.sent = undefined;
    if (reason === "kicked") {
      standing.isBarred = true;
      retryLater();
      // Soon, since a list that lacks the member may tell it twice.
    } else if (standing.is !== "refused") raiseSoon();
  }

  /** A backend keeps this connection out for so long. */
  function kicked(ms: number): void {
    standing.is = "kicked";
    retryLater(Math.min(ms, MAX_KICK_MS));
  }

  function retryLater(leastMs = 0): void {
    const most = doubled(FIRST_RETRY_MS, standing.retries, MAX_RETRY_MS);
    standing.retries += 1;
    raiseLater(Math.max(leastMs, most * (0.5 + Math.random() / 2)));
  }

  function raiseLater(ms: number): void {
    clearTimeout(timer);
    timer = setTimeout(() => {
      if (!standing.sent && standing.is !== "granted") standing.is = "none";
      raise();
    }, ms);
  }

  function fail(code: string, message: string, kickMs?: number): void {
    host.failed(new PresenceError(code, message, nameOf(name), kickMs));
  }

  return { feed, isKeptOut, listen, track, untrack, opened, refreshed, received, limited, lost, settle, stop };
}

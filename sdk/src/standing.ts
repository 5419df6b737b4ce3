/**
 * Where a connection stands with a channel, and what a channel asks of its client. Decides nothing.
 */
import type { ClientMessage, PresenceError, Subscribe } from "./protocol.js";
import type { Me } from "./roster.js";
import type { Tracked } from "./tracked.js";

/** What a channel asks of its client. */
export interface ChannelHost {
  isOpen(name: string): boolean;
  /** Who this connection is, once it is known. */
  readonly me: Me | undefined;
  send(message: ClientMessage): void;
  subscribe(name: string, mode: Subscribe["mode"]): void;
  unsubscribe(name: string): void;
  failed(error: PresenceError): void;
  forget(name: string): void;
}

/** A handle, as far as its states are concerned. */
export interface Owner {
  readonly throttleMs: number;
  /** Its next state is not sent before this, on the clock of `performance`. */
  nextAt: number;
  tracked: Tracked | undefined;
}

/** Where this connection stands with the channel. A new connection stands nowhere. */
export interface Standing {
  /**
   * Nothing is asked; a subscription is asked for, alone or by tracking ("tracked"); granted; refused; kicked, and then
   * nothing is asked for until the time is over; over, forgotten by the client: another object has, or will have, its name.
   */
  is: "none" | "asked" | "tracked" | "granted" | "refused" | "kicked" | "over";
  /** Whether the subscription that is asked for or granted is to the count instead of the list. */
  isCounting: boolean;
  /** What the server was last sent, while that may be a member: "" once it was refused. */
  sent?: string | undefined;
  /** With what that was sent, until it is answered. */
  ref?: number | undefined;
  /** With which code tracking was refused when a subscription was asked for in its place. */
  told?: string | undefined;
  /** The right to track was lost. */
  isBarred?: boolean;
  /** How often was it asked again, since it was granted. */
  retries: number;
}

/**
 * Where a connection stands with a channel, and what a channel asks of its client. Decides nothing.
 */
import type { PresenceError } from "./protocol.js";
import type { Me } from "./roster.js";

/** What a channel asks of its client. */
export interface ChannelHost {
  readonly isOpen: boolean;
  /** Who this connection is, once it is known. */
  readonly me: Me | undefined;
  send(text: string): void;
  unsubscribe(name: string): void;
  failed(error: PresenceError): void;
  forget(name: string): void;
}

/** Where this connection stands with the channel. A new connection stands nowhere. */
export interface Standing {
  /**
   * Nothing is asked; a subscription is asked for, alone or by tracking ("tracked"); granted; refused; kicked, and then
   * nothing is asked for until the time is over.
   */
  is: "none" | "asked" | "tracked" | "granted" | "refused" | "kicked";
  /** The state that the server was last sent, while that may be a member: "" once it was refused. */
  sent?: string | undefined;
  /** The right to track was lost. */
  isBarred?: boolean;
  /** How often was it asked again, since it was granted. */
  retries: number;
}

/**
 * What the callers of `track` in one channel wait for: the server's answer to the state, or to a newer one in its place.
 */
import type { PresenceError } from "./protocol.js";

/** A state that has no answer yet. */
interface Awaited {
  readonly settle: (answer: boolean | Promise<never>) => void;
  /** With what it, or a newer one, was sent. */
  ref?: number | undefined;
}

export function createAnswers() {
  let awaited: Awaited[] = [];
  /** The answer to states that are not sent yet. One for all of them, however long there is no connection. */
  let unsent: Promise<boolean> | undefined;

  return {
    /** The answer to a state that is sent next. */
    toNext(): Promise<boolean> {
      unsent ??= new Promise((settle) => awaited.push({ settle }));
      // A caller that does not wait hears of the error by onError.
      unsent.catch(() => {});
      return unsent;
    },
    /** All that was not sent is now, as `ref`. */
    sentAs(ref: number | undefined): void {
      for (const one of awaited) one.ref ??= ref;
      unsent = undefined;
    },
    /** What was sent has no answer, and is sent again. */
    forget(): void {
      for (const one of awaited) one.ref = undefined;
    },
    /** What was sent as `ref` has this answer; without one, all states have. */
    give(answer: boolean | PresenceError, ref?: number): void {
      if (!ref) unsent = undefined;
      awaited = awaited.filter(({ ref: sent, settle }) => {
        if (ref && sent !== ref) return true;
        // Calls nobody before the end of this task.
        settle(typeof answer === "boolean" ? answer : Promise.reject(answer));
        return false;
      });
    },
  };
}

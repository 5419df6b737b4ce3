/**
 * Server-Sent Events out of text that comes in pieces. Pure. An `EventSource` could not send the key.
 */

/** @typedef {{ type: string, data: string }} ServerEvent */

/** One event with the members of the largest channel is far smaller. */
const MAX_EVENT_CHARACTERS = 128 * 1024 * 1024;

export class EventParser {
  #rest = "";
  /** How much of the rest has been searched for an end of an event. */
  #searched = 0;

  /** The events that are complete now. @param {string} piece @returns {ServerEvent[]} */
  push(piece) {
    this.#rest += piece;
    const events = [];
    let begin = 0;
    for (;;) {
      const end = this.#rest.indexOf("\n\n", Math.max(begin, this.#searched));
      if (end < 0) break;
      const event = readEvent(this.#rest.slice(begin, end));
      if (event) events.push(event);
      begin = end + 2;
      this.#searched = begin;
    }
    this.#rest = this.#rest.slice(begin);
    // The first half of the mark may be there already.
    this.#searched = Math.max(0, this.#rest.length - 1);
    if (this.#rest.length > MAX_EVENT_CHARACTERS) throw new Error("The server sends an event that does not end.");
    return events;
  }
}

/** Comments alone are no event. @param {string} block @returns {ServerEvent | undefined} */
function readEvent(block) {
  let type = "message";
  /** @type {string[]} */
  const data = [];
  for (const line of block.split("\n")) {
    const [, field, value] = /^([^:]*):? ?(.*)$/s.exec(line) ?? [];
    if (field === "event") type = value ?? "";
    else if (field === "data") data.push(value ?? "");
  }
  return data.length > 0 ? { type, data: data.join("\n") } : undefined;
}

/**
 * Where a user is, and the end of all of its connections.
 */
import { VirtualList } from "./list.js";
import { element, find, sentence, setName, setText } from "./page.js";
import { confirmRemoval } from "./removal.js";
import { repeat } from "./repeat.js";
import { bareName, formatAge, plural, stateLine } from "./text.js";

/** @typedef {{ channel: string, connectionId: string, state: unknown, since: string }} Place */

/** From the end of one look to the next, in ms. */
const PAUSE_MS = 3_000;

/** A user in more places is not read to the end. */
const MAX_PLACES = 10_000;

/**
 * @typedef {object} Outside
 * @property {(channel: string) => void} openChannel
 * @property {(channel: string, userId: string) => void} explain
 * @property {(error: unknown) => boolean} refused whether the error ends the session
 */

export class UserView {
  #outside;
  #userId = "";
  /** @type {import("./api.js").Api | undefined} */
  #api;
  #stop = new AbortController();
  /** @type {VirtualList<Place>} */
  #list;

  /** @param {Outside} outside */
  constructor(outside) {
    this.#outside = outside;
    this.#list = new VirtualList(find("user-list", HTMLElement), {
      keyOf: ({ channel, connectionId }) => `${connectionId} ${channel}`,
      make: makeRow,
      fill: fillRow,
      open: ({ channel }) => outside.openChannel(channel),
    });
    find("explain-user", HTMLButtonElement).addEventListener("click", () => outside.explain("", this.#userId));
    find("disconnect", HTMLButtonElement).addEventListener("click", () => this.#disconnect());
  }

  /** @param {import("./api.js").Api} api @param {string} userId */
  open(api, userId) {
    this.close();
    this.#stop = new AbortController();
    this.#api = api;
    this.#userId = userId;
    const { signal } = this.#stop;
    setName(/** @type {Element} */ (find("user-title", HTMLElement).firstElementChild), userId);
    setText(find("user-summary", HTMLElement), "Looking…");
    find("user-error", HTMLElement).hidden = find("user-empty", HTMLElement).hidden = true;
    this.#list.show([]);
    this.#list.scrollToTop();
    const failed = (/** @type {unknown} */ error) => this.#failed(error);
    void repeat({ work: () => this.#read(api, signal), failed, pauseMs: PAUSE_MS, signal });
  }

  close() {
    this.#stop.abort();
  }

  /** @param {import("./api.js").Api} api @param {AbortSignal} signal */
  async #read(api, signal) {
    /** @type {Place[]} */
    const places = [];
    let channels = 0;
    for await (const page of api.user(this.#userId, signal)) {
      channels += page.length;
      for (const { channel, presences } of page) {
        for (const presence of presences) places.push({ channel, ...presence });
      }
      if (places.length >= MAX_PLACES) break;
    }
    if (signal.aborted) return;
    find("user-error", HTMLElement).hidden = true;
    this.#list.show(places);
    const connections = new Set(places.map(({ connectionId }) => connectionId)).size;
    const where = `In ${plural(channels, "channel", "channels")}, with ${plural(connections, "connection", "connections")}.`;
    setText(find("user-summary", HTMLElement), channels > 0 ? where : "In no channel.");
    const empty = find("user-empty", HTMLElement);
    empty.hidden = channels > 0;
    setText(empty, "This user is not a member of any channel now. Ids are compared byte by byte.");
  }

  /** @param {unknown} error */
  #failed(error) {
    if (this.#outside.refused(error)) return;
    const said = find("user-error", HTMLElement);
    setText(find("user-summary", HTMLElement), "");
    setText(said, sentence(error));
    said.hidden = false;
  }

  #disconnect() {
    const [api, userId] = [this.#api, this.#userId];
    if (!api) return;
    confirmRemoval({
      title: "Disconnect this user?",
      name: userId,
      channel: "",
      text: "All connections of the user close, in all channels, and new ones are refused for the time below.",
      verb: "Disconnect",
      remove: (forMs) => api.disconnect(userId, forMs),
    });
  }
}

function makeRow() {
  const row = element("div", "member-row");
  row.append(element("bdi", "name"), element("bdi", "detail"), element("span", "age"));
  return row;
}

/** @param {HTMLElement} row @param {Place} place */
function fillRow(row, { channel, state, since }) {
  const [name, detail, age] = row.children;
  if (!name || !detail || !age) return;
  setName(name, bareName(channel));
  setText(detail, stateLine(state));
  setText(age, formatAge(Date.now() - Date.parse(since)));
}

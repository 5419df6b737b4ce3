/**
 * One channel: its numbers, its members as they come and change, and a log of it.
 */
import { ApiError } from "./api.js";
import { ChannelTable } from "./channels.js";
import { follow } from "./follow.js";
import { VirtualList } from "./list.js";
import { EventLog } from "./log.js";
import { MemberDialog } from "./member_dialog.js";
import { MemberList } from "./members.js";
import { eachFrame, element, find, sentence, setName, setText } from "./page.js";
import { repeat } from "./repeat.js";
import { bareName, formatAge, formatClock, formatCount, formatRate, plural, stateLine, UNKNOWN } from "./text.js";

/** @typedef {import("./members.js").Member} Member */

/** How often the numbers are asked for that no event tells, in ms. */
const NUMBERS_EVERY_MS = 2_000;

/** How often it is shown anew since when members are here, in ms. */
const AGES_EVERY_MS = 5_000;

/**
 * @typedef {object} Outside
 * @property {(userId: string) => void} openUser
 * @property {(channel: string, userId: string) => void} explain
 * @property {(error: unknown) => boolean} refused whether the error ends the session
 */

export class ChannelView {
  #outside;
  #channel = "";
  /** @type {import("./api.js").Api | undefined} */
  #api;
  #stop = new AbortController();
  #members = new MemberList();
  #numbers = new ChannelTable();
  #filter = find("member-filter", HTMLInputElement);
  /** When the stream was lost; 0 while it is there. */
  #lostAtMs = 0;
  #isLive = false;
  /** @type {VirtualList<Member>} */
  #list;
  #log;
  #dialog;
  #draw = eachFrame(() => this.#show());

  /** @param {Outside} outside */
  constructor(outside) {
    this.#outside = outside;
    this.#dialog = new MemberDialog(outside);
    this.#list = new VirtualList(find("member-list", HTMLElement), {
      keyOf: ({ connectionId }) => connectionId,
      make: makeRow,
      fill: fillRow,
      open: (member) => this.#openMember(member.connectionId),
    });
    this.#log = new EventLog(({ connectionId }) => this.#openMember(connectionId));
    this.#filter.addEventListener("input", this.#draw);
    find("explain-member", HTMLButtonElement).addEventListener("click", () => {
      outside.explain(bareName(this.#channel), this.#filter.value.trim());
    });
    for (const button of panelButtons()) button.addEventListener("click", () => showPanel(button.dataset["panel"] ?? ""));
  }

  /** @param {import("./api.js").Api} api @param {string} channel */
  open(api, channel) {
    this.close();
    this.#stop = new AbortController();
    this.#api = api;
    this.#channel = channel;
    this.#members = new MemberList();
    this.#numbers = new ChannelTable();
    this.#isLive = false;
    this.#lostAtMs = 0;
    this.#filter.value = "";
    this.#log.clear();
    this.#list.scrollToTop();
    showPanel("members");
    setName(/** @type {Element} */ (find("channel-title", HTMLElement).firstElementChild), bareName(channel));
    for (const id of ["members", "users", "subscribers", "rate", "position"]) setNumber(id, UNKNOWN);
    this.#setLive("wait", "Connecting…");
    this.#draw();
    this.#follow(api, this.#stop.signal);
  }

  close() {
    this.#stop.abort();
    this.#dialog.close();
  }

  /** @param {import("./api.js").Api} api @param {AbortSignal} signal */
  #follow(api, signal) {
    const follower = {
      take: (/** @type {import("./sse.js").ServerEvent[]} */ events) => this.#take(events),
      lost: (/** @type {unknown} */ error) => this.#lost(error),
      isFinal: (/** @type {unknown} */ error) => this.#outside.refused(error) || isOfTheName(error),
    };
    void follow(api, this.#channel, follower, signal);
    const failed = (/** @type {unknown} */ error) => void this.#outside.refused(error);
    void repeat({ work: () => this.#readNumbers(api, signal), failed, pauseMs: NUMBERS_EVERY_MS, signal });
    const ages = setInterval(this.#draw, AGES_EVERY_MS);
    signal.addEventListener("abort", () => clearInterval(ages));
  }

  /** @param {import("./sse.js").ServerEvent[]} events */
  #take(events) {
    const nowMs = Date.now();
    for (const { type, data } of events) this.#apply(type, JSON.parse(data), nowMs);
    this.#draw();
  }

  /** @param {string} type @param {any} message @param {number} nowMs */
  #apply(type, message, nowMs) {
    const { userId, connectionId, state, reason } = message;
    switch (type) {
      case "presence_sync":
        return this.#replace(message.presences, nowMs);
      case "presence_join":
      case "presence_update":
        this.#members.put({ userId, connectionId, state }, nowMs);
        return this.#log.add({ kind: type === "presence_join" ? "join" : "update", userId, connectionId, detail: state }, nowMs);
      case "presence_leave":
        this.#members.remove(connectionId);
        return this.#log.add({ kind: "leave", userId, connectionId, detail: String(reason) }, nowMs);
    }
  }

  /** @param {import("./members.js").Presence[]} presences @param {number} nowMs */
  #replace(presences, nowMs) {
    this.#members.replace(presences);
    this.#isLive = true;
    this.#lostAtMs = 0;
    this.#setLive("good", "Live");
    const detail = `of ${plural(presences.length, "member", "members")}`;
    this.#log.add({ kind: "snapshot", userId: "", connectionId: "", detail }, nowMs);
    if (this.#api && presences.length > 0) void this.#readSince(this.#api, this.#stop.signal);
  }

  /** Events do not tell since when a member is here. @param {import("./api.js").Api} api @param {AbortSignal} signal */
  async #readSince(api, signal) {
    try {
      for await (const presences of api.members(this.#channel, signal)) {
        for (const { connectionId, since } of presences) this.#members.noteSince(connectionId, Date.parse(since));
        this.#draw();
      }
    } catch (error) {
      // The list is right without it; a stream that is gone as well is told there.
      if (!signal.aborted) this.#outside.refused(error);
    }
  }

  /** @param {import("./api.js").Api} api @param {AbortSignal} signal */
  async #readNumbers(api, signal) {
    const row = await api.channel(this.#channel, signal);
    this.#numbers.take([row], performance.now());
    this.#numbers.finish();
    this.#draw();
  }

  /** @param {unknown} error */
  #lost(error) {
    this.#lostAtMs ||= Date.now();
    const since = this.#isLive ? `Disconnected since ${formatClock(this.#lostAtMs)}` : "Not connected";
    this.#setLive("bad", `${since}: ${sentence(error)}`);
    if (!this.#isLive && this.#api) void this.#readList(this.#api, this.#stop.signal);
  }

  /** Where no stream can be had, the list is at least read as often as one is tried. @param {import("./api.js").Api} api @param {AbortSignal} signal */
  async #readList(api, signal) {
    /** @type {import("./api.js").ListedPresence[]} */
    const all = [];
    try {
      for await (const presences of api.members(this.#channel, signal)) all.push(...presences);
    } catch {
      // The stream's own failure has been told.
      return;
    }
    if (this.#isLive || signal.aborted) return;
    this.#members.replace(all);
    for (const { connectionId, since } of all) this.#members.noteSince(connectionId, Date.parse(since));
    this.#draw();
  }

  /** @param {string} status @param {string} text */
  #setLive(status, text) {
    const live = find("channel-live", HTMLElement);
    live.dataset["status"] = status;
    setText(live, text);
  }

  #show() {
    const members = this.#members.select(this.#filter.value);
    this.#list.show(members);
    this.#dialog.update(this.#members);
    const empty = find("members-empty", HTMLElement);
    empty.hidden = members.length > 0 || !this.#isLive;
    if (!empty.hidden) setText(empty, this.#members.size > 0 ? "No member of this user." : "Nobody is in this channel.");
    this.#showNumbers();
  }

  #showNumbers() {
    const numbers = this.#numbers.find(this.#channel) ?? this.#numbers.find(`presence:${this.#channel}`);
    if (this.#isLive) {
      setNumber("members", formatCount(this.#members.size));
      setNumber("users", formatCount(this.#members.users));
    }
    if (!numbers) return;
    if (!this.#isLive) {
      setNumber("members", formatCount(numbers.connections));
      setNumber("users", formatCount(numbers.users));
    }
    setNumber("subscribers", formatCount(numbers.subscribers));
    setNumber("rate", formatRate(numbers.rate));
    setNumber("position", numbers.epoch === null ? UNKNOWN : `${numbers.epoch} · ${numbers.seq}`);
  }

  /** @param {string} connectionId */
  #openMember(connectionId) {
    const member = this.#members.find(connectionId);
    if (member && this.#api) this.#dialog.open(this.#api, this.#channel, member);
  }
}

/** A name that no channel has stays wrong. @param {unknown} error */
function isOfTheName(error) {
  return error instanceof ApiError && error.code === "INVALID_CHANNEL";
}

/** @param {string} id @param {string} text */
function setNumber(id, text) {
  setText(find(`channel-${id}`, HTMLElement), text);
}

/** @returns {NodeListOf<HTMLButtonElement>} */
function panelButtons() {
  return document.querySelectorAll("button[data-panel]");
}

/** On a narrow page there is room for one. @param {string} panel */
function showPanel(panel) {
  find("panels", HTMLElement).dataset["panel"] = panel;
  for (const button of panelButtons()) button.setAttribute("aria-pressed", String(button.dataset["panel"] === panel));
}

function makeRow() {
  const row = element("div", "member-row");
  row.append(element("bdi", "name"), element("bdi", "detail"), element("span", "age"));
  return row;
}

/** @param {HTMLElement} row @param {Member} member */
function fillRow(row, { userId, state, sinceMs }) {
  const [name, detail, age] = row.children;
  if (!name || !detail || !age) return;
  setName(name, userId);
  setText(detail, stateLine(state));
  setText(age, sinceMs === null ? "" : formatAge(Date.now() - sinceMs));
}

/**
 * One member read closely, as long as it is there, and what can be done about it.
 */
import { find, setName, setText } from "./page.js";
import { confirmRemoval } from "./removal.js";
import { bareName, formatAge, formatClock, stateBlock } from "./text.js";

/** @typedef {import("./members.js").Member} Member */

export class MemberDialog {
  #dialog = find("member-dialog", HTMLDialogElement);
  #channel = "";
  /** @type {Member | undefined} */
  #member;
  /** @type {import("./api.js").Api | undefined} */
  #api;

  /** @param {import("./channel_view.js").Outside} outside */
  constructor(outside) {
    const on = (/** @type {string} */ id, /** @type {(member: Member) => void} */ act) => {
      find(id, HTMLButtonElement).addEventListener("click", () => this.#member && act(this.#member));
    };
    on("member-where", ({ userId }) => {
      this.close();
      outside.openUser(userId);
    });
    on("member-why", ({ userId }) => outside.explain(bareName(this.#channel), userId));
    on("kick-user", ({ userId }) => this.#kick("Kick this user?", userId, { userId }));
    on("kick-connection", ({ connectionId }) => this.#kick("Kick this connection?", connectionId, { connectionId }));
  }

  /** @param {import("./api.js").Api} api @param {string} channel @param {Member} member */
  open(api, channel, member) {
    this.#api = api;
    this.#channel = channel;
    this.#member = member;
    this.#show(member);
    if (!this.#dialog.open) this.#dialog.showModal();
  }

  close() {
    this.#dialog.close();
  }

  /** The state may have changed, and the member may be gone. @param {import("./members.js").MemberList} members */
  update(members) {
    if (!this.#dialog.open || !this.#member) return;
    const member = members.find(this.#member.connectionId);
    if (member) this.#show(member);
    else setText(find("member-since", HTMLElement), "Has left.");
  }

  /** @param {Member} member */
  #show({ userId, connectionId, state, sinceMs }) {
    setName(/** @type {Element} */ (find("member-title", HTMLElement).firstElementChild), userId);
    const since = sinceMs === null ? "" : `Here for ${formatAge(Date.now() - sinceMs)}, since ${formatClock(sinceMs)}.`;
    setText(find("member-since", HTMLElement), since);
    setText(find("member-connection", HTMLElement), connectionId);
    setText(find("member-state", HTMLElement), stateBlock(state));
  }

  /** @param {string} title @param {string} name @param {{ userId: string } | { connectionId: string }} whom */
  #kick(title, name, whom) {
    const [api, channel] = [this.#api, this.#channel];
    if (!api) return;
    confirmRemoval({
      title,
      name,
      channel: bareName(channel),
      text: "It leaves with the reason “kicked”, its subscription ends, and it is refused in this channel for the time below.",
      verb: "Kick",
      remove: (forMs) => api.kick(channel, whom, forMs),
    });
  }
}

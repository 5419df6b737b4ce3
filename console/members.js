/**
 * Who is in a channel: the list that events fold to. Pure. Members are sorted by user, so that a row stays where it is
 * while its state changes.
 */

/** @typedef {{ userId: string, connectionId: string, state: unknown }} Presence */
/** @typedef {Presence & { sinceMs: number | null }} Member */
/** @typedef {{ channel: string, epoch: number, seq: number, presences: Presence[] }} Sync */

export class MemberList {
  /** @type {Map<string, Member>} */
  #byId = new Map();
  /** @type {Map<string, number>} */
  #users = new Map();
  /** @type {Member[]} */
  #sorted = [];

  get size() {
    return this.#byId.size;
  }

  get users() {
    return this.#users.size;
  }

  /** @param {string} connectionId */
  find(connectionId) {
    return this.#byId.get(connectionId);
  }

  /** Replaces all. What is known of when a member came stays. @param {Presence[]} presences */
  replace(presences) {
    const before = this.#byId;
    this.#byId = new Map();
    this.#users = new Map();
    for (const presence of presences) {
      const sinceMs = before.get(presence.connectionId)?.sinceMs ?? null;
      this.#byId.set(presence.connectionId, { ...presence, sinceMs });
      this.#count(presence.userId, 1);
    }
    this.#sorted = [...this.#byId.values()].sort(byUser);
  }

  /** A join, or an update of whoever is here. @param {Presence} presence @param {number} nowMs */
  put(presence, nowMs) {
    const known = this.#byId.get(presence.connectionId);
    if (known) {
      known.state = presence.state;
      return;
    }
    const member = { ...presence, sinceMs: nowMs };
    this.#byId.set(member.connectionId, member);
    this.#count(member.userId, 1);
    this.#sorted.splice(this.#place(member), 0, member);
  }

  /** @param {string} connectionId */
  remove(connectionId) {
    const member = this.#byId.get(connectionId);
    if (!member) return;
    this.#byId.delete(connectionId);
    this.#count(member.userId, -1);
    this.#sorted.splice(this.#place(member), 1);
  }

  /** Since when a member is here, from the list of the HTTP API. @param {string} connectionId @param {number} sinceMs */
  noteSince(connectionId, sinceMs) {
    const member = this.#byId.get(connectionId);
    if (member) member.sinceMs = sinceMs;
  }

  /** Those whose user's id contains the text. @param {string} filter @returns {readonly Member[]} */
  select(filter) {
    const wanted = filter.trim().toLowerCase();
    return wanted ? this.#sorted.filter(({ userId }) => userId.toLowerCase().includes(wanted)) : this.#sorted;
  }

  /** Where a member stands or would stand. @param {Member} member */
  #place(member) {
    let [low, high] = [0, this.#sorted.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (byUser(/** @type {Member} */ (this.#sorted[middle]), member) < 0) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  /** @param {string} userId @param {number} more */
  #count(userId, more) {
    const count = (this.#users.get(userId) ?? 0) + more;
    if (count > 0) this.#users.set(userId, count);
    else this.#users.delete(userId);
  }
}

/** @param {Presence} a @param {Presence} b */
function byUser(a, b) {
  return compare(a.userId, b.userId) || compare(a.connectionId, b.connectionId);
}

/** @param {string} a @param {string} b */
function compare(a, b) {
  return a < b ? -1 : a > b ? 1 : 0;
}

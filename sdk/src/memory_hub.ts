/**
 * The server in memory: connections, rights and channels, by the clauses of the protocol. Has no rates, no bounds of memory
 * and no hibernation. Time is that of the global timers, so that the fake timers of a test are its clock too.
 */
import { MemoryChannel, type Member } from "./memory_channel.js";
import { Connection, freshId, type Line, queue, type Subscription } from "./memory_connection.js";
import { MemoryCounts } from "./memory_counts.js";
import { MemoryExpiring } from "./memory_expiring.js";
import { parseRequest, type Ref, type Refusal, refusal, type Request } from "./memory_message.js";
import { authOf, maySubscribe, mayTrack, type Namespaces, namespaceOf } from "./memory_rules.js";
import { infoOf, remainingMs, verified } from "./memory_token.js";
import type { LeaveReason, State } from "./protocol.js";

export interface HubSettings {
  readonly disconnectGraceMs: number;
  readonly presenceTTL: number;
  readonly maxMembers: number;
  readonly maxChannelsPerConnection: number;
  readonly authTimeoutMs: number;
  readonly namespaces: Namespaces;
}

export class MemoryHub {
  readonly #settings: HubSettings;
  readonly #connections = new Set<Connection>();
  readonly #channels = new Map<string, MemoryChannel>();
  /** Until when whom a backend keeps out, in ms since 1970. */
  readonly #kicks = new Map<string, number>();
  readonly #counts = new MemoryCounts((name, count) => this.#tellCount(name, count));
  readonly #expiring = new MemoryExpiring((name, id, field) => this.#endField(name, id, field));
  readonly #epoch: number;

  constructor(settings: HubSettings, epoch: number) {
    this.#settings = settings;
    this.#epoch = epoch;
  }

  opened(line: Line, defaultChannel: string | null): Connection {
    const connection = new Connection(line, defaultChannel);
    this.#connections.add(connection);
    this.#awaitAuth(connection);
    return connection;
  }

  received(connection: Connection, text: string): void {
    connection.inbox.push(text);
    if (!connection.isBusy) void this.#work(connection);
  }

  /** It ended with a close frame, or the server ends it. */
  closed(connection: Connection, reason: LeaveReason = "disconnect"): void {
    if (!this.#connections.delete(connection)) return;
    connection.line = undefined;
    connection.inbox.length = 0;
    connection.cancel();
    for (const channel of connection.subscriptions.keys()) this.#leave(connection, channel, reason);
    connection.subscriptions.clear();
  }

  /** It ended without one, or with its page: with a grace, its members stay for that long, but not for longer than `longestMs`. */
  broke(connection: Connection, longestMs = Infinity): void {
    if (!this.#connections.has(connection)) return;
    const { disconnectGraceMs } = this.#settings;
    for (const channel of [...connection.subscriptions.keys()]) {
      if (!this.#channels.get(channel)?.has(connection.id)) connection.subscriptions.delete(channel);
    }
    if (!connection.resume || connection.subscriptions.size === 0) return this.closed(connection);
    connection.line = undefined;
    connection.inbox.length = 0;
    connection.cancel();
    connection.after("grace", Math.min(disconnectGraceMs, longestMs), () => this.closed(connection));
    // The one that broke longest ago comes first.
    this.#connections.delete(connection);
    this.#connections.add(connection);
  }

  /** Nothing is heard of it any more, though it is open: its lease ends. */
  stalled(connection: Connection): void {
    connection.after("lease", this.#settings.presenceTTL, () => {
      const { line } = connection;
      this.closed(connection, "timeout");
      line?.close(4008);
    });
  }

  members(channel: string): Member[] {
    return this.#channels.get(channel)?.members() ?? [];
  }

  /** A backend removes a user or a connection from a channel. */
  kick(channel: string, who: string, forMs: number): void {
    this.#kicks.set(`${channel} ${who}`, Date.now() + forMs);
    for (const connection of this.#connections) {
      if (connection.id !== who && connection.auth?.id !== who) continue;
      if (connection.subscriptions.has(channel)) this.#revoke(connection, channel, "KICKED", forMs);
    }
  }

  /** A backend disconnects a user. */
  disconnect(userId: string, forMs: number): void {
    this.#kicks.set(userId, Date.now() + forMs);
    for (const connection of [...this.#connections]) {
      if (connection.auth?.id === userId) this.#refuseUser(connection, forMs);
    }
  }

  async #work(connection: Connection): Promise<void> {
    connection.isBusy = true;
    for (let text = connection.inbox.shift(); text !== undefined; text = connection.inbox.shift()) {
      const { ref, said } = parseRequest(text, connection.defaultChannel);
      const refused = said.type === "refused" ? said : await this.#carryOut(connection, said, ref);
      if (refused) this.#answer(connection, ref, { ...refused, type: "error" });
      // What came in one task is told together, behind the answers.
      queue(() => this.#flush());
    }
    connection.isBusy = false;
  }

  #answer(connection: Connection, ref: Ref | undefined, frame: object): void {
    connection.line?.send({ ...frame, ref });
  }

  async #carryOut(connection: Connection, said: Request, ref: Ref | undefined): Promise<Refusal | undefined> {
    switch (said.type) {
      case "auth":
        return connection.auth ? this.#refresh(connection, said, ref) : this.#authenticate(connection, said, ref);
      case "ping":
        this.#answer(connection, ref, { type: "pong" });
        return undefined;
      case "subscribe":
        return this.#subscribeAll(connection, said, ref);
      case "track":
        return this.#track(connection, said, ref);
      case "untrack":
        this.#leave(connection, said.channel, "leave");
        this.#acknowledge(connection, ref);
        return undefined;
      case "unsubscribe":
      case "sync":
        if (!connection.subscriptions.has(said.channel)) return refusal("NOT_SUBSCRIBED", "Subscribe first.", said.channel);
        if (said.type === "unsubscribe") this.#unsubscribe(connection, said.channel, ref);
        else {
          this.#acknowledge(connection, ref);
          this.#show(connection, said.channel);
        }
        return undefined;
    }
  }

  #acknowledge(connection: Connection, ref: Ref | undefined): void {
    if (ref !== undefined) this.#answer(connection, ref, { type: "ack" });
  }

  async #authenticate(connection: Connection, said: Request & { type: "auth" }, ref: Ref | undefined): Promise<undefined> {
    const claims = verified(said.token);
    if (!claims) {
      this.#answer(connection, ref, { type: "auth_error", code: "AUTH_FAILED", message: "The token is not valid." });
      return this.#end(connection, 4002);
    }
    const auth = authOf(claims);
    const kickedMs = this.#kickedMs(auth.id);
    if (kickedMs !== undefined) return this.#refuseUser(connection, kickedMs);
    const isFresh = connection.subscriptions.size === 0;
    const before = isFresh && typeof said.resume === "string" ? this.#byResume(said.resume, auth.id) : undefined;
    if (before) this.#takeOver(connection, before);
    connection.auth = auth;
    if (this.#settings.disconnectGraceMs > 0) connection.resume = freshId();
    connection.cancel("auth");
    this.#awaitExpiry(connection, claims["exp"]);
    const { id: connectionId, resume } = connection;
    this.#answer(connection, ref, { type: "auth_success", userId: auth.id, connectionId, resume });
    for (const [channel, code] of await this.#review(connection)) {
      connection.line?.send({ type: "unsubscribed", channel, code });
    }
    if (before) for (const channel of connection.subscriptions.keys()) this.#show(connection, channel);
    return undefined;
  }

  async #refresh(connection: Connection, said: Request & { type: "auth" }, ref: Ref | undefined): Promise<Refusal | undefined> {
    const claims = verified(said.token);
    if (!claims) return refusal("AUTH_REFRESH_FAILED", "The token is not valid.");
    const auth = authOf(claims);
    if (auth.id !== connection.auth?.id) return refusal("AUTH_USER_MISMATCH", "The token is another user's.");
    connection.auth = auth;
    this.#awaitExpiry(connection, claims["exp"]);
    const revokedChannels = (await this.#review(connection)).map(([channel]) => channel);
    for (const channel of connection.subscriptions.keys()) {
      const member = this.#channels.get(channel)?.member(connection.id);
      if (member) this.#put(connection, channel, member);
    }
    this.#answer(connection, ref, { type: "auth_refreshed", userId: auth.id, revokedChannels });
    return undefined;
  }

  /** Calls the rules of all channels again; gives the subscriptions that have ended, each with its code. */
  async #review(connection: Connection): Promise<[channel: string, code: string][]> {
    const ended: [string, string][] = [];
    for (const channel of [...connection.subscriptions.keys()]) {
      const code = await this.#denied(connection, channel);
      if (code) {
        this.#leave(connection, channel, "kicked");
        connection.subscriptions.delete(channel);
        ended.push([channel, code]);
      } else if (this.#channels.get(channel)?.has(connection.id) && !(await this.#mayTrack(connection, channel))) {
        this.#enter(connection, channel).mayTrack = false;
        this.#leave(connection, channel, "kicked");
      }
    }
    return ended;
  }

  /** One channel after the other, each with its own answer. */
  async #subscribeAll(connection: Connection, said: Request & { type: "subscribe" }, ref: Ref | undefined): Promise<undefined> {
    for (const channel of said.channels) {
      const refused = connection.subscriptions.has(channel) ? undefined : await this.#refusal(connection, channel);
      if (refused) {
        this.#answer(connection, ref, { ...refused, type: "error" });
        continue;
      }
      this.#enter(connection, channel).isCounting = said.isCounting;
      this.#answer(connection, ref, { type: "subscribed", channel });
      this.#show(connection, channel);
    }
  }

  async #track(connection: Connection, said: Request & { type: "track" }, ref: Ref | undefined): Promise<Refusal | undefined> {
    const { channel, state, expire } = said;
    const { auth } = connection;
    if (!auth) return refusal("NOT_AUTHENTICATED", "Authenticate first.", channel);
    const isNew = !connection.subscriptions.has(channel);
    const refused = isNew ? await this.#refusal(connection, channel) : undefined;
    if (refused) return refused;
    if (!connection.subscriptions.get(channel)?.mayTrack && !(await this.#mayTrack(connection, channel))) {
      return refusal("CHANNEL_ACCESS_DENIED", "The rules deny it.", channel);
    }
    this.#enter(connection, channel).mayTrack = true;
    const isIn = this.#put(connection, channel, { userId: auth.id, state });
    if (isIn) {
      this.#expiring.set(channel, connection.id, expire);
      this.#acknowledge(connection, ref);
    } else this.#answer(connection, ref, { ...refusal("MEMBER_LIMIT", "The channel is full.", channel), type: "error" });
    if (isNew) this.#show(connection, channel);
    return undefined;
  }

  /** Whether there was room. In a full channel the member of a broken connection gives way. */
  #put(connection: Connection, name: string, { userId, state }: { userId: string; state: State }): boolean {
    const channel = this.#channel(name);
    const most = namespaceOf(this.#settings.namespaces, name)?.maxMembers ?? this.#settings.maxMembers;
    if (!channel.has(connection.id) && channel.size >= most) {
      const broken = [...this.#connections].find(({ id, line }) => !line && channel.has(id));
      if (!broken) return false;
      this.#leave(broken, name, "disconnect");
    }
    const info = connection.auth && infoOf(connection.auth.claims);
    channel.put({ userId, connectionId: connection.id, state, info });
    return true;
  }

  /** Whatever has become of the connection: its member is still there. */
  #endField(name: string, connectionId: string, field: string): void {
    const channel = this.#channels.get(name);
    const member = channel?.member(connectionId);
    if (!channel || !member) return;
    const { [field]: _ended, ...state } = member.state;
    channel.put({ ...member, state });
    queue(() => this.#flush());
  }

  #unsubscribe(connection: Connection, channel: string, ref: Ref | undefined): void {
    this.#leave(connection, channel, "leave");
    connection.subscriptions.delete(channel);
    this.#answer(connection, ref, { type: "unsubscribed", channel });
    if (!connection.auth && connection.subscriptions.size === 0) this.#awaitAuth(connection);
  }

  #enter(connection: Connection, channel: string): Subscription {
    connection.cancel("auth");
    const subscription = connection.subscriptions.get(channel) ?? { mayTrack: false, isCounting: false };
    connection.subscriptions.set(channel, subscription);
    return subscription;
  }

  /** Why this connection may not subscribe. */
  async #refusal(connection: Connection, channel: string): Promise<(Refusal & { retryAfterMs?: number }) | undefined> {
    const kickedMs = this.#kickedMs(`${channel} ${connection.auth?.id}`) ?? this.#kickedMs(`${channel} ${connection.id}`);
    if (kickedMs !== undefined) return { ...refusal("KICKED", "A backend has removed it.", channel), retryAfterMs: kickedMs };
    if (connection.subscriptions.size >= this.#settings.maxChannelsPerConnection) {
      return refusal("CHANNEL_LIMIT", "The connection subscribes to too many channels.", channel);
    }
    const code = await this.#denied(connection, channel);
    return code && refusal(code, "The rules deny it.", channel);
  }

  async #denied(connection: Connection, channel: string): Promise<"NOT_AUTHENTICATED" | "CHANNEL_ACCESS_DENIED" | undefined> {
    const auth = connection.auth ?? null;
    if (await maySubscribe(namespaceOf(this.#settings.namespaces, channel), auth, channel)) return undefined;
    return auth ? "CHANNEL_ACCESS_DENIED" : "NOT_AUTHENTICATED";
  }

  async #mayTrack({ auth }: Connection, channel: string): Promise<boolean> {
    return mayTrack(namespaceOf(this.#settings.namespaces, channel), auth ?? null, channel);
  }

  #revoke(connection: Connection, channel: string, code: string, retryAfterMs: number): void {
    this.#leave(connection, channel, "kicked");
    connection.subscriptions.delete(channel);
    connection.line?.send({ type: "unsubscribed", channel, code, retryAfterMs });
    queue(() => this.#flush());
  }

  #refuseUser(connection: Connection, retryAfterMs: number): undefined {
    connection.line?.send({ type: "error", code: "KICKED", message: "A backend has disconnected the user.", retryAfterMs });
    return this.#end(connection, 4005, "kicked");
  }

  #end(connection: Connection, code: number, reason?: LeaveReason): undefined {
    const { line } = connection;
    this.closed(connection, reason);
    line?.close(code);
  }

  #byResume(resume: string, userId: string): Connection | undefined {
    return [...this.#connections].find((one) => one.resume === resume && one.auth?.id === userId);
  }

  /** The new socket becomes the old connection. */
  #takeOver(connection: Connection, before: Connection): void {
    connection.id = before.id;
    for (const [channel, subscription] of before.subscriptions) connection.subscriptions.set(channel, subscription);
    before.subscriptions.clear();
    this.#end(before, 1001);
  }

  #awaitAuth(connection: Connection): void {
    connection.after("auth", this.#settings.authTimeoutMs, () => {
      connection.line?.send({ type: "error", code: "AUTH_TIMEOUT", message: "No token came in time." });
      this.#end(connection, 4001);
    });
  }

  #awaitExpiry(connection: Connection, exp: unknown): void {
    connection.after("expiry", remainingMs(exp), () => {
      connection.line?.send({ type: "error", code: "AUTH_EXPIRED", message: "The token has expired." });
      this.#end(connection, 4002);
    });
  }

  #kickedMs(who: string): number | undefined {
    const leftMs = (this.#kicks.get(who) ?? 0) - Date.now();
    return leftMs > 0 ? leftMs : undefined;
  }

  #channel(name: string): MemoryChannel {
    let channel = this.#channels.get(name);
    if (!channel) this.#channels.set(name, (channel = new MemoryChannel(this.#epoch)));
    return channel;
  }

  #leave(connection: Connection, channel: string, reason: LeaveReason): void {
    this.#channels.get(channel)?.remove(connection.id, reason);
    this.#expiring.clear(channel, connection.id);
    queue(() => this.#flush());
  }

  /** What a subscription begins with, and what it is sent when it asks again. */
  #show(connection: Connection, name: string): void {
    const channel = this.#channel(name);
    if (connection.subscriptions.get(name)?.isCounting) {
      if (this.#counting(name).length === 1) this.#counts.forget(name);
      connection.line?.send(this.#counts.first(name, channel));
      return;
    }
    // Changes before it are told first: none of them comes to those who get the snapshot with it.
    this.#flushChannel(name, channel, connection);
    const { epoch, seq } = channel;
    connection.line?.send({ type: "presence_sync", channel: name, epoch, seq, presences: channel.members() });
  }

  #flush(): void {
    for (const [name, channel] of this.#channels) this.#flushChannel(name, channel);
  }

  #flushChannel(name: string, channel: MemoryChannel, except?: Connection): void {
    const changes = channel.takePending();
    for (const connection of this.#connections) {
      if (connection === except || connection.subscriptions.get(name)?.isCounting !== false) continue;
      for (const change of changes) connection.line?.send({ channel: name, ...change });
    }
    if (changes.length) this.#counts.changed(name, channel);
  }

  #counting(name: string): Connection[] {
    return [...this.#connections].filter(({ subscriptions }) => subscriptions.get(name)?.isCounting);
  }

  #tellCount(name: string, count: object): boolean {
    return this.#counting(name).map(({ line }) => line?.send(count)).length > 0;
  }
}

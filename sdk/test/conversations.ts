/**
 * Holds the conversations of `fixtures/conversations.json` with a server, whichever it is: what it says is compared frame by
 * frame. What differs from run to run (ids, positions, words) is checked for what it promises, and then left out.
 */
import { readFileSync } from "node:fs";
import type { WebSocketLike } from "../src/link.js";
import type { Delta, Snapshot } from "../src/protocol.js";
import { createRoster, type Roster } from "../src/roster.js";

export type Frame = Record<string, unknown>;

export interface Step {
  do: {
    open?: string;
    from?: string;
    say?: Frame;
    text?: string;
    close?: string;
    cut?: string;
    kick?: string;
    channel?: string;
    disconnect?: string;
  };
  hear?: Record<string, Frame[]>;
}

export interface Conversation {
  name: string;
  server?: "grace";
  authenticated: string[];
  steps: Step[];
}

export const fixture = JSON.parse(
  readFileSync(new URL("../../fixtures/conversations.json", import.meta.url), "utf8"),
) as { config: string; conversations: Conversation[] };

/** A server to talk to. */
export interface Partner {
  url: string;
  WebSocket: new (url: string) => WebSocketLike & { terminate(): void };
  token(userId: string): Promise<string>;
  kick(channel: string, userId: string): Promise<void>;
  disconnect(userId: string): Promise<void>;
  /** Resolves when something may have arrived. */
  wait(): Promise<void>;
}

/** How long a backend keeps somebody out, in ms. */
export const KICK_MS = 60_000;

/** One end of the conversation. */
class Voice {
  readonly heard: Frame[] = [];
  connectionId = "";
  resume: unknown;
  isOpen = false;
  readonly positions = new Map<string, { epoch: number; seq: number }>();
  readonly rosters = new Map<string, Roster>();
  readonly socket: WebSocketLike & { terminate(): void };

  constructor(partner: Partner) {
    this.socket = new partner.WebSocket(`${partner.url}/api/realtime`);
    this.socket.onopen = () => (this.isOpen = true);
    this.socket.onerror = () => {};
    this.socket.onmessage = ({ data }: { data: unknown }) => this.heard.push(JSON.parse(String(data)) as Frame);
    this.socket.onclose = ({ code }: { code: number }) => {
      this.isOpen = false;
      this.heard.push({ close: code });
    };
  }

  /** What a frame says, without what differs from run to run. Throws if it breaks a promise. */
  settled(frame: Frame): Frame {
    const { epoch, seq, message, resume, ...rest } = frame;
    if (resume !== undefined) this.resume = resume;
    if (rest["type"] === "auth_success") this.connectionId = String(rest["connectionId"]);
    if (typeof rest["retryAfterMs"] === "number") {
      const ms = rest["retryAfterMs"];
      if (ms > KICK_MS || ms < 0) throw new Error(`retryAfterMs is ${ms}`);
      rest["retryAfterMs"] = "$ms";
    }
    if (message !== undefined && !message) throw new Error("an empty message");
    if (seq !== undefined) this.#move(String(rest["channel"]), Number(seq), epoch);
    this.#learn(frame);
    return resume === undefined ? rest : { ...rest, resume: "$resume" };
  }

  /** What a list and the changes after it come to is the channel's set: P6.1. */
  list(channel: string): unknown {
    return bare(this.rosters.get(channel));
  }

  #move(channel: string, seq: number, epoch: unknown): void {
    const before = this.positions.get(channel);
    if (epoch === undefined) {
      if (!before) throw new Error("a change before the first list");
      if (seq <= before.seq) throw new Error(`${seq} after ${before.seq}`);
    } else if (before && (Number(epoch) < before.epoch || (epoch === before.epoch && seq < before.seq))) {
      throw new Error("a list from before");
    }
    this.positions.set(channel, { epoch: Number(epoch ?? before?.epoch), seq });
  }

  #learn(frame: Frame): void {
    const { type, channel } = frame as { type?: string; channel?: string };
    if (!channel || !type?.startsWith("presence_") || type === "presence_count") return;
    const roster = this.rosters.get(channel) ?? createRoster(() => undefined);
    this.rosters.set(channel, roster);
    if (type === "presence_sync") roster.snapshot(frame as unknown as Snapshot);
    else roster.delta(frame as unknown as Delta);
  }
}

export class Talk {
  readonly #partner: Partner;
  readonly #mark: string;
  readonly #voices = new Map<string, Voice>();

  /** `mark` is in the names of channels and users, so that talks with one server stay apart. */
  constructor(partner: Partner, mark: string) {
    this.#partner = partner;
    this.#mark = mark;
  }

  async authenticate(name: string): Promise<void> {
    await this.act({ open: name });
    await this.act({ from: name, say: { type: "auth", token: "$token" } });
    await this.hear(name, 1);
  }

  async act(what: Step["do"]): Promise<void> {
    const { open, from, say, text, close, cut, kick, channel, disconnect } = what;
    if (open) {
      const voice = new Voice(this.#partner);
      this.#voices.set(open, voice);
      while (!voice.isOpen) await this.#partner.wait();
    }
    if (from) this.#voice(from).socket.send(text ?? this.#outward(from, JSON.stringify(say), await this.#partner.token(this.#user(from))));
    if (close) this.#voice(close).socket.close(1000);
    if (cut) this.#voice(cut).socket.terminate();
    if (kick && channel) await this.#partner.kick(this.#marked(channel), this.#user(kick));
    if (disconnect) await this.#partner.disconnect(this.#user(disconnect));
  }

  /** The next `count` frames, as the fixture writes them. */
  async hear(name: string, count: number): Promise<Frame[]> {
    const voice = this.#voice(name);
    while (voice.heard.length < count) await this.#partner.wait();
    return this.#inward(voice.heard.splice(0, count).map((frame) => voice.settled(frame)));
  }

  /** All that is heard until nothing more comes, by name: for a new fixture. */
  async overhear(): Promise<Record<string, Frame[]>> {
    for (let turn = 0; turn < 30; turn++) await this.#partner.wait();
    const all = [...this.#voices].map(([name, voice]): [string, Frame[]] => [
      name,
      this.#inward(voice.heard.splice(0).map((frame) => voice.settled(frame))),
    ]);
    return Object.fromEntries(all.filter(([, frames]) => frames.length > 0));
  }

  /** Nothing more was said, and each list that was kept up is the server's. Gives what is wrong. */
  async end(): Promise<unknown[]> {
    const wrong: unknown[] = [];
    for (const [name, voice] of this.#voices) {
      if (!voice.isOpen && voice.heard.length > 0) wrong.push([name, voice.heard]);
      if (!voice.isOpen || !voice.connectionId) continue;
      const kept = new Map([...voice.rosters.keys()].map((channel) => [channel, voice.list(channel)]));
      for (const channel of kept.keys()) voice.socket.send(JSON.stringify({ type: "presence_sync", channel }));
      voice.socket.send('{"type":"ping","ref":"the end"}');
      let frame: Frame;
      do {
        while (voice.heard.length === 0) await this.#partner.wait();
        frame = voice.heard.shift() ?? {};
        const channel = String(frame["channel"]);
        voice.settled(frame);
        if (frame["type"] === "presence_sync") {
          if (JSON.stringify(voice.list(channel)) !== JSON.stringify(kept.get(channel))) wrong.push([name, kept.get(channel), frame]);
        } else if (frame["code"] !== "NOT_SUBSCRIBED" && frame["ref"] !== "the end") wrong.push([name, frame]);
      } while (frame["ref"] !== "the end");
    }
    for (const { socket } of this.#voices.values()) socket.close(1000);
    return wrong;
  }

  #voice(name: string): Voice {
    const voice = this.#voices.get(name);
    if (!voice) throw new Error(`nobody is called ${name}`);
    return voice;
  }

  /** `jane-2` is the second connection of jane. */
  #user(name: string): string {
    return `${name.replace(/-.*/, "")}-${this.#mark}`;
  }

  #marked(text: string): string {
    return text.replaceAll("$n", this.#mark);
  }

  #outward(name: string, text: string, token: string): string {
    const resume = (_: string, of: string): string => String(this.#voice(of).resume);
    return this.#marked(text).replaceAll("$token", token).replace(/\$resume:([\w-]+)/g, resume).replaceAll("$user", this.#user(name));
  }

  #inward(frames: Frame[]): Frame[] {
    let text = JSON.stringify(frames);
    for (const [name, { connectionId }] of this.#voices) if (connectionId) text = text.replaceAll(connectionId, `$${name}`);
    return JSON.parse(text.replaceAll(`-${this.#mark}"`, '-$n"')) as Frame[];
  }
}

/** The members by their connection, in the order of a list. */
function bare(roster: Roster | undefined): unknown {
  return roster?.users().map(({ userId, connections }) => [userId, connections.map(({ connectionId, state }) => [connectionId, state])]);
}

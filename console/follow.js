/**
 * Following a channel: its events as they come, and again after a break. Knows when to try again; what events mean is
 * known to the view.
 */
import { ApiError } from "./api.js";
import { backoffMs, pauseWhileSeen } from "./repeat.js";
import { EventParser } from "./sse.js";

/** The server writes a comment every 15 s; a stream that is silent for longer is dead. In ms. */
const SILENCE_MS = 40_000;

/**
 * @typedef {object} Follower
 * @property {(events: import("./sse.js").ServerEvent[]) => void} take
 * @property {(error: unknown) => void} lost the stream has ended, and is tried again
 * @property {(error: unknown) => boolean} isFinal whether trying again is of no use
 */

/** Returns when the signal comes or an error is final. @param {import("./api.js").Api} api @param {string} channel @param {Follower} follower @param {AbortSignal} signal */
export async function follow(api, channel, follower, signal) {
  let failures = 0;
  while (!signal.aborted) {
    try {
      await read(api, channel, (events) => {
        if (events.length > 0) failures = 0;
        follower.take(events);
      }, signal);
      if (!signal.aborted) follower.lost(new ApiError("ENDED", "The server has ended the stream."));
    } catch (error) {
      if (signal.aborted) return;
      follower.lost(error);
      if (follower.isFinal(error)) return;
    }
    failures += 1;
    await pauseWhileSeen(backoffMs(failures), signal);
  }
}

/** @param {import("./api.js").Api} api @param {string} channel @param {(events: import("./sse.js").ServerEvent[]) => void} take @param {AbortSignal} signal */
async function read(api, channel, take, signal) {
  const silence = new AbortController();
  const body = await api.events(channel, AbortSignal.any([signal, silence.signal]));
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  const parser = new EventParser();
  let timer = setTimeout(() => silence.abort(), SILENCE_MS);
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      clearTimeout(timer);
      timer = setTimeout(() => silence.abort(), SILENCE_MS);
      take(parser.push(value));
    }
  } catch (error) {
    if (signal.aborted || error instanceof ApiError) throw error;
    throw new ApiError("UNREACHABLE", "The connection to the server is lost.");
  } finally {
    clearTimeout(timer);
    reader.cancel().catch(() => undefined);
  }
}

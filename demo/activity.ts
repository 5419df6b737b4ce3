/**
 * What the person at this window does: where the pointer is, whether somebody types, whether anybody is there. Knows
 * nothing of presence, and nothing of who else is here.
 */
import { find } from "./page.js";
import type { Point } from "./state.js";

/** Nobody who has touched nothing for this long, in ms, is taken to be here. */
const IDLE_MS = 60_000;

/** A page that is loaded again is hidden for a moment before it goes. In ms. */
const HIDDEN_MS = 500;

/** From the last key to the end of typing, in ms. */
const TYPING_MS = 2_000;

/** Some thirty moves a second look smooth, and are far below what one connection may send. In ms. */
const MOVE_EVERY_MS = 33;

/** Tells where the pointer is on the stage, and null where it has left. */
export function watchPointer(stage: HTMLElement, tell: (cursor: Point | null) => void): void {
  let toldAt = 0;
  let next: Point | undefined;
  const frame = (now: number): void => {
    if (!next) return;
    if (now - toldAt < MOVE_EVERY_MS) return void requestAnimationFrame(frame);
    tell(next);
    toldAt = now;
    next = undefined;
  };
  const move = ({ clientX, clientY }: PointerEvent): void => {
    const { left, top, width, height } = stage.getBoundingClientRect();
    if (!next) requestAnimationFrame(frame);
    next = { x: part(clientX - left, width), y: part(clientY - top, height) };
  };
  stage.addEventListener("pointermove", move);
  stage.addEventListener("pointerdown", move);
  stage.addEventListener("pointerleave", ({ pointerType }) => {
    // A lifted finger leaves too, while its owner still looks at the place it showed.
    if (pointerType === "touch") return;
    next = undefined;
    tell(null);
  });
}

/** Tells whether nobody is there: the page is hidden, or untouched for a while. */
export function watchAway(tell: (isAway: boolean) => void): void {
  const goIdle = settling(IDLE_MS, () => tell(true));
  const goHidden = settling(HIDDEN_MS, () => tell(document.hidden));
  const alive = (): void => {
    goIdle();
    if (document.hidden) goHidden();
    else tell(false);
  };
  for (const sign of ["pointermove", "pointerdown", "keydown", "focus"]) addEventListener(sign, alive);
  document.addEventListener("visibilitychange", alive);
  alive();
}

/** Tells whether something is being written, and what came of it. */
export function watchWords(tell: (isTyping: boolean) => void, said: (words: string) => void): void {
  const words = find<HTMLInputElement>("words");
  const pause = settling(TYPING_MS, () => tell(false));
  words.addEventListener("input", () => {
    tell(words.value !== "");
    pause();
  });
  find("say").addEventListener("submit", (event) => {
    event.preventDefault();
    tell(false);
    said(words.value);
    words.value = "";
  });
}

/** Calls `then` once this has not been called for a while. */
export function settling(afterMs: number, then: () => void): () => void {
  let timer: ReturnType<typeof setTimeout> | undefined;
  return () => {
    clearTimeout(timer);
    timer = setTimeout(then, afterMs);
  };
}

/** To four digits, a tenth of a pixel on a wide stage: more would only cost bytes. */
function part(offset: number, length: number): number {
  return Math.round(Math.min(1, Math.max(0, offset / length)) * 1e4) / 1e4;
}

/**
 * The page's elements: finding them, making them, changing them. Whatever others wrote gets into the page here, as text
 * and never as markup, and isolated, so that it turns no text around it.
 */
import { visible } from "./text.js";

/** @template {HTMLElement} E @param {string} id @param {new () => E} type @returns {E} */
export function find(id, type) {
  const found = document.getElementById(id);
  if (!(found instanceof type)) throw new Error(`the page has no such #${id}`);
  return found;
}

/** @param {string} tag @param {string} [className] @param {string} [text] */
export function element(tag, className = "", text = "") {
  const made = document.createElement(tag);
  if (className) made.className = className;
  if (text) made.textContent = text;
  return made;
}

/** Leaves alone what says it already: a screen reader would read it again. @param {Element} node @param {string} text */
export function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

/** A name that somebody else has chosen. @param {Element} node @param {string} name */
export function setName(node, name) {
  setText(node, visible(name));
}

/**
 * Calls `draw` before the next frame, however often it is asked for until then.
 * @param {() => void} draw
 */
export function eachFrame(draw) {
  let isDue = false;
  return () => {
    if (isDue) return;
    isDue = true;
    requestAnimationFrame(() => {
      isDue = false;
      draw();
    });
  };
}

/** What went wrong, as a sentence. @param {unknown} error */
export function sentence(error) {
  return error instanceof Error ? error.message : String(error);
}

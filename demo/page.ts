/**
 * The page's elements: finding them, making them, changing them. Whatever others wrote gets into the page here, as text
 * and never as markup.
 */
export function find<E extends HTMLElement>(id: string): E {
  const found = document.getElementById(id);
  if (!found) throw new Error(`the page has no #${id}`);
  return found as E;
}

export function element(tag: string, className = "", text = ""): HTMLElement {
  const made = document.createElement(tag);
  if (className) made.className = className;
  if (text) made.textContent = text;
  return made;
}

/** Leaves alone what says it already: a screen reader would read it again, and a selection would be lost. */
export function setText(node: Element, text: string): void {
  if (node.textContent !== text) node.textContent = text;
}

/**
 * The key that opens the console: asked for, and kept while the tab lives. It stands in no address, cookie or log.
 */
import { find, setText } from "./page.js";

const STORED_AS = "herenow-console-key";

/** The key of this tab, if it has one. */
export function storedKey() {
  return storage()?.getItem(STORED_AS) ?? undefined;
}

export function forgetKey() {
  storage()?.removeItem(STORED_AS);
}

/** A browser that may keep nothing asks for the key at each load. */
function storage() {
  try {
    return sessionStorage;
  } catch {
    return undefined;
  }
}

/** Under `herenow dev` the server gives the key of the run to its own page. @returns {Promise<string | undefined>} */
export async function developmentKey() {
  if (document.documentElement.dataset["server"] !== "development") return undefined;
  const answer = await fetch("/dev/service-key", { method: "POST" }).catch(() => undefined);
  if (!answer?.ok) return undefined;
  const { key } = await answer.json();
  // It would be given again at once.
  find("forget", HTMLButtonElement).hidden = true;
  return key;
}

/** Asks for one. @param {string} why what is wrong with the last one, or nothing @returns {Promise<string>} */
export function askForKey(why) {
  const dialog = find("key-dialog", HTMLDialogElement);
  const form = find("key-form", HTMLFormElement);
  const field = find("key", HTMLInputElement);
  const error = find("key-error", HTMLElement);
  error.hidden = why === "";
  setText(error, why);
  field.value = "";
  if (!dialog.open) dialog.showModal();
  field.focus();
  // Without a key there is nothing to go back to.
  dialog.oncancel = (event) => event.preventDefault();
  return new Promise((resolve) => {
    form.onsubmit = (event) => {
      event.preventDefault();
      const key = field.value.trim();
      if (!VISIBLE_ASCII.test(key)) {
        error.hidden = false;
        setText(error, "A key has visible ASCII characters only.");
        return;
      }
      field.value = "";
      storage()?.setItem(STORED_AS, key);
      dialog.close();
      resolve(key);
    };
  });
}

/** Anything else cannot stand in a header. */
const VISIBLE_ASCII = /^[\x21-\x7e]+$/;

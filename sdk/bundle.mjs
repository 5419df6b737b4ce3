/**
 * How the library is bundled: once for the package, and once more by the test that holds its size.
 *
 * Applications bundle it again and cannot shorten the names of properties, since they cannot know which of them are
 * internal. Here that is known, and it is a twentieth of what a page downloads.
 */

/**
 * The names that stay inside of the library: none stands in a frame, in a public type, or in what a browser gives. A
 * test holds them to that.
 */
export const INTERNAL_NAMES = `
  addLate addSync changed dead delta emit events existing expect fail failed forget giveUp heard held is isBarred
  isKeptOut isLate isOpen isRenewable isRunning isWanted known leave lost offer offered opened ping probe received
  reconnected refreshed refusal refused remainingMs renew rest retries roster sent settle settleMs shelved snapshot
  start statusChanged stoodAt stop subscribing text tokens unheard url usable woke ws
`.trim().split(/\s+/);

/** Each becomes one file. */
export const ENTRIES = ["src/index.ts", "src/react.ts"];

/** Options of esbuild. `react` and what else an application has stays outside. */
export const BUNDLE = {
  bundle: true,
  minify: true,
  mangleProps: new RegExp(`^(${INTERNAL_NAMES.join("|")})$`),
  target: "es2022",
  packages: "external",
};

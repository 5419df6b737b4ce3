/**
 * How the library is bundled: once for the package, and once more by the test that holds its size.
 *
 * Applications bundle it again and cannot shorten the names of properties, since they cannot know which of them are
 * internal. Here that is known, and it is a twentieth of what a page downloads.
 */

/**
 * The names that stay inside of the library: none stands in a frame or a public type, which a test holds them to, and
 * none is used of what a browser gives: the tests of the library run with its bundle as well.
 */
export const INTERNAL_NAMES = `
  addLate addSync changed dead delta emit events existing expect fail failed forget giveUp heard held is isBarred
  isKeptOut isLate isOpen isRenewable isRunning isWanted known leave lost offer offered opened ping probe received
  reconnected refreshed refusal refused remainingMs renew rest retries roster sent settle settleMs shelved snapshot
  start statusChanged stoodAt stop subscribing text tokens unheard url usable woke ws
`.trim().split(/\s+/);

/** Options of esbuild for every entry. What else an application has stays outside. */
const BUNDLE = {
  bundle: true,
  minify: true,
  target: "es2022",
  packages: "external",
  // Leaves `process.env.NODE_ENV` to the application's bundler.
  platform: "neutral",
};

/** The library itself. */
export const CORE = {
  ...BUNDLE,
  entryPoints: ["src/index.ts"],
  mangleProps: new RegExp(`^(${INTERNAL_NAMES.join("|")})$`),
};

/** What uses the library as an application does, and knows none of its internal names. */
export const FRAMEWORKS = { ...BUNDLE, entryPoints: ["src/react.ts", "src/svelte.ts", "src/vue.ts"] };

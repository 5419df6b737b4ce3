/**
 * How the library is bundled: once for the package, and once more by the test that holds its size.
 *
 * Applications bundle it again and cannot shorten the names of properties, since they cannot know which of them are
 * internal. Here that is known, and it is a twentieth of what a page downloads. esbuild bundles and shortens names; what it leaves,
 * Terser makes shorter by another twenty-fifth.
 */
import { build } from "esbuild";
import { minify } from "terser";

/**
 * The names that stay inside of the library: none stands in a frame or a public type, which a test holds them to, and
 * none is used of what a browser gives: the tests of the library run with its bundle as well.
 */
export const INTERNAL_NAMES = `
  changed counted dead delta dropped emit ends endsAt events existing failed feed forget give giveUp heard held is
  isBarred isCounting isKeptOut isListening isOpen isOver isRenewable isRunning isSynced isWanted keep left limited
  listen lost nextAt offer offered opened ownLeft ping probe received reconnected refreshed refusal refused renew
  retries roster sent sentAs settle settleMs snapshot start statusChanged stoodAt stop tell text tokens told toNext
  tracked unheard url usable woke ws
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

/** What uses the library as an application does, or not at all, and knows none of its internal names. */
const OTHERS = ["react", "svelte", "vue", "online", "testing", "debug", "config"];
export const FRAMEWORKS = { ...BUNDLE, entryPoints: OTHERS.map((entry) => `src/${entry}.ts`) };

/**
 * Bundles `entries` from the folder of this file. Gives each file's path below `outdir`, its text and its source map, and the
 * sources that went into it.
 */
export async function bundle(entries, format, outdir = "dist") {
  const { outputFiles, metafile } = await build({
    ...entries,
    absWorkingDir: import.meta.dirname,
    format,
    outdir,
    sourcemap: "external",
    metafile: true,
    write: false,
  });
  const texts = new Map(outputFiles.map(({ path, text }) => [path, text]));
  const files = [...texts.keys()].filter((path) => path.endsWith(".js"));
  const inputs = Object.keys(metafile.inputs);
  return Promise.all(files.map(async (path) => ({ path, inputs, ...(await shortened(path, texts)) })));
}

/** Getters of this library do nothing but give a value; `"use client"` stays. */
const COMPRESS = { passes: 3, hoist_funs: true, pure_getters: true, unsafe_arrows: true, unsafe_proto: true, directives: false };

async function shortened(path, texts) {
  const sourceMap = { content: texts.get(`${path}.map`), includeSources: true };
  const { code, map } = await minify(texts.get(path), { module: true, ecma: 2020, compress: COMPRESS, sourceMap });
  return { text: code, map };
}

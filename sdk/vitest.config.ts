/**
 * All tests; those of the React hooks once more with React 18; those of the library once more with what is shipped.
 */
import { defineConfig, type Plugin } from "vitest/config";
import { bundle, CORE } from "./bundle.mjs";

const react18 = new URL("test/react-18/node_modules/", import.meta.url).pathname;

/** The main entry is its bundle, in which internal names are shortened. */
const bundled: Plugin = {
  name: "bundled",
  enforce: "pre",
  async load(id) {
    if (!id.endsWith("/src/index.ts")) return undefined;
    const [file] = await bundle(CORE, "esm");
    return file?.text;
  },
};

export default defineConfig({
  test: {
    projects: [
      { test: { name: "all", env: { REACT: "19" } } },
      {
        resolve: { alias: [{ find: /^(react(-dom)?)(?=$|\/)/, replacement: `${react18}$1` }] },
        test: { name: "React 18", env: { REACT: "18" }, include: ["test/react.test.tsx"] },
      },
      {
        plugins: [bundled],
        test: { name: "bundle", include: ["test/{presence,socket,resume,lifecycle,synced,track,ws,counting,together}.test.ts"] },
      },
    ],
  },
});

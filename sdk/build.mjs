/**
 * Builds `dist/` (ES modules) and `dist/cjs/` (CommonJS) from `src/`: one file for each entry, and its types. Run by `npm ci`,
 * `npm pack`, and by `npm install` of this folder from another project, which does not install what is needed to build.
 */
import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { basename, dirname } from "node:path";
import { fileURLToPath } from "node:url";

const here = fileURLToPath(new URL(".", import.meta.url));
// What is printed goes to standard error: npm pack prints the name of the file.
const run = (command, ...args) => execFileSync(command, args, { cwd: here, stdio: ["ignore", 2, 2] });

if (!existsSync(`${here}node_modules/typescript`)) run("npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund");
const tsc = createRequire(import.meta.url).resolve("typescript/bin/tsc");
const { bundle, CORE, FRAMEWORKS } = await import("./bundle.mjs");
rmSync(`${here}dist`, { recursive: true, force: true });
for (const [project, format, outdir] of [
  ["tsconfig.build.json", "esm", "dist"],
  ["tsconfig.cjs.json", "cjs", "dist/cjs"],
]) {
  run(process.execPath, tsc, "-p", project);
  for (const { path, text, map } of [...(await bundle(CORE, format, outdir)), ...(await bundle(FRAMEWORKS, format, outdir))]) {
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, `${text}\n//# sourceMappingURL=${basename(path)}.map\n`);
    writeFileSync(`${path}.map`, map);
  }
}
// The package's own files are ES modules; these are not.
writeFileSync(`${here}dist/cjs/package.json`, '{ "type": "commonjs" }\n');

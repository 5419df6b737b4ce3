/**
 * What an application gets: the packed package, as package managers, bundlers, TypeScript and Node see it.
 */
import { execFileSync } from "node:child_process";
import { cpSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { checkPackage, createPackageFromTarballData } from "@arethetypeswrong/core";
import { publint } from "publint";
import { afterAll, beforeAll, describe, expect, it } from "vitest";

const SDK = new URL("..", import.meta.url).pathname;
const PATIENCE_MS = 120_000;

let folder: string;
let tarball: string;

/** Runs a command in a folder and gives what it wrote. */
function run(cwd: string, command: string, ...args: string[]): string {
  return execFileSync(command, args, { cwd, encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] });
}

/** A new project without any dependency. */
function project(name: string): string {
  const path = join(folder, name);
  cpSync(join(SDK, "package.json"), join(path, "package.json"), { recursive: true });
  writeFileSync(join(path, "package.json"), '{ "name": "app", "private": true }');
  return path;
}

/** Loads the package there in both ways, and says what it got. */
function load(app: string): string[] {
  const say = "console.log(typeof createClient, new PresenceError('X', 'y') instanceof Error)";
  const names = "{ createClient, PresenceError }";
  return [
    run(app, "node", "--input-type=module", "-e", `import ${names} from "herenow"; ${say}`),
    run(app, "node", "--input-type=commonjs", "-e", `const ${names} = require("herenow"); ${say}`),
  ];
}

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "herenow-sdk-"));
  // A copy, so that what other tests read is not built anew under them.
  const copy = join(folder, "sdk");
  const isSource = (path: string): boolean => !/^(node_modules|dist)\b/.test(path.slice(SDK.length));
  cpSync(SDK, copy, { recursive: true, filter: isSource });
  symlinkSync(join(SDK, "node_modules"), join(copy, "node_modules"));
  const [packed] = JSON.parse(run(copy, "npm", "pack", "--json", "--pack-destination", folder)) as { filename: string }[];
  tarball = join(folder, packed?.filename ?? "");
}, PATIENCE_MS);

afterAll(() => rmSync(folder, { recursive: true, force: true }));

describe("the packed package", () => {
  it("has nothing that publint or attw complain about", async () => {
    const bytes = readFileSync(tarball);
    const { messages } = await publint({ pack: { tarball: new Uint8Array(bytes).buffer }, strict: true });
    expect(messages).toEqual([]);
    const analysis = await checkPackage(createPackageFromTarballData(bytes));
    expect(analysis).toMatchObject({ types: { kind: "included" }, problems: [] });
  }, PATIENCE_MS);

  it("holds its license, a README without links into the repository, and source maps that need no sources", () => {
    const listed = run(folder, "tar", "-tzf", tarball).split("\n");
    expect(listed).toContain("package/LICENSE");
    const read = (path: string): string => run(folder, "tar", "-xzOf", tarball, `package/${path}`);
    expect(read("LICENSE")).toBe(readFileSync(join(SDK, "../LICENSE"), "utf8"));
    expect(read("README.md")).not.toMatch(/\]\((?!https:|#)|`docs\//);
    for (const path of ["dist/index.js.map", "dist/cjs/index.js.map"]) {
      expect(JSON.parse(read(path))).toHaveProperty("sourcesContent.0");
    }
  });

  it("says that the React hooks are for clients, and leaves the choice of development to the application", () => {
    for (const path of ["dist/react.js", "dist/cjs/react.js"]) {
      const script = run(folder, "tar", "-xzOf", tarball, `package/${path}`);
      expect(script).toMatch(/^("use strict";)?"use client";/);
      expect(script).toContain("process.env.NODE_ENV");
    }
  });

  it("is installed from its file, and loads as an ES module and by require()", () => {
    const app = project("from-file");
    run(app, "npm", "install", "--offline", "--no-audit", "--no-fund", tarball);
    expect(load(app)).toEqual(["function true\n", "function true\n"]);
    // The example of the documentation is a test of an application, and passes there.
    const guide = readFileSync(join(SDK, "../docs/sdk.md"), "utf8");
    const [, example = ""] = /^```js\n(\/\/ lobby\.test\.mjs.*?)^```$/ms.exec(guide) ?? [];
    writeFileSync(join(app, "lobby.test.mjs"), example);
    expect(run(app, "node", "--test")).toContain("# pass 1\n");
  }, PATIENCE_MS);

  it("is installed from its folder, and is built by that", () => {
    const app = project("from-folder");
    rmSync(join(folder, "sdk/dist"), { recursive: true });
    run(app, "npm", "install", "--offline", "--no-audit", "--no-fund", "../sdk");
    expect(load(app)).toEqual(["function true\n", "function true\n"]);
  }, PATIENCE_MS);
});

/**
 * The types of `edgebase.config.ts`, as `tsc` sees them: the configurations that the documentation shows, and mistakes. Once with
 * the package, and where HERENOW_BIN names the server's binary once with what `herenow types` prints.
 */
import { execFileSync, spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { defineConfig } from "../src/config.js";

const BIN = process.env["HERENOW_BIN"];
const PATIENCE_MS = 120_000;
const TSC = createRequire(import.meta.url).resolve("typescript/bin/tsc");
const ROOT = new URL("../..", import.meta.url).pathname;

/** Every configuration that a page shows, by the page and its number there. */
function shown(): Map<string, string> {
  const found = new Map<string, string>();
  for (const page of ["README.md", "docs/access-rules.md", "docs/webhooks.md", "sdk/README.md"]) {
    const blocks = readFileSync(join(ROOT, page), "utf8").matchAll(/```ts\n(.*?)```/gs);
    const configurations = [...blocks].map(([, code]) => code ?? "").filter((code) => code.includes("defineConfig("));
    configurations.forEach((code, number) => found.set(`${page.replace(/\W/g, "-")}-${number}`, code));
  }
  return found;
}

/** Configurations with one mistake each, and what `tsc` says of it. */
const MISTAKES: [string, RegExp][] = [
  ["defineConfig({ realtime: { presenceTtl: 1 } })", /'presenceTtl' does not exist in type 'Realtime'/],
  ["defineConfig({ realtime: { maxMembers: '5' } })", /Type 'string' is not assignable to type 'number'/],
  [
    "defineConfig({ realtime: { namespaces: { 'presence:*': { access: { subscribe: (auth) => auth.role === 'x' } } } } })",
    /'auth' is possibly 'null'/,
  ],
  [
    "defineConfig({ realtime: { namespaces: { 'presence:*': { access: { track: (auth) => auth.role } } } } })",
    /is not assignable to type .*Decision'/,
  ],
  ["defineConfig({ realtime: { namespaces: { 'presence:*': { access: { read: () => true } } } } })", /'read' does not exist in type 'Access'/],
  ["defineConfig({ realtime: { webhooks: [{ url: 'https://a.example', channels: ['*'], events: ['joined'] }] } })", /"joined"/],
];

let folder: string;

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "herenow-config-"));
});

afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** What `tsc --strict` says of each of these configurations, by its name, beside a file with `declarations`. */
function complaints(configurations: Map<string, string>, declarations: string): Map<string, string> {
  const files = [...configurations.keys()].map((name) => join(folder, `${name}.ts`));
  for (const [name, code] of configurations) writeFileSync(join(folder, `${name}.ts`), code);
  const types = join(folder, "edgebase-env.d.ts");
  writeFileSync(types, declarations);
  const options = "--strict --noEmit --pretty false --target es2022 --module esnext --moduleResolution bundler".split(" ");
  const { stdout } = spawnSync(process.execPath, [TSC, ...options, ...files, types], { encoding: "utf8", cwd: folder });
  const lines = stdout.split("\n");
  const of = (name: string): string => lines.filter((line) => line.startsWith(`${name}.ts(`)).join("\n");
  // What is of no configuration would be a mistake of the types themselves.
  expect(lines.filter((line) => /^\S/.test(line) && !/^[\w.-]+\.ts\(/.test(line))).toEqual([]);
  return new Map([...configurations.keys()].map((name) => [name, of(name)]));
}

function check(declarations: () => string): void {
  it("passes every configuration that the documentation shows", () => {
    expect([...shown().keys()]).toContain("README-md-0");
    for (const [name, said] of complaints(shown(), declarations())) expect([name, said]).toEqual([name, ""]);
  }, PATIENCE_MS);

  it("finds mistakes", () => {
    const wrong = new Map(MISTAKES.map(([code], number) => [`mistake-${number}`, `export default ${code};\n`]));
    const said = complaints(wrong, declarations());
    MISTAKES.forEach(([, sentence], number) => expect(said.get(`mistake-${number}`)).toMatch(sentence));
  }, PATIENCE_MS);
}

describe("the types of a configuration from the package", () => {
  const source = join(ROOT, "sdk/src/config.js");
  check(() => `
    declare module "herenow/config" { export * from ${JSON.stringify(source)}; }
    declare const defineConfig: import(${JSON.stringify(source)}).DefineConfig;
  `);

  it("are those of a function that gives back what it is given", () => {
    const config = { realtime: { maxMembers: 5 } };
    expect(defineConfig(config)).toBe(config);
  });
});

if (BIN === undefined) it.skip("set HERENOW_BIN=/path/to/herenow to test what it prints");
else {
  describe("the types of a configuration that the server prints", () => {
    const print = (): string => execFileSync(BIN, ["types"], { encoding: "utf8" });
    check(print);

    it.each(["@edgebase/shared", "@edge-base/shared", "herenow/config"])("are those of %s, which the server loads too", (module) => {
      const code = `import { defineConfig, type Auth } from "${module}";
        const isMember = (auth: Auth): boolean => auth.role === "member";
        export default defineConfig({ realtime: { namespaces: { "presence:*": { access: { track: isMember } } } } });`;
      expect(complaints(new Map([["edgebase.config", code]]), print()).get("edgebase.config")).toBe("");
      expect(execFileSync(BIN, ["check"], { encoding: "utf8", cwd: folder })).toContain("presence:*");
    }, PATIENCE_MS);
  });
}

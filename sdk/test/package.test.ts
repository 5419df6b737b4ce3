/**
 * What the package is as a whole: small, without dependencies, and of one mind with the server's own frames.
 */
import { readFileSync, readdirSync } from "node:fs";
import { gzipSync } from "node:zlib";
import ts from "typescript";
import { describe, expect, it } from "vitest";
import { bundle, CORE, INTERNAL_NAMES } from "../bundle.mjs";
import { parse } from "../src/protocol.js";

/** The whole library, minified and compressed, in bytes. */
const MAX_BUNDLE_BYTES = 6_600;

/** TypeScript reads all of its libraries, and Terser looks at everything three times. */
const PATIENCE_MS = 120_000;

const here = (path: string): string => new URL(path, import.meta.url).pathname;
const read = (path: string): string => readFileSync(here(path), "utf8");

describe("the package", () => {
  it(`is at most ${MAX_BUNDLE_BYTES} bytes, and imports nothing`, async () => {
    const [file] = await bundle(CORE, "esm");
    const inputs = file?.inputs ?? [];
    expect(inputs).toContain("src/index.ts");
    expect(inputs.filter((input) => !input.startsWith("src/"))).toEqual([]);
    for (const framework of ["react", "svelte", "vue", "online", "testing", "debug"]) expect(inputs).not.toContain(`src/${framework}.ts`);
    expect(gzipSync(file?.text ?? "", { level: 9 }).length).toBeLessThanOrEqual(MAX_BUNDLE_BYTES);
  }, PATIENCE_MS);

  it("shortens no name that a frame or a public type has", () => {
    const names = new Set<string>();
    const note = (key: string, value: unknown): unknown => (names.add(key), value);
    for (const { text } of JSON.parse(read("../../fixtures/frames.json")) as { text: string }[]) JSON.parse(text, note);
    for (const name of publicNames()) names.add(name);
    expect(names).toContain("retryAfterMs");
    expect(names).toContain("isMe");
    expect(names).toContain("getToken");
    expect(INTERNAL_NAMES.filter((name) => names.has(name))).toEqual([]);
  }, PATIENCE_MS);

  it("has no runtime dependencies", () => {
    const described = JSON.parse(read("../package.json")) as Record<string, unknown>;
    expect(described).not.toHaveProperty("dependencies");
  });

  it("imports its own files by names that a browser can load", () => {
    for (const file of readdirSync(here("../src"))) {
      for (const [, from] of read(`../src/${file}`).matchAll(/from "(\.[^"]*)"/g)) expect(from).toMatch(/^\.\/\w+\.js$/);
    }
  });
});

/** The names of all that can be reached from what the main entry exports, as far as this library declares it. */
function publicNames(): Set<string> {
  const entry = here("../src/index.ts");
  const program = ts.createProgram([entry], { target: ts.ScriptTarget.ES2022, module: ts.ModuleKind.NodeNext, strict: true });
  const checker = program.getTypeChecker();
  const names = new Set<string>();
  const seen = new Set<ts.Type>();
  const visit = (type: ts.Type): void => {
    if (seen.has(type)) return;
    seen.add(type);
    if (type.isUnionOrIntersection()) type.types.forEach(visit);
    for (const signature of [...type.getCallSignatures(), ...type.getConstructSignatures()]) {
      visit(signature.getReturnType());
      for (const parameter of signature.getParameters()) visit(checker.getTypeOfSymbol(parameter));
    }
    for (const property of type.getProperties()) {
      if (!property.declarations?.some((one) => one.getSourceFile().fileName.includes("/sdk/src/"))) continue;
      names.add(property.name);
      visit(checker.getTypeOfSymbol(property));
    }
  };
  const source = program.getSourceFile(entry);
  const symbol = source && checker.getSymbolAtLocation(source);
  for (const one of symbol ? checker.getExportsOfModule(symbol) : []) {
    const exported = one.flags & ts.SymbolFlags.Alias ? checker.getAliasedSymbol(one) : one;
    visit(checker.getDeclaredTypeOfSymbol(exported));
    visit(checker.getTypeOfSymbol(exported));
  }
  return names;
}

describe("fixtures/frames.json", () => {
  const frames = JSON.parse(read("../../fixtures/frames.json")) as { name: string; text: string }[];

  it("holds frames", () => {
    expect(frames.length).toBeGreaterThan(0);
  });

  it.each(frames)("$name is understood as it was meant", ({ text }) => {
    expect(parse(text)).toEqual(JSON.parse(text));
  });
});

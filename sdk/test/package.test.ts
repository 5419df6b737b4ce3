/**
 * What the package is as a whole: small, without dependencies, and of one mind with the server's own frames.
 */
import { readFileSync, readdirSync } from "node:fs";
import { gzipSync } from "node:zlib";
import { build } from "esbuild";
import { describe, expect, it } from "vitest";
import { parse } from "../src/protocol.js";

/** The whole library, minified and compressed, in bytes. */
const MAX_BUNDLE_BYTES = 6_600;

const here = (path: string): string => new URL(path, import.meta.url).pathname;
const read = (path: string): string => readFileSync(here(path), "utf8");

describe("the package", () => {
  it(`is at most ${MAX_BUNDLE_BYTES} bytes, and imports nothing`, async () => {
    const { outputFiles, metafile } = await build({
      entryPoints: [here("../src/index.ts")],
      bundle: true,
      minify: true,
      format: "esm",
      target: "es2022",
      write: false,
      metafile: true,
      absWorkingDir: here(".."),
    });
    expect(Object.keys(metafile.inputs).every((input) => input.startsWith("src/"))).toBe(true);
    expect(Object.keys(metafile.inputs)).not.toContain("src/react.ts");
    expect(gzipSync(outputFiles[0]?.contents ?? "", { level: 9 }).length).toBeLessThanOrEqual(MAX_BUNDLE_BYTES);
  });

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

describe("fixtures/frames.json", () => {
  const frames = JSON.parse(read("../../fixtures/frames.json")) as { name: string; text: string }[];

  it("holds frames", () => {
    expect(frames.length).toBeGreaterThan(0);
  });

  it.each(frames)("$name is understood as it was meant", ({ text }) => {
    expect(parse(text)).toEqual(JSON.parse(text));
  });
});

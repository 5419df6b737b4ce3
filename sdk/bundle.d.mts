import type { BuildOptions } from "esbuild";

export const INTERNAL_NAMES: readonly string[];
export const CORE: BuildOptions;
export const FRAMEWORKS: BuildOptions;

export interface Bundled {
  path: string;
  text: string;
  map: string;
  inputs: readonly string[];
}

export function bundle(entries: BuildOptions, format: "esm" | "cjs", outdir?: string): Promise<Bundled[]>;

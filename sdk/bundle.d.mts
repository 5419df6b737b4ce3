import type { BuildOptions } from "esbuild";

export const INTERNAL_NAMES: readonly string[];
export const ENTRIES: string[];
export const BUNDLE: BuildOptions;

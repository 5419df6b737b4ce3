import type { BuildOptions } from "esbuild";

export const INTERNAL_NAMES: readonly string[];
export const CORE: BuildOptions;
export const FRAMEWORKS: BuildOptions;

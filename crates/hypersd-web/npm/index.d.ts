import type * as hypersd from "./simd/hypersd_web.js";
export type * from "./simd/hypersd_web.js";

export type Build = "relaxed" | "simd";

/** The builds that this browser can run, the fastest first; none without SIMD. */
export function builds(): Build[];

/** The module's exports, loaded once. `module` is what `WebAssembly.instantiate` takes, where it is not to be fetched. */
export function load(options?: { build?: Build; module?: BufferSource | WebAssembly.Module }): Promise<typeof hypersd>;

/** The files of the demo model: a Stable Diffusion in miniature with its LoRA and its ControlNet. */
export function demoFiles(progress?: (share: number) => void): Promise<Map<string, Uint8Array>>;

/** The files in an archive such as `demo.bin`. */
export function unpacked(archive: Uint8Array): Map<string, Uint8Array>;

// Loads hypersd's WebAssembly: of its two builds the one that the browser can run.

/** A function that adds two vectors, and one with relaxed multiply-add: modules that say whether they can be had. */
const SIMD = [0, 97, 115, 109, 1, 0, 0, 0, 1, 5, 1, 96, 0, 1, 123, 3, 2, 1, 0, 10, 10, 1, 8, 0, 65, 0, 253, 15, 253, 98, 11];
const RELAXED = [0, 97, 115, 109, 1, 0, 0, 0, 1, 8, 1, 96, 3, 123, 123, 123, 1, 123, 3, 2, 1, 0, 10, 13, 1, 11, 0, 32, 0, 32, 1, 32, 2, 253, 133, 2, 11];
const runs = module => WebAssembly.validate(new Uint8Array(module));

/** The builds that this browser can run, the fastest first. */
export function builds() {
  if (typeof WebAssembly !== "object") return [];
  return [...(runs(RELAXED) ? ["relaxed"] : []), ...(runs(SIMD) ? ["simd"] : [])];
}

let loaded;

/** The module's exports, loaded once: `Pipeline`, `Files`, `edges`, … */
export function load({ build = builds()[0] ?? null, module } = {}) {
  if (!build) {
    return Promise.reject(new Error("WebAssembly with SIMD is needed, which browsers have since 2021 (Chrome 91, Firefox 89, Safari 16.4)."));
  }
  return (loaded ??= instantiate(build, module));
}

async function instantiate(build, module) {
  const exports = await import(`./${build}/hypersd_web.js`);
  await exports.default({ module_or_path: module ?? new URL(`./${build}/hypersd_web_bg.wasm`, import.meta.url) });
  return exports;
}

/** The files of the demo model, as a Map from path to bytes: a Stable Diffusion in miniature, its LoRA and its ControlNet. */
export async function demoFiles(progress = () => {}) {
  const response = await fetch(new URL("demo.bin", import.meta.url));
  if (!response.ok) throw new Error(`demo.bin: the server answered ${response.status}`);
  return unpacked(await received(response, progress));
}

/** The files in an archive: u32 of the length of its index, the index as JSON (`[[path, bytes], …]`), then one after the other. */
export function unpacked(archive) {
  const { buffer, byteOffset } = archive;
  const length = new DataView(buffer, byteOffset).getUint32(0, true);
  const index = JSON.parse(new TextDecoder().decode(archive.subarray(4, 4 + length)));
  let at = 4 + length;
  return new Map(index.map(([path, bytes]) => [path, archive.subarray(at, (at += bytes))]));
}

/** All bytes of a response; `progress` hears of the share that has come. */
async function received(response, progress) {
  // Of what is compressed the header says another length than that of the bytes.
  const size = response.headers.has("content-encoding") ? 0 : Number(response.headers.get("content-length"));
  if (!size) return new Uint8Array(await response.arrayBuffer());
  const bytes = new Uint8Array(size);
  let at = 0;
  const reader = response.body.getReader();
  for (let read; !(read = await reader.read()).done; progress(at / size)) {
    bytes.set(read.value, at);
    at += read.value.length;
  }
  return bytes;
}

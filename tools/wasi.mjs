// Runs a WASI program of cargo's, such as a test, with Node's WebAssembly: `node tools/wasi.mjs PROGRAM ARGUMENT…`. It sees no
// files, and of the environment nothing.
import { readFile } from "node:fs/promises";
import { WASI } from "node:wasi";

const [program, ...rest] = process.argv.slice(2);
const wasi = new WASI({ version: "preview1", args: [program, ...rest], env: {}, returnOnExit: true });
const module = await WebAssembly.compile(await readFile(program));
const instance = await WebAssembly.instantiate(module, wasi.getImportObject());
process.exitCode = wasi.start(instance);

// What tools/web has of files: `node tools/web.mjs pack|serve|sizes …`, from the repository's root.
import { createReadStream } from "node:fs";
import { readFile, readdir, stat, writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import { extname, join, normalize, relative } from "node:path";
import { pathToFileURL } from "node:url";
import { brotliCompressSync, constants } from "node:zlib";

/** Writes the files below `folders` of `root` as one archive, as `unpacked` of npm/index.js reads it. */
async function pack(archive, root, ...parts) {
  const files = [];
  for (const part of parts) await add(files, join(root, part), part === "model" ? join(root, "model") : root);
  const index = Buffer.from(JSON.stringify(files.map(([path, bytes]) => [path, bytes.length])));
  // Spaces after the index, so that the first file lies at a multiple of 64.
  const padded = Buffer.concat([index, Buffer.alloc((64 - ((4 + index.length) % 64)) % 64, " ")]);
  const length = Buffer.alloc(4);
  length.writeUInt32LE(padded.length);
  await writeFile(archive, Buffer.concat([length, padded, ...files.map(([, bytes]) => bytes)]));
}

async function add(files, path, root) {
  if ((await stat(path)).isFile()) return void files.push([relative(root, path), await readFile(path)]);
  for (const name of (await readdir(path)).sort()) await add(files, join(path, name), root);
}

const TYPES = {
  ".html": "text/html; charset=utf-8", ".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml",
  ".wasm": "application/wasm", ".json": "application/json", ".bin": "application/octet-stream",
};

/** Serves a folder on loopback; a server of Node's. Nothing outside the folder is reached. */
export function serve(folder, port = 0) {
  const server = createServer(async ({ url }, response) => {
    const path = normalize(decodeURIComponent(new URL(url, "http://localhost").pathname));
    const file = join(folder, path.endsWith("/") ? `${path}index.html` : path);
    const found = await stat(file).catch(() => null);
    if (!found?.isFile()) return response.writeHead(404).end();
    response.writeHead(200, {
      "content-type": TYPES[extname(file)] ?? "application/octet-stream", "content-length": found.size, "cache-control": "no-cache",
    });
    createReadStream(file).pipe(response);
  });
  return new Promise(listening => server.listen(port, "127.0.0.1", () => listening(server)));
}

/** Prints what a browser with relaxed SIMD loads of a page, in bytes and with brotli. */
async function sizes(folder) {
  const total = [0, 0];
  for (const file of await below(folder)) {
    if (/\/simd\/|\.d\.ts$|package\.json$|LICENSE|README/.test(file)) continue;
    const bytes = await readFile(file);
    const small = brotliCompressSync(bytes, { params: { [constants.BROTLI_PARAM_QUALITY]: 11, [constants.BROTLI_PARAM_LGWIN]: 24 } });
    total[0] += bytes.length;
    total[1] += small.length;
    console.log(`${String(bytes.length).padStart(9)} ${String(small.length).padStart(9)}  ${relative(folder, file)}`);
  }
  console.log(`${String(total[0]).padStart(9)} ${String(total[1]).padStart(9)}  in all`);
}

async function below(folder) {
  const names = await readdir(folder, { recursive: true, withFileTypes: true });
  return names.filter(entry => entry.isFile()).map(entry => join(entry.parentPath, entry.name)).sort();
}

if (import.meta.url === pathToFileURL(process.argv[1]).href) {
  const [command, ...rest] = process.argv.slice(2);
  if (command === "pack") await pack(...rest);
  else if (command === "sizes") await sizes(...rest);
  else if (command === "serve") console.log(`http://127.0.0.1:${(await serve(rest[0], Number(rest[1] ?? 8080))).address().port}/`);
  else throw new Error(`expected pack, serve or sizes, found ${command}`);
}

// Times the demo model in headless Chromium beside the native program, in turns: `node tools/web-time.mjs [ROUNDS]` from the
// repository's root, after `bash tools/web build`, `bash tools/web test page` and
// `cargo build --release -p hypersd-web --example native`. Milliseconds; medians of the rounds' medians.
import { execFileSync } from "node:child_process";
import { existsSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { serve } from "./web.mjs";

const { chromium } = createRequire(join(process.cwd(), "target/web/node/"))("playwright-core");
const FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
  "--disable-component-update", "--disable-sync"];
const EACH = 15;

const native = process.env.NATIVE ?? "target/release/examples/native";
const rounds = Number(process.argv[2] ?? 3);
const server = await serve("target/web/page");
const address = `http://127.0.0.1:${server.address().port}/`;
const browser = await chromium.launch({ executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium", args: FLAGS });
const builds = ["relaxed", "simd"].filter(build => existsSync(`target/web/page/hypersd/${build}`));

/** What runs in a worker of the page: the same requests as the native program's. */
const worker = `
import { load, demoFiles } from "/hypersd/index.js";
onmessage = async ({ data: { build, each } }) => {
  const { Pipeline, Files, instructionSet } = await load({ build });
  const files = new Files("demo");
  for (const [path, bytes] of await demoFiles()) files.addBytes(path, bytes);
  const pipeline = Pipeline.open(files, { loras: [{ path: "hyper-lora.safetensors" }], controlnets: ["controlnet"], recipe: "hyper-sd15-unified" });
  const data = new Uint8ClampedArray(128 * 128 * 4);
  for (let i = 0; i < 128 * 128; i++) {
    const [x, y] = [i % 128, i >> 7];
    const on = ((x === 32 || x === 96) && y >= 32 && y <= 96) || ((y === 32 || y === 96) && x >= 32 && x <= 96);
    data.set([on * 255, on * 255, on * 255, 255], 4 * i);
  }
  const image = { width: 128, height: 128, data };
  const median = request => {
    const times = [];
    for (let i = 0; i <= each; i++) {
      const began = performance.now();
      pipeline.draw({ prompt: "a red mushroom in the meadow by day", ...request }).free();
      times.push(performance.now() - began);
    }
    times.shift();
    return times.sort((a, b) => a - b)[each >> 1];
  };
  median({}); // V8 compiles a second time, and better, what has run
  postMessage({ with: instructionSet(), "one step": median({}), "four steps": median({ steps: 4 }), "with ControlNet": median({ control: { image } }) });
};`;

async function inPage(build) {
  const page = await browser.newPage();
  await page.route("**/timing", route => route.fulfill({ contentType: "text/html", body: "<title>timing</title>" }));
  await page.route("**/timing.js", route => route.fulfill({ contentType: "text/javascript", body: worker }));
  await page.goto(`${address}timing`);
  const times = await page.evaluate(({ build, each }) => new Promise((resolve, reject) => {
    const worker = new Worker("timing.js", { type: "module" });
    worker.onmessage = ({ data }) => resolve(data);
    worker.onerror = event => reject(new Error(event.message));
    worker.postMessage({ build, each });
  }), { build, each: EACH });
  await page.close();
  return times;
}

/** Milliseconds from navigation to the first picture, in a fresh profile. */
async function first() {
  const context = await browser.newContext();
  const page = await context.newPage();
  await page.goto(address);
  const time = await page.waitForFunction(() => document.body.dataset.pictures && performance.now());
  const ms = await time.jsonValue();
  await context.close();
  return ms;
}

const seen = {};
const note = ({ with: name, ...times }) => {
  for (const [what, ms] of Object.entries(times)) ((seen[name] ??= {})[what] ??= []).push(ms);
};
for (let round = 0; round < rounds; round++) {
  if (existsSync(native)) note(JSON.parse(execFileSync(native)));
  for (const build of builds) note(await inPage(build));
  note({ with: "page", "first picture": await first() });
}
for (const [name, times] of Object.entries(seen)) {
  const medians = Object.entries(times).map(([what, all]) => `${what} ${all.sort((a, b) => a - b)[all.length >> 1].toFixed(1)}`);
  console.log(`${name}: ${medians.join(", ")}`);
}
await browser.close();
server.close();

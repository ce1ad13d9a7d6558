// The page, as somebody uses it, in headless Chromium: `bash tools/web test`.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { after, afterEach, before, beforeEach, test } from "node:test";
import { serve } from "../../../tools/web.mjs";

const { chromium } = createRequire(join(process.cwd(), "target/web/node/"))("playwright-core");

// As root in a container, without a card, and without asking Google for anything.
const FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
  "--disable-component-update", "--disable-sync", "--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream"];
const WAIT = 60_000;

let browser;
let server;
let address;
let page;
let complaints;

before(async () => {
  server = await serve(join(process.cwd(), "target/web/page"));
  address = `http://127.0.0.1:${server.address().port}/`;
  browser = await chromium.launch({ executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium", args: FLAGS });
});

after(async () => {
  await browser?.close();
  server?.close();
});

beforeEach(async () => open({ viewport: { width: 1280, height: 900 } }));

afterEach(async () => {
  assert.deepEqual(complaints, [], "the console is silent");
  await page.context().close();
});

async function open(options) {
  await page?.context().close();
  page = await (await browser.newContext(options)).newPage();
  complaints = [];
  page.on("console", message => complaints.push(message.text()));
  page.on("pageerror", error => complaints.push(error.message));
}

/** Waits until nothing moves and the last picture is of what is asked for. */
async function rests() {
  await page.waitForFunction(() => document.body.dataset.rests, null, { timeout: WAIT });
}

/** Does something, and waits for what it draws. */
async function drawn(act) {
  await page.evaluate(() => delete document.body.dataset.rests);
  await act();
  await rests();
  return picture();
}

function picture(id = "picture") {
  return page.evaluate(id => {
    const canvas = document.getElementById(id);
    return [...canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data];
  }, id);
}

async function ready() {
  await page.goto(address);
  await rests();
}

/** Mean difference in levels. */
function distance(a, b) {
  return a.reduce((sum, value, i) => sum + Math.abs(value - b[i]), 0) / a.length;
}

/** Draws lines with the mouse; points from 0 to 1. */
async function scribble(...lines) {
  const { x, y, width, height } = await page.locator("#sketch").boundingBox();
  for (const [first, ...rest] of lines) {
    const at = ([u, v]) => [x + u * width, y + v * height];
    await page.mouse.move(...at(first));
    await page.mouse.down();
    for (const point of rest) await page.mouse.move(...at(point), { steps: 8 });
    await page.mouse.up();
  }
}

const SQUARE = [[0.2, 0.3], [0.8, 0.3], [0.8, 0.9], [0.2, 0.9], [0.2, 0.3]];
const CIRCLE = Array.from({ length: 25 }, (_, i) => [0.5 + 0.3 * Math.cos((i * Math.PI) / 12), 0.4 + 0.3 * Math.sin((i * Math.PI) / 12)]);

/** How strong the edges of a picture are along lines: the mean over their points of the largest gradient within 2 pixels. */
function agreement(pixels, lines, side = 128) {
  const gray = (x, y) => {
    const i = 4 * (Math.min(side - 1, Math.max(0, y)) * side + Math.min(side - 1, Math.max(0, x)));
    return 0.299 * pixels[i] + 0.587 * pixels[i + 1] + 0.114 * pixels[i + 2];
  };
  const gradient = (x, y) => Math.hypot(gray(x + 1, y) - gray(x - 1, y), gray(x, y + 1) - gray(x, y - 1));
  let [sum, count] = [0, 0];
  for (const line of lines) {
    for (let i = 1; i < line.length; i++) {
      for (let t = 0; t < 1; t += 0.05) {
        const [x, y] = [0, 1].map(axis => Math.round((line[i - 1][axis] * (1 - t) + line[i][axis] * t) * side));
        const near = [-2, -1, 0, 1, 2].flatMap(dx => [-2, -1, 0, 1, 2].map(dy => gradient(x + dx, y + dy)));
        sum += Math.max(...near);
        count++;
      }
    }
  }
  return sum / count;
}

test("words are drawn as they are typed", async () => {
  await ready();
  const before = await picture();
  const after = await drawn(() => page.fill("#prompt", "a blue boat on the beach at night"));
  assert.ok(distance(before, after) > 10, `${distance(before, after)} levels`);
  assert.match(await page.textContent("#time"), /\d+ (ms|s) · 4 steps/);
  assert.match(await page.textContent("#engine"), /demo model, in this page.*SIMD/);
});

test("the picture follows the pen, and not another drawing", async t => {
  await ready();
  await page.fill("#prompt", "a brown cookie in the snow by day");
  const square = await drawn(() => scribble(SQUARE));
  await page.click("#clear");
  const circle = await drawn(() => scribble(CIRCLE));
  const [ss, sc, cc, cs] = [agreement(square, [SQUARE]), agreement(square, [CIRCLE]), agreement(circle, [CIRCLE]), agreement(circle, [SQUARE])];
  t.diagnostic(`along the square ${ss.toFixed(1)} and ${cs.toFixed(1)}, along the circle ${cc.toFixed(1)} and ${sc.toFixed(1)}`);
  assert.ok(ss > 1.3 * cs && cc > 1.3 * sc, `${ss} ${cs}, ${cc} ${sc}`);
});

test("pictures come while the pen moves, and typing never waits", async () => {
  await ready();
  const count = () => page.evaluate(() => Number(document.body.dataset.pictures));
  const before = await count();
  const { x, y, width } = await page.locator("#sketch").boundingBox();
  await page.mouse.move(x + 20, y + 20);
  await page.mouse.down();
  for (let i = 0; i < 40; i++) {
    await page.mouse.move(x + 20 + (i * width) / 60, y + 20 + i * 5);
    await page.waitForTimeout(25);
  }
  assert.ok((await count()) - before >= 3, "pictures before the pen is lifted");
  await page.mouse.up();
  await rests();
});

test("what was drawn is erased, undone and cleared", async () => {
  await ready();
  const empty = await picture();
  const lined = await drawn(() => scribble(SQUARE));
  assert.notDeepEqual(lined, empty);
  await page.keyboard.press("e");
  const erased = await drawn(() => scribble(SQUARE));
  assert.deepEqual(erased, empty);
  assert.deepEqual(await drawn(() => page.keyboard.press("Control+z")), lined);
  assert.deepEqual(await drawn(() => page.click("#clear")), empty);
  assert.ok(await page.isDisabled("#undo"));
});

test("the keyboard draws", async () => {
  await ready();
  const before = await picture();
  await page.focus("#sketch");
  const after = await drawn(async () => {
    await page.keyboard.press("Space");
    for (const key of ["ArrowRight", "ArrowDown", "ArrowLeft"]) for (let i = 0; i < 5; i++) await page.keyboard.press(`Shift+${key}`);
    await page.keyboard.press("Space");
  });
  assert.notDeepEqual(after, before);
});

test("without the LoRA one step is a blur, beside it", async () => {
  await ready();
  await page.fill("#steps", "1");
  await drawn(() => page.click("#compare"));
  const [main, base] = [await picture(), await picture("base")];
  assert.ok(distance(main, base) > 5);
  await drawn(() => page.click("#compare"));
  assert.ok(await page.isHidden("#other"));
});

test("a photo's edges are followed, as the sliders say", async () => {
  await ready();
  const before = await picture();
  const after = await drawn(() => page.setInputFiles("#photo-file", "docs/images/inpaint.png"));
  assert.notDeepEqual(after, before);
  const fewer = await drawn(() => page.fill("#high", "480"));
  assert.notDeepEqual(fewer, after);
  const coloured = await drawn(() => page.fill("#level", "0.5"));
  assert.notDeepEqual(coloured, fewer);
  assert.deepEqual(await drawn(() => page.click("#forget")), before);
});

test("the camera's picture is followed", async () => {
  await page.context().grantPermissions(["camera"], { origin: address.slice(0, -1) });
  await ready();
  const before = await picture();
  await page.click("#camera");
  await page.waitForFunction(() => document.getElementById("video").videoWidth > 0, null, { timeout: WAIT });
  assert.notDeepEqual(await drawn(() => page.click("#shoot")), before);
});

test("what is saved can be read again", async () => {
  await ready();
  const [download] = await Promise.all([page.waitForEvent("download"), page.click("#save")]);
  assert.equal(download.suggestedFilename(), "a-red-house-in-the-meadow-by-day.png");
  const png = readFileSync(await download.path());
  assert.ok(png.includes("a red house in the meadow by day") && png.includes("Seed: 7"));
});

test("what cannot be drawn is said, and drawing goes on", async () => {
  await ready();
  await page.fill("#seed", "-5");
  await page.waitForSelector("#notice:not([hidden])", { timeout: WAIT });
  assert.match(await page.textContent("#notice"), /seed|-5/);
  await drawn(() => page.fill("#seed", "5"));
  assert.ok(await page.isHidden("#notice"));
});

test("a model of the user's is opened from its folder, and what is none is refused", async () => {
  await ready();
  const before = await drawn(() => page.fill("#prompt", "a red star in the desert at night"));
  await page.click("#model summary");
  await page.setInputFiles("#model-folder", "crates/hypersd-demo/model");
  await page.setInputFiles("#lora-file", "crates/hypersd-demo/hyper-lora.safetensors");
  await page.selectOption("#recipe", "hyper-sd15-unified");
  const opened = await drawn(() => page.click("#files [type=submit]"));
  assert.ok(distance(before, opened) < 1.5, "the same but for weights in half precision");
  assert.match(await page.textContent("#engine"), /model, in this page/);
  await page.setInputFiles("#model-file", "crates/hypersd-demo/hyper-lora.safetensors");
  await page.click("#files [type=submit]");
  await page.waitForSelector("#failure:not([hidden])", { timeout: WAIT });
  assert.match(await page.textContent("#failure"), /could not be loaded.*hyper-lora/s);
  await drawn(() => page.click("#retry"));
});

test("a browser without SIMD is told", async () => {
  await page.addInitScript(() => { WebAssembly.validate = () => false; });
  await page.goto(address);
  await page.waitForSelector("#failure:not([hidden])", { timeout: WAIT });
  assert.match(await page.textContent("#failure"), /too old.*WebAssembly with SIMD.*2021/s);
});

test("the build for browsers without relaxed SIMD draws the same, within two levels", async t => {
  await ready();
  const relaxed = await picture();
  await open({ viewport: { width: 1280, height: 900 } });
  await page.addInitScript(() => {
    const validate = WebAssembly.validate;
    WebAssembly.validate = module => module.length < 35 && validate(module); // the longer one asks for relaxed SIMD
  });
  const response = await fetch(`${address}hypersd/simd/hypersd_web_bg.wasm`, { method: "HEAD" });
  if (!response.ok) return t.skip("only the other build was made");
  await ready();
  const plain = await picture();
  assert.ok(Math.max(...plain.map((value, i) => Math.abs(value - relaxed[i]))) <= 2);
});

test("a phone shows drawing and picture at once, in either colour", async () => {
  for (const colorScheme of ["light", "dark"]) {
    await open({ viewport: { width: 390, height: 844 }, hasTouch: true, isMobile: true, colorScheme });
    await ready();
    const [paper, wall] = [await page.locator("#paper").boundingBox(), await page.locator("#wall").boundingBox()];
    assert.ok(wall.y + wall.height <= paper.y && paper.y + paper.height <= 844);
    assert.equal(await page.evaluate(() => document.documentElement.scrollWidth), 390);
    await page.locator("#sketch").tap();
  }
});

test("everything that can be pressed has a name", async () => {
  await ready();
  const nameless = await page.evaluate(() => [...document.querySelectorAll("button, input:not([hidden]), select, canvas")]
    .filter(element => !(element.ariaLabel ?? element.labels?.[0]?.textContent ?? element.textContent).trim())
    .map(element => element.outerHTML));
  assert.deepEqual(nameless, []);
});

// The package under Node, without a page: pictures are the native program's, and errors say what to do. `bash tools/web test`.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { before, test } from "node:test";
import { pathToFileURL } from "node:url";
import { inflateSync } from "node:zlib";

const npm = join(process.cwd(), "target/web/npm");
const { builds, load, unpacked } = await import(pathToFileURL(join(npm, "index.js")));
const PROMPT = "a red mushroom in the meadow by day";

let hypersd;
let files;
let pipeline;

before(async () => {
  const build = builds().find(build => existsSync(join(npm, build)));
  assert.ok(build, "no build that this Node runs; `bash tools/web build simd` makes one");
  hypersd = await load({ build, module: readFileSync(join(npm, build, "hypersd_web_bg.wasm")) });
  files = new hypersd.Files("demo");
  for (const [path, bytes] of unpacked(readFileSync(join(npm, "demo.bin")))) files.addBytes(path, bytes);
  pipeline = hypersd.Pipeline.open(files, {
    loras: [{ path: "hyper-lora.safetensors" }], controlnets: ["controlnet"], recipe: "hyper-sd15-unified",
  });
});

/** White lines on black: a square. */
function square() {
  const data = new Uint8ClampedArray(128 * 128 * 4);
  for (let y = 0; y < 128; y++) {
    for (let x = 0; x < 128; x++) {
      const on = (x === 32 || x === 96 ? y >= 32 && y <= 96 : (y === 32 || y === 96) && x >= 32 && x <= 96);
      data.set([on * 255, on * 255, on * 255, 255], (y * 128 + x) * 4);
    }
  }
  return { width: 128, height: 128, data };
}

/** The largest difference of two pictures, and how many values differ. */
function difference(a, b) {
  assert.equal(a.length, b.length);
  let [largest, differ] = [0, 0];
  for (let i = 0; i < a.length; i++) {
    const d = Math.abs(a[i] - b[i]);
    largest = Math.max(largest, d);
    differ += d > 0;
  }
  return { largest, differ };
}

/** The pixels of a PNG file as `generate` writes them, 8-bit RGB: chunks, then rows with a filter each (PNG, 9.2). */
function decoded(png) {
  const [width, height] = [png.readUInt32BE(16), png.readUInt32BE(20)];
  const parts = [];
  for (let at = 8; at < png.length; at += 12 + png.readUInt32BE(at)) {
    if (png.toString("latin1", at + 4, at + 8) === "IDAT") parts.push(png.subarray(at + 8, at + 8 + png.readUInt32BE(at)));
  }
  const rows = inflateSync(Buffer.concat(parts));
  const stride = width * 3;
  const rgb = new Uint8Array(height * stride);
  for (let y = 0; y < height; y++) {
    const filter = rows[y * (stride + 1)];
    for (let i = 0; i < stride; i++) {
      const left = i < 3 ? 0 : rgb[y * stride + i - 3];
      const up = y === 0 ? 0 : rgb[(y - 1) * stride + i];
      const corner = i < 3 || y === 0 ? 0 : rgb[(y - 1) * stride + i - 3];
      rgb[y * stride + i] = rows[y * (stride + 1) + 1 + i] + [0, left, up, (left + up) >> 1, paeth(left, up, corner)][filter];
    }
  }
  const pixels = Array.from({ length: width * height }, (_, i) => [rgb[3 * i], rgb[3 * i + 1], rgb[3 * i + 2], 255]);
  return new Uint8ClampedArray(pixels.flat());
}

function paeth(a, b, c) {
  const [pa, pb, pc] = [a, b, c].map(x => Math.abs(a + b - c - x));
  return pa <= pb && pa <= pc ? a : pb <= pc ? b : c;
}

test("the model says what it is", () => {
  const info = pipeline.info();
  assert.deepEqual([info.width, info.height, info.controlnets], [128, 128, 1]);
  assert.deepEqual(info.recipe.steps, [1, 8, 1]);
  assert.match(info.loras[0], /hyper-lora/);
  assert.match(hypersd.instructionSet(), /^(RelaxedSimd|Simd128)$/);
});

test("pictures are the native program's, within one level", t => {
  const native = process.env.HYPERSD_GENERATE;
  if (!native) return t.skip("HYPERSD_GENERATE does not name a built example `generate`");
  const folder = mkdtempSync(join(tmpdir(), "hypersd-"));
  try {
    const drawn = join(folder, "drawn.png");
    for (const [request, options] of [
      [{ prompt: PROMPT, seed: 7 }, []],
      [{ prompt: PROMPT, seed: 3, steps: 4, eta: 0.3 }, ["--steps", "4", "--eta", "0.3"]],
    ]) {
      execFileSync(native, [PROMPT, "--seed", String(request.seed), "--output", drawn, ...options]);
      const wanted = decoded(readFileSync(drawn));
      const got = pipeline.draw(request).rgba();
      const { largest, differ } = difference(got, wanted);
      t.diagnostic(`${options.join(" ") || "one step"}: ${differ} of ${got.length} values differ, by ${largest} at most`);
      assert.ok(largest <= 1, `differs by ${largest}`);
    }
  } finally {
    rmSync(folder, { recursive: true });
  }
});

test("a picture may be drawn a step at a time, with previews", () => {
  const request = { prompt: PROMPT, seed: 1, steps: 3, eta: 0.5 };
  const seen = [];
  const whole = pipeline.draw(request, step => void seen.push([step.step, step.steps, step.preview().width]));
  assert.deepEqual(seen, [[1, 3, 128], [2, 3, 128]]);
  const denoising = pipeline.denoise(request);
  assert.throws(() => denoising.picture(), /expected a step before it/);
  for (let i = 0; i < 3; i++) assert.equal(denoising.step().step, i + 1);
  assert.equal(denoising.step(), undefined);
  assert.deepEqual(denoising.picture().rgba(), whole.rgba());
  assert.equal(pipeline.draw(request, () => false), undefined);
});

test("edges guide, more so with strength, and not where there are none", () => {
  const request = { prompt: "a blue house in the snow", seed: 2 };
  const free = pipeline.draw(request).rgba();
  const weak = pipeline.draw({ ...request, control: { image: square(), scale: 0.2 } }).rgba();
  const strong = pipeline.draw({ ...request, control: { image: square() } }).rgba();
  const changed = other => difference(free, other).differ;
  assert.ok(changed(weak) > 0 && changed(strong) > changed(weak));
  assert.equal(changed(pipeline.draw({ ...request, control: { image: square(), scale: 0 } }).rgba()), 0);
});

test("a picture may be the start, and a part of one be painted anew", () => {
  const first = pipeline.draw({ prompt: PROMPT, seed: 7 });
  const start = first.png();
  const near = pipeline.draw({ prompt: PROMPT, seed: 7, image: start, noise_level: 0.2 }).rgba();
  const far = pipeline.draw({ prompt: PROMPT, seed: 8, image: start, noise_level: 1 }).rgba();
  const own = first.rgba();
  const mean = pixels => pixels.reduce((sum, value, i) => sum + Math.abs(value - own[i]) / pixels.length, 0);
  const [nearly, farther] = [mean(near), mean(far)];
  assert.ok(nearly < farther, `${nearly} and ${farther}`);
  const white = { width: 128, height: 128, data: new Uint8ClampedArray(128 * 128 * 4).fill(255) };
  assert.equal(pipeline.draw({ prompt: PROMPT, image: start, mask: white, steps: 2 }).width, 128);
});

test("what is saved says what it was made with", () => {
  const png = Buffer.from(pipeline.draw({ prompt: PROMPT, seed: 41 }).png());
  assert.ok(png.includes("parameters") && png.includes(PROMPT) && png.includes("Seed: 41"));
});

test("errors say what was found and what to do", () => {
  const draw = request => () => pipeline.draw(request);
  assert.throws(draw({ prompt: PROMPT, steps: "four" }), /request: .*four/);
  assert.throws(draw({ promt: PROMPT }), /request: expected members prompt,.*, found promt/);
  assert.throws(draw({ seed: -1 }), /seed: expected a whole number from 0 to 2\^53, found -1/);
  assert.throws(draw({ steps: 0 }), /steps/);
  assert.throws(draw({ width: 100 }), /width: expected a multiple of 8/);
  assert.throws(draw({ scheduler: "fast" }), /fast.*tcd/);
  assert.throws(draw({ control: { image: { width: 2, height: 2, data: new Uint8Array(3) } } }), /control: expected 4·2·2 bytes of RGBA, found 3/);
  assert.throws(draw({ control: [{ image: square() }, { image: square() }] }), /control: expected at most 1/);
  assert.throws(draw({ image: new Uint8Array([1, 2, 3]) }), /PNG, JPEG/);
  assert.throws(draw({ mask: square() }), /mask: expected an image beside it/);
  assert.throws(draw({ image: square(), strength: 0.5, noise_level: 0.5 }), /strength: expected one of/);
  const open = options => () => hypersd.Pipeline.open(files, options);
  assert.throws(open({ model: "nowhere" }), /nowhere/);
  assert.throws(open({ recipe: "fastest" }), /fastest/);
  assert.throws(open({ dtype: "f8" }), /options: .*f8/);
  assert.throws(open({ loras: [{ path: "unet/config.json" }] }), /config\.json/);
});

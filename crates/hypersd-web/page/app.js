// The page: what is on it, and what becomes of it. Who draws is behind an engine (engine/local.js), when is in live.js.
import { house, idea, world } from "./ideas.js";
import { Live } from "./live.js";
import { cropped, opened, photographed, received } from "./photo.js";
import { Sketch } from "./sketch.js";

const $ = id => document.getElementById(id);
const number = id => Number($(id).value);
/** What the demo model is called, here and by a server. */
const DEMO = ["demo model", "demo"];
const served = document.querySelector("meta[name=engine]").content === "server";

let engine; // who draws
let live; // when
let info; // of the model
let photo = null; // what was started from: an image, and its middle at the picture's size
let shown = false; // whether there is a picture

const sketch = new Sketch($("sketch"), () => {
  $("hint").classList.toggle("gone", !sketch.empty || sketch.drawing);
  $("undo").disabled = $("clear").disabled = sketch.empty;
  if (photo && !info.server && !sketch.hasPhoto) forget();
  changed();
});

// ---- Asking

/** The request for a view: all steps, or one while something moves. */
function request(view, quick) {
  if (view === "base" && !comparing()) return null;
  const steps = quick ? 1 : number("steps");
  const request = { prompt: $("prompt").value, seed: number("seed"), steps, eta: number("eta") };
  if (view === "base") request.lora = false;
  const lines = info.controlnets > 0 && number("scale") > 0 ? sketch.lines() : null;
  if (lines) request.control = { image: lines, scale: number("scale") };
  // A server takes the edges itself, where no line is drawn.
  else if (photo && info.server && info.controlnets > 0) request.control = { image: photo.image, scale: number("scale"), canny: thresholds() };
  if (photo && number("level") < 1) Object.assign(request, { image: photo.image, noise_level: number("level") });
  return request;
}

const comparing = () => $("compare").getAttribute("aria-pressed") === "true";
const changed = options => live?.change(options);

// ---- Showing

const rate = ms => (ms < 400 ? ` · ${Math.round(1000 / ms)} a second` : "");
const duration = ms => (ms < 1000 ? `${Math.round(ms)} ms` : `${(ms / 1000).toFixed(1)} s`);

function show(view, image) {
  const canvas = view === "main" ? $("picture") : $("base");
  [canvas.width, canvas.height] = [image.width, image.height];
  canvas.getContext("2d", { willReadFrequently: true }).putImageData(image, 0, 0); // only pixels go in
}

const views = {
  picture(view, { image, times, took }, { steps }) {
    show(view, image);
    notice("");
    if (view !== "main") return;
    if (!shown) $("veil").classList.add("gone");
    shown = true;
    $("save").disabled = false;
    const ms = times?.total ?? took;
    $("time").innerHTML = `<b>${duration(ms)}</b> · ${steps} ${steps === 1 ? "step" : "steps"}${steps === 1 ? rate(ms) : ""}`;
    document.body.dataset.pictures = Number(document.body.dataset.pictures ?? 0) + 1;
  },
  preview(view, image, step, steps) {
    if (info.width > 128) show(view, image); // what is quickly done need not be seen half done
    $("time").textContent = `step ${step} of ${steps} …`;
  },
  error: fail,
  idle() { document.body.dataset.rests = document.body.dataset.pictures ?? ""; },
};

function notice(text) {
  $("notice").textContent = text;
  $("notice").hidden = !text;
}

/** Something went wrong: what was asked for, while there is an engine, or the engine itself. */
function fail(error) {
  if (shown) return notice(error.message);
  failed("Nothing can be drawn", error.message, true);
}

function failed(title, text, again = false) {
  $("failure-title").textContent = title;
  $("failure-text").textContent = text;
  $("failure").hidden = false;
  $("retry").hidden = !again;
  $("engine").className = "engine failed";
  $("engine").textContent = "not drawing";
}

// ---- Starting

async function start(files = null) {
  $("failure").hidden = true;
  $("veil").classList.remove("gone");
  $("engine").className = "engine";
  $("engine").textContent = "";
  shown = false;
  live = null;
  engine?.close();
  try {
    // A server that serves the page need not have the WebAssembly.
    engine = served
      ? new (await import("./engine/server.js")).ServerEngine()
      : new (await import("./engine/local.js")).LocalEngine(files);
    info = await engine.start(progress);
  } catch (error) {
    const missing = error.message.startsWith("WebAssembly");
    return failed(missing ? "This browser is too old" : "The model could not be loaded", error.message, !missing);
  }
  ready();
}

function progress({ text, share }) {
  $("progress").textContent = text;
  if (share === undefined) $("loaded").removeAttribute("value");
  else $("loaded").value = share;
}

/** Fits the page to the model, and draws. */
function ready() {
  const { width, height, controlnets, instructions, name, recipe, defaults } = info;
  document.documentElement.style.setProperty("--shape", `${width} / ${height}`);
  document.documentElement.style.setProperty("--ratio", width / height);
  sketch.resize(width, height);
  if (photo) use(photo.source);
  const kind = { RelaxedSimd: "relaxed SIMD", Simd128: "SIMD" }[instructions];
  $("engine").textContent = `${name}, ${engine.place}`;
  if (kind) $("engine").append(Object.assign(document.createElement("small"), { textContent: `· ${kind}` }));
  $("engine").className = "engine ready";
  $("progress").textContent = "Drawing…";
  $("loaded").removeAttribute("value");
  settle(recipe, defaults);
  $("compare").hidden = !info.without_lora;
  available("scale", controlnets > 0);
  const demo = DEMO.includes(name);
  $("about").textContent = demo ? `The model that is here was made by the authors of hypersd. ${world}` : "";
  $("demo").hidden = demo;
  live = new Live(engine, request, views);
  changed({ moving: true });
}

/** Sliders as the recipe allows. */
function settle(recipe, defaults) {
  const [least, most] = recipe?.steps ?? [1, defaults ? 50 : 30];
  $("steps").min = least;
  $("steps").max = most;
  if (defaults?.steps) $("steps").value = defaults.steps;
  available("eta", recipe ? !!recipe.eta : true);
  outputs();
}

function available(id, is) {
  $(id).disabled = !is;
  $(id).closest(".setting").classList.toggle("unavailable", !is);
}

function outputs() {
  for (const output of document.querySelectorAll("output")) {
    const input = $(output.htmlFor.value);
    output.textContent = Number(input.step) < 1 ? Number(input.value).toFixed(2) : input.value;
  }
}

// ---- Photos

async function use(source) {
  try {
    photo = { source, image: cropped(source, info.width, info.height) };
    $("photo-settings").hidden = false;
    await edges();
  } catch (error) {
    notice(error.message);
  }
}

async function edges() {
  if (!photo) return;
  if (info.server) return changed();
  sketch.photo(await engine.edges(photo.image, ...thresholds()));
}

const thresholds = () => [number("low"), number("high")].sort((a, b) => a - b);

function forget() {
  photo = null;
  $("photo-settings").hidden = true;
  if (sketch.hasPhoto) sketch.photo(null);
  else changed();
}

// ---- What can be done

const press = (id, pressed) => $(id).setAttribute("aria-pressed", pressed);
const actions = {
  pen() { choose("pen"); },
  eraser() { choose("eraser"); },
  undo() { sketch.undo(); },
  clear() { sketch.clear(); },
  example() {
    sketch.clear();
    sketch.add(house);
  },
  photo() { $("photo-file").click(); },
  async camera() {
    const picture = await photographed({ booth: $("booth"), video: $("video"), shoot: $("shoot"), leave: $("leave") });
    if (picture) await use(picture);
  },
  forget,
  compare() {
    press("compare", !comparing());
    $("other").hidden = !comparing();
    $("wall").classList.toggle("beside", comparing());
    changed({ moving: false });
  },
  die() {
    $("seed").value = Math.floor(Math.random() * 1e6);
    changed({ moving: false });
  },
  surprise() {
    $("prompt").value = idea();
    changed();
  },
  async save() {
    const png = await engine.png(request("main", false));
    const link = document.createElement("a");
    link.href = URL.createObjectURL(png);
    link.download = `${$("prompt").value.replace(/[^\p{L}\p{N}]+/gu, "-").slice(0, 60) || "hypersd"}.png`;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  },
  retry() { start(); },
};

function choose(tool) {
  sketch.tool = tool;
  press("pen", tool === "pen");
  press("eraser", tool === "eraser");
}

for (const [id, act] of Object.entries(actions)) {
  $(id).addEventListener("click", async () => {
    try { await act(); } catch (error) { notice(error.message); }
  });
}

for (const id of ["prompt", "steps", "scale", "eta", "seed", "level"]) {
  $(id).addEventListener("input", () => {
    outputs();
    changed();
  });
}
for (const id of ["low", "high"]) {
  $(id).addEventListener("input", () => {
    outputs();
    edges().catch(error => notice(error.message));
  });
}
$("words").addEventListener("submit", event => event.preventDefault());
$("photo-file").addEventListener("change", async ({ target }) => {
  const [file] = target.files;
  target.value = "";
  if (file) await opened(file).then(use).catch(error => notice(error.message));
});
received(file => opened(file).then(use).catch(error => notice(error.message)));

const keys = { p: "pen", e: "eraser", d: "die", s: "save" };
addEventListener("keydown", event => {
  if (event.target.matches("input:not([type=range]), select")) return;
  const undo = event.key === "z" && (event.ctrlKey || event.metaKey);
  const id = undo ? "undo" : !event.ctrlKey && !event.metaKey && !event.altKey && keys[event.key];
  if (!id || $(id).disabled) return;
  event.preventDefault();
  $(id).click();
});

$("files").addEventListener("submit", event => {
  event.preventDefault();
  const file = id => $(id).files[0];
  const folder = [...$("model-folder").files];
  const model = file("model-file");
  if (!model && !folder.length) return notice("Choose a model: one file, or a folder as diffusers has them.");
  notice("");
  start({ model, folder, lora: file("lora-file"), controlnet: file("controlnet-file"), recipe: $("recipe").value });
});
$("files").addEventListener("reset", () => start());

$("model").hidden = served;
outputs();
start();

// The worker of local.js: all that computes. A picture is drawn a step at a time, with a look at the messages between two steps.
import { demoFiles, load } from "../hypersd/index.js";

let hypersd; // the WebAssembly's exports
let pipeline;
let plain; // the demo without its LoRA, loaded when it is first asked for
let demo; // the demo's files, while it is open
const cancelled = new Set();

const calls = { start, draw, edges, png };

self.onmessage = async ({ data: { id, type, ...body } }) => {
  if (type === "cancel") return void cancelled.add(id);
  try {
    const result = await calls[type](body, (type, data, transfer) => self.postMessage({ id, type, ...data }, transfer ?? []), id);
    const buffer = result?.rgba?.buffer ?? result?.buffer;
    self.postMessage({ id, type: "done", result }, buffer ? [buffer] : []);
  } catch (error) {
    // WebAssembly that has trapped cannot be gone on with: out of memory, mostly.
    const broken = error instanceof WebAssembly.RuntimeError;
    const message = broken ? `the page ran out of memory, or hypersd has a bug (${error.message})` : error.message ?? String(error);
    self.postMessage({ id, type: broken ? "broken" : "failed", message });
  } finally {
    cancelled.delete(id);
  }
};

async function start({ files, build }, tell) {
  const part = text => share => tell("progress", { text, share });
  if (files) {
    hypersd = await load({ build });
    part("Reading the model…")();
    return { ...open(files), instructions: hypersd.instructionSet() };
  }
  const progress = part("Loading the model…");
  [hypersd, demo] = await Promise.all([load({ build }), demoFiles(progress)]);
  pipeline = openDemo([{ path: "hyper-lora.safetensors" }]);
  return { ...pipeline.info(), name: "demo model", instructions: hypersd.instructionSet(), without_lora: true };
}

function openDemo(loras) {
  const files = new hypersd.Files("demo");
  for (const [path, bytes] of demo) files.addBytes(path, bytes);
  return hypersd.Pipeline.open(files, { loras, controlnets: ["controlnet"], recipe: "hyper-sd15-unified" });
}

/** Opens what the user picked. */
function open({ model, folder, lora, controlnet, recipe }) {
  const files = new hypersd.Files("");
  const options = { dtype: "f16", lowMemory: true };
  if (model) {
    options.model = model.name;
    files.addBlob(model.name, model);
  } else {
    for (const file of folder) files.addBlob(file.webkitRelativePath, file);
    options.model = folder[0].webkitRelativePath.split("/")[0];
    if (folder.some(file => file.name.endsWith(".fp16.safetensors"))) options.variant = "fp16";
  }
  if (lora) {
    files.addBlob(`lora/${lora.name}`, lora);
    options.loras = [{ path: `lora/${lora.name}` }];
  }
  if (controlnet) {
    files.addBlob(`controlnet/${controlnet.name}`, controlnet);
    options.controlnets = [`controlnet/${controlnet.name}`];
  }
  if (recipe) options.recipe = recipe;
  pipeline = hypersd.Pipeline.open(files, options);
  return { ...pipeline.info(), name: options.model };
}

async function draw({ request, preview }, tell, id) {
  const began = performance.now();
  const denoising = begin(request);
  try {
    for (let step; (step = denoising.step()); step.free()) {
      if (step.step === step.steps) break;
      if (preview) {
        const picture = pixels(step.preview());
        tell("preview", { picture, step: step.step, steps: step.steps }, [picture.rgba.buffer]);
      }
      await messages();
      if (cancelled.has(id)) return null;
    }
    const steps = performance.now();
    const picture = pixels(denoising.picture());
    return { ...picture, times: { decode: performance.now() - steps, total: performance.now() - began } };
  } finally {
    denoising.free();
  }
}

function begin({ lora = true, ...request }) {
  if (lora) return pipeline.denoise(request);
  if (!demo) throw new Error("only the demo model is drawn with and without its LoRA");
  plain ??= openDemo([]);
  return plain.denoise(request);
}

function edges({ image, low, high }) {
  return pixels(hypersd.edges(image, low, high));
}

function png({ request }) {
  const picture = pipeline.draw(request);
  try {
    return picture.png();
  } finally {
    picture.free();
  }
}

/** The pixels of a picture, which is freed. */
function pixels(picture) {
  const { width, height } = picture;
  const rgba = picture.rgba();
  picture.free();
  return { width, height, rgba };
}

/** Lets the messages be heard that have come meanwhile: a timer would wait for 4 ms. */
const { port1, port2 } = new MessageChannel();
const messages = () => new Promise(heard => {
  port1.onmessage = heard;
  port2.postMessage(null);
});

// Draws in this page: a worker with the WebAssembly. Both engines are used alike:
//
//   const engine = new LocalEngine();
//   const info = await engine.start(progress => …);        // { name, width, height, controlnets, … }
//   const drawn = await engine.draw(request, { signal, onPreview });   // { image, times }, or null when the signal stopped it
//   const edges = await engine.edges(image, low, high);     // an ImageData
//   const png = await engine.png(request);                  // a Blob, with the settings in it
//
// A request is that of docs/server.md, with an ImageData wherever there is a picture. Errors are thrown, and say what to do.
import { builds } from "../hypersd/index.js";

export class LocalEngine {
  #worker;
  #calls = new Map();
  #last = 0;
  #files;

  /** `files`: what to open instead of the demo model, `{ model, folder, lora, controlnet, recipe }` of Files. */
  constructor(files = null) {
    this.#files = files;
    this.#spawn();
  }

  get place() { return "in this page"; }

  start(progress = () => {}) {
    return this.#call("start", { files: this.#files, build: builds()[0] ?? null }, { progress });
  }

  async draw(request, { signal, onPreview } = {}) {
    const drawn = await this.#call("draw", { request, preview: !!onPreview }, { preview: onPreview, signal });
    return drawn && { image: imageOf(drawn), times: drawn.times };
  }

  async edges(image, low, high) {
    return imageOf(await this.#call("edges", { image, low, high }));
  }

  async png(request) {
    return new Blob([await this.#call("png", { request })], { type: "image/png" });
  }

  close() {
    this.#worker.terminate();
    this.#failAll(new Error("the engine was closed"));
  }

  #spawn() {
    this.#worker = new Worker(new URL("worker.js", import.meta.url), { type: "module" });
    this.#worker.onmessage = ({ data }) => this.#receive(data);
    this.#worker.onerror = event => {
      event.preventDefault();
      this.#failAll(new Error(event.message || "the worker could not be started"));
    };
  }

  #call(type, body, { progress, preview, signal } = {}) {
    const id = ++this.#last;
    return new Promise((resolve, reject) => {
      this.#calls.set(id, { resolve, reject, progress, preview });
      this.#worker.postMessage({ id, type, ...body });
      signal?.addEventListener("abort", () => this.#worker.postMessage({ id, type: "cancel" }), { once: true });
    });
  }

  #receive({ id, type, ...data }) {
    const call = this.#calls.get(id);
    if (!call) return;
    if (type === "progress") return call.progress?.(data);
    if (type === "preview") return call.preview?.(imageOf(data.picture), data.step, data.steps);
    this.#calls.delete(id);
    if (type === "done") call.resolve(data.result);
    else call.reject(new Error(data.message));
    if (type === "broken") this.#failAll(new Error(data.message));
  }

  #failAll(error) {
    for (const { reject } of this.#calls.values()) reject(error);
    this.#calls.clear();
  }
}

const imageOf = ({ rgba, width, height }) => new ImageData(rgba, width, height);

// Draws on the server that this page came from, by the protocol of docs/server.md. It is used as local.js is, but
// that it has no `edges`: a request says `canny` instead.
export class ServerEngine {
  #socket;
  #ready;
  #asked = Promise.resolve();
  #ask;
  #calls = new Map();
  #last = 0;

  get place() { return `on ${location.host}`; }

  start() {
    return new Promise((resolve, reject) => {
      this.#ready = { resolve, reject };
      this.#connect();
    });
  }

  async draw(request, { signal, onPreview } = {}) {
    const { header, pixels } = await this.#draw({ ...request, encoding: "rgba", preview: !!onPreview }, onPreview, signal);
    return header && { image: imageOf(header, pixels), times: header.times };
  }

  async png(request) {
    const { header, pixels } = await this.#draw({ ...request, encoding: "png" });
    if (!header) throw new Error("a newer picture came first; try again");
    return new Blob([pixels], { type: "image/png" });
  }

  close() {
    this.#socket.onclose = null;
    this.#socket.close();
    this.#failAll("the connection was closed");
  }

  #connect() {
    const url = new URL("live", location.href);
    url.protocol = url.protocol.replace("http", "ws");
    const token = new URLSearchParams(location.hash.slice(1)).get("token");
    url.hash = "";
    this.#socket = new WebSocket(url, ["hypersd.live.1", ...(token ? [`bearer.${token}`] : [])]);
    this.#socket.binaryType = "arraybuffer";
    this.#socket.onmessage = ({ data }) => this.#receive(...read(data));
    this.#socket.onclose = ({ code, reason }) => {
      const why = reason || (code === 1001 ? "the server is going down" : "the connection to the server was lost");
      this.#ready.reject(new Error(why));
      this.#failAll(why);
    };
    this.#wait();
  }

  /** The server asks for each frame; none is sent before. */
  #wait() {
    this.#asked = new Promise(asked => (this.#ask = asked));
  }

  async #draw(request, preview, signal) {
    await this.#asked;
    if (signal?.aborted) return {};
    this.#wait();
    const id = ++this.#last;
    const answered = new Promise((resolve, reject) => this.#calls.set(id, { resolve, reject, preview }));
    this.#socket.send(written({ type: "draw", id, ...request }));
    signal?.addEventListener("abort", () => this.#calls.has(id) && this.#socket.send('{"type":"cancel"}'), { once: true });
    return answered;
  }

  #receive(header, pixels) {
    const { type, id, error } = header;
    const call = this.#calls.get(id);
    if (type === "ready") {
      const { model: name, width, height, controlnets, defaults, without_lora } = header;
      this.#ready.resolve({ name, width, height, controlnets: controlnets ?? 0, defaults, without_lora, server: true });
    } else if (type === "next") {
      this.#ask();
    } else if (type === "preview") {
      call?.preview?.(imageOf(header, pixels), header.step, header.steps);
    } else if (type === "picture") {
      this.#calls.delete(id);
      call?.resolve({ header, pixels });
    } else if (type === "skipped") {
      this.#calls.delete(id);
      call?.resolve({});
    } else if (type === "error") {
      this.#calls.delete(id);
      if (call) call.reject(new Error(error.message));
      else this.#failAll(error.message);
    }
  }

  #failAll(message) {
    for (const { reject } of this.#calls.values()) reject(new Error(message));
    this.#calls.clear();
  }
}

/** A message: JSON, and after it, where there are pictures in it, their bytes. */
function written(message) {
  const parts = [];
  const part = ({ width, height, data }) => ({ part: parts.push(data) - 1, encoding: "rgba", width, height });
  const { image, mask, control } = message;
  const header = {
    ...message,
    ...(image && { image: part(image) }),
    ...(mask && { mask: part(mask) }),
    ...(control && { control: { ...control, ...part(control.image), image: undefined } }),
  };
  if (!parts.length) return JSON.stringify(header);
  const json = new TextEncoder().encode(JSON.stringify({ ...header, parts: parts.map(({ byteLength: bytes }) => ({ bytes })) }));
  const length = new Uint8Array(4);
  new DataView(length.buffer).setUint32(0, json.length, true);
  return new Blob([length, json, ...parts]);
}

/** The JSON of a message, and the bytes after it. */
function read(data) {
  if (typeof data === "string") return [JSON.parse(data)];
  const length = new DataView(data).getUint32(0, true);
  const json = new TextDecoder().decode(new Uint8Array(data, 4, length));
  return [JSON.parse(json), new Uint8ClampedArray(data, 4 + length)];
}

const imageOf = ({ width, height }, rgba) => new ImageData(rgba, width, height);

// The drawing surface: what is done on it is kept as a list, so that everything can be undone and drawn at any size. The
// ControlNet is shown white lines, a pixel wide, on black; people see them smooth.

/** Width of a line, in pixels of the picture. */
const PEN = 1.35;
const ERASER = 9;
/** Brightness from which a pixel of a line counts as one. */
const LINE = 110;

export class Sketch {
  tool = "pen";
  #canvas;
  #changed;
  #size = [128, 128]; // of the picture
  #done = []; // strokes { tool, points } and photos { edges: canvas }
  #stroke = null;
  #cursor = [0.5, 0.5]; // of the keyboard

  /** `changed(drawing)` is called after every change; `drawing` is true while the pen is down. */
  constructor(canvas, changed) {
    this.#canvas = canvas;
    this.#changed = changed;
    canvas.addEventListener("pointerdown", event => this.#down(event));
    canvas.addEventListener("pointermove", event => this.#move(event));
    for (const end of ["pointerup", "pointercancel"]) canvas.addEventListener(end, () => this.#up());
    canvas.addEventListener("keydown", event => this.#key(event));
    canvas.addEventListener("blur", () => this.#up());
    new ResizeObserver(() => this.#fit()).observe(canvas);
  }

  get empty() { return this.#done.length === 0; }
  get drawing() { return this.#stroke !== null; }

  resize(width, height) {
    this.#size = [width, height];
    this.#fit();
  }

  undo() {
    this.#done.pop();
    this.#redraw();
  }

  clear() {
    this.#done = [];
    this.#redraw();
  }

  /** Lines to try, as lists of points from 0 to 1. */
  add(lines) {
    for (const points of lines) this.#done.push({ tool: "pen", points });
    this.#redraw();
  }

  /** The edges of a photo, beneath what is drawn over them; null takes them away. */
  photo(edges) {
    const at = this.#done.findIndex(({ edges }) => edges);
    const photo = edges && { edges: transparent(edges) };
    if (at >= 0) this.#done.splice(at, 1, ...(photo ? [photo] : []));
    else if (photo) this.#done.push(photo);
    this.#redraw();
  }

  get hasPhoto() { return this.#done.some(({ edges }) => edges); }

  /** The lines as the ControlNet is shown them; null where there are none. */
  lines() {
    const [width, height] = this.#size;
    const context = new OffscreenCanvas(width, height).getContext("2d", { willReadFrequently: true });
    for (const action of this.#all()) paint(context, action, width, height, 1);
    const image = context.getImageData(0, 0, width, height);
    let some = false;
    for (let i = 0; i < image.data.length; i += 4) {
      const line = image.data[i + 3] >= LINE;
      some ||= line;
      image.data.fill(line ? 255 : 0, i, i + 3);
      image.data[i + 3] = 255;
    }
    return some ? image : null;
  }

  #all() {
    return this.#stroke ? [...this.#done, this.#stroke] : this.#done;
  }

  /** The bitmap is as fine as the screen. */
  #fit() {
    const { clientWidth, clientHeight } = this.#canvas;
    if (!clientWidth) return;
    this.#canvas.width = Math.round(clientWidth * devicePixelRatio);
    this.#canvas.height = Math.round(clientHeight * devicePixelRatio);
    this.#show();
  }

  #redraw() {
    this.#show();
    this.#changed(false);
  }

  #show() {
    const { width, height } = this.#canvas;
    const context = this.#canvas.getContext("2d");
    context.clearRect(0, 0, width, height);
    for (const action of this.#all()) paint(context, action, width, height, width / this.#size[0]);
    if (this.#canvas.matches(":focus-visible")) this.#showCursor(context, width, height);
  }

  #showCursor(context, width, height) {
    const [x, y] = [this.#cursor[0] * width, this.#cursor[1] * height];
    context.strokeStyle = "#c33fe0";
    context.lineWidth = 2 * devicePixelRatio;
    context.beginPath();
    context.arc(x, y, (this.#stroke ? 3 : 7) * devicePixelRatio, 0, 7);
    context.stroke();
  }

  #at({ clientX, clientY }) {
    const { left, top, width, height } = this.#canvas.getBoundingClientRect();
    return [(clientX - left) / width, (clientY - top) / height];
  }

  #down(event) {
    if (event.button !== 0) return;
    this.#canvas.setPointerCapture(event.pointerId);
    const tool = event.pointerType === "pen" && event.buttons & 32 ? "eraser" : this.tool;
    this.#begin(tool, this.#at(event));
  }

  #move(event) {
    if (!this.#stroke || !this.#canvas.hasPointerCapture(event.pointerId)) return;
    const events = event.getCoalescedEvents?.() ?? [];
    for (const each of events.length ? events : [event]) this.#stroke.points.push(this.#at(each));
    this.#show();
    this.#changed(true);
  }

  #begin(tool, point) {
    this.#stroke = { tool, points: [point] };
    this.#show();
    this.#changed(true);
  }

  #up() {
    if (!this.#stroke) return;
    this.#done.push(this.#stroke);
    this.#stroke = null;
    this.#redraw();
  }

  #key(event) {
    const direction = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
    if (event.key === " ") {
      event.preventDefault();
      if (this.#stroke) this.#up();
      else this.#begin(this.tool, [...this.#cursor]);
    } else if (direction && !event.ctrlKey && !event.metaKey) {
      event.preventDefault();
      const step = event.shiftKey ? 0.06 : 0.012;
      this.#cursor = this.#cursor.map((at, axis) => Math.min(1, Math.max(0, at + step * direction[axis])));
      this.#stroke?.points.push([...this.#cursor]);
      this.#show();
      if (this.#stroke) this.#changed(true);
    }
  }
}

/** Paints a stroke or a photo's edges; `scale` is how many pixels stand for one of the picture. */
function paint(context, { tool, points, edges }, width, height, scale) {
  context.globalCompositeOperation = tool === "eraser" ? "destination-out" : "source-over";
  if (edges) {
    context.imageSmoothingEnabled = false;
    context.drawImage(edges, 0, 0, width, height);
    return;
  }
  context.strokeStyle = "#fff";
  context.lineCap = context.lineJoin = "round";
  context.lineWidth = scale * (tool === "eraser" ? ERASER : PEN);
  context.beginPath();
  const [x, y] = points[0];
  context.moveTo(x * width, y * height);
  // Through the middles between points, which rounds the corners of a fast hand.
  for (let i = 1; i < points.length - 1; i++) {
    const [[x0, y0], [x1, y1]] = [points[i], points[i + 1]];
    context.quadraticCurveTo(x0 * width, y0 * height, ((x0 + x1) / 2) * width, ((y0 + y1) / 2) * height);
  }
  const [xn, yn] = points.at(-1);
  context.lineTo(xn * width + (points.length === 1 ? 0.01 : 0), yn * height);
  context.stroke();
}

/** White edges on black as white on nothing. */
function transparent(image) {
  const canvas = new OffscreenCanvas(image.width, image.height);
  const pixels = new ImageData(new Uint8ClampedArray(image.data), image.width, image.height);
  for (let i = 0; i < pixels.data.length; i += 4) pixels.data[i + 3] = pixels.data[i];
  canvas.getContext("2d").putImageData(pixels, 0, 0);
  return canvas;
}

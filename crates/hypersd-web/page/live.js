// Keeps pictures up to date with what is asked for: one request at a time, and of those that came meanwhile only the last.
// While something moves a picture is drawn in one step, and when it rests with all of them.

/** Milliseconds after which what does not change rests. */
const REST = 220;

export class Live {
  #engine;
  #request; // (view, quick) => the request for a view now, or null for none
  #shown; // { picture(view, drawn, quick), preview(view, image, step, steps), error(error), idle() }
  #views = [{ name: "main", drawn: null, at: 0 }, { name: "base", drawn: null, at: 0 }];
  #version = 0;
  #changedAt = 0;
  #timer;
  #stop; // of the drawing that goes on, where it takes long
  #running = false;

  constructor(engine, request, shown) {
    this.#engine = engine;
    this.#request = request;
    this.#shown = shown;
  }

  /** Something changed; `moving` for what will change again at once. */
  change({ moving = true } = {}) {
    this.#version++;
    this.#changedAt = moving ? performance.now() : 0;
    this.#stop?.abort();
    this.#run();
  }

  get #resting() { return performance.now() - this.#changedAt >= REST; }

  /** The view that is out of date, and longest so. */
  #due() {
    const quick = !this.#resting;
    const wanted = this.#views.flatMap(view => {
      const request = this.#request(view.name, quick);
      if (!request) return [];
      const what = `${this.#version}/${request.steps}`;
      return view.drawn === what ? [] : [{ view, request, what, quick }];
    });
    return wanted.sort((a, b) => a.view.at - b.view.at)[0];
  }

  async #run() {
    if (this.#running) return;
    this.#running = true;
    for (let due; (due = this.#due()); ) await this.#draw(due);
    this.#running = false;
    clearTimeout(this.#timer);
    if (this.#resting) this.#shown.idle();
    else this.#timer = setTimeout(() => this.#run(), REST);
  }

  async #draw({ view, request, what, quick }) {
    // A picture of one step is finished, so that there is always one while somebody draws.
    this.#stop = quick ? null : new AbortController();
    const began = performance.now();
    try {
      const onPreview = request.steps > 1
        ? (image, step, steps) => this.#shown.preview(view.name, image, step, steps)
        : undefined;
      const drawn = await this.#engine.draw(request, { signal: this.#stop?.signal, onPreview });
      view.at = began;
      if (!drawn) return;
      view.drawn = what;
      this.#shown.picture(view.name, { ...drawn, took: performance.now() - began }, request);
    } catch (error) {
      view.drawn = what; // it would fail again
      view.at = began;
      this.#shown.error(error);
    } finally {
      this.#stop = null;
    }
  }
}

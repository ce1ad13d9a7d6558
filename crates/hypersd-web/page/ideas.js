// The small world that the demo model knows, and a drawing to try.
const things = ["cat", "bird", "paradise bird", "fish", "house", "tree", "boat", "cookie", "flower", "star", "mushroom", "balloon"];
const colours = ["red", "orange", "yellow", "green", "blue", "purple", "pink", "white", "brown"];
const places = ["in the meadow", "in the jungle", "on the beach", "in the snow", "in the desert"];
const times = ["by day", "at sunset", "at night"];

export const world = `It knows a small world: ${list(things)}, in nine colours, ${list(places)}, ${list(times)}.`;

/** A prompt that the demo model can draw. */
export function idea() {
  const [thing, colour, place, time] = [things, colours, places, times].map(words => words[Math.floor(Math.random() * words.length)]);
  return `${/^[aeiou]/.test(colour) ? "an" : "a"} ${colour} ${thing} ${place} ${time}`;
}

/** A house with a tree, in lines of points from 0 to 1. */
export const house = [
  [[0.02, 0.78], [0.24, 0.77]], [[0.74, 0.77], [0.98, 0.78]],
  [[0.25, 0.50], [0.25, 0.84], [0.73, 0.84], [0.73, 0.50]].flatMap(corner),
  [[0.17, 0.51], [0.49, 0.24], [0.81, 0.51], [0.17, 0.51]].flatMap(corner),
  [[0.33, 0.36], [0.33, 0.22], [0.40, 0.22], [0.40, 0.31]].flatMap(corner),
  [[0.44, 0.84], [0.44, 0.64], [0.54, 0.64], [0.54, 0.84]].flatMap(corner),
  [[0.31, 0.58], [0.39, 0.58], [0.39, 0.68], [0.31, 0.68], [0.31, 0.58]].flatMap(corner),
  [[0.60, 0.58], [0.68, 0.58], [0.68, 0.68], [0.60, 0.68], [0.60, 0.58]].flatMap(corner),
  circle(0.84, 0.16, 0.075),
];

/** A corner stays one: a line is rounded between points. */
function corner(point) { return [point, point, point]; }

function circle(x, y, r) {
  return Array.from({ length: 33 }, (_, i) => [x + r * Math.cos((i * Math.PI) / 16), y + r * Math.sin((i * Math.PI) / 16)]);
}

function list(words) { return `${words.slice(0, -1).join(", ")} and ${words.at(-1)}`; }

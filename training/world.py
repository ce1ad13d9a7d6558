"""A drawn world: things in colours, in places, at times of the day, as Pillow draws them.

A picture is a `Scene`; `draw` renders it at 128x128, anti-aliased by drawing it four times as large. Everything that a
caption can ask for (`captions.py`) is a field of a scene; what it cannot (position, size within bounds, leaves and
stars of the background) is drawn at random from the generator that `draw` is given.
"""

import math
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

SIZE = 128
OVERSAMPLING = 4

COLOURS = {
    "red": (214, 40, 44),
    "orange": (245, 130, 32),
    "yellow": (250, 208, 52),
    "green": (58, 168, 76),
    "blue": (38, 98, 220),
    "purple": (132, 58, 184),
    "pink": (250, 140, 186),
    "brown": (118, 70, 40),
    "white": (244, 244, 240),
}
PLACES = ("meadow", "jungle", "beach", "snow", "desert")
TIMES = ("day", "sunset", "night")
BLACK, WHITE = (30, 26, 30), (250, 250, 250)


@dataclass(frozen=True)
class Thing:
    """A thing of a colour; `size` is its half height in shares of the picture's width."""

    name: str
    colour: str
    size: float = 0.3


@dataclass(frozen=True)
class Scene:
    """One thing in the middle, or two side by side."""

    things: tuple[Thing, ...]
    place: str
    time: str


def mix(a, b, share):
    """`share` of `b` in `a`."""
    return tuple(round(x + (y - x) * share) for x, y in zip(a, b))


def curve(points, closed=True, steps=8):
    """A smooth line through points (Catmull-Rom)."""
    p = np.asarray(points, float)
    q = np.concatenate([p[-1:], p, p[:2]]) if closed else np.concatenate([p[:1], p, p[-1:]])
    t = np.linspace(0, 1, steps, endpoint=False)[:, None]
    spans = []
    for a, b, c, d in zip(q, q[1:], q[2:], q[3:]):
        spans.append(0.5 * (2 * b + (c - a) * t + (2 * a - 5 * b + 4 * c - d) * t**2 + (3 * b - a - 3 * c + d) * t**3))
    return np.concatenate(spans + ([] if closed else [p[-1:]]))


class Pen:
    """Draws in a frame of its own: `x` to the right and `y` downwards, the thing between -1 and 1."""

    def __init__(self, canvas, x, y, scale, flip=False, light=1.0):
        self.canvas, self.at, self.scale, self.flip, self.light = canvas, np.array([x, y]), scale, flip, light

    def place(self, points):
        points = np.atleast_2d(np.asarray(points, float)) * (-1 if self.flip else 1, 1)
        return [tuple(p) for p in (points * self.scale + self.at) * SIZE * OVERSAMPLING]

    def colour(self, colour):
        return tuple(round(channel * self.light) for channel in colour)

    def polygon(self, points, fill):
        self.canvas.polygon(self.place(points), fill=self.colour(fill))

    def blob(self, points, fill):
        self.polygon(curve(points), fill)

    def ellipse(self, x, y, rx, ry, fill, turn=0.0):
        angle = np.linspace(0, 2 * math.pi, 40, endpoint=False)
        px, py = rx * np.cos(angle), ry * np.sin(angle)
        c, s = math.cos(turn), math.sin(turn)
        self.polygon(np.stack([x + c * px - s * py, y + s * px + c * py], 1), fill)

    def line(self, points, width, fill, smooth=True):
        points = curve(points, closed=False) if smooth and len(points) > 2 else points
        placed, r = self.place(points), width * self.scale * SIZE * OVERSAMPLING / 2
        fill = self.colour(fill)
        self.canvas.line(placed, fill=fill, width=max(1, round(2 * r)), joint="curve")
        for x, y in (placed[0], placed[-1]):
            self.canvas.ellipse((x - r, y - r, x + r, y + r), fill=fill)


def cat(pen, c, rng):
    dark, pale = mix(c, BLACK, 0.3), mix(c, WHITE, 0.55)
    pen.line([(0.45, 0.8), (0.85, 0.75), (0.9, 0.3), (0.72, 0.0)], 0.17, dark)
    pen.blob([(0, -0.15), (0.36, 0.1), (0.55, 0.6), (0.45, 0.97), (-0.45, 0.97), (-0.55, 0.6), (-0.36, 0.1)], c)
    pen.ellipse(0, 0.6, 0.24, 0.36, pale)
    for side in (-1, 1):
        pen.polygon([(side * 0.56, -1.0), (side * 0.52, -0.38), (side * 0.12, -0.68)], c)
        pen.polygon([(side * 0.49, -0.84), (side * 0.44, -0.52), (side * 0.25, -0.66)], mix(c, (255, 150, 160), 0.6))
        pen.ellipse(side * 0.25, 0.93, 0.18, 0.1, pale)
    pen.ellipse(0, -0.35, 0.56, 0.46, c)
    pen.ellipse(0, -0.16, 0.26, 0.2, pale)
    for side in (-1, 1):
        pen.ellipse(side * 0.23, -0.42, 0.13, 0.15, WHITE)
        pen.ellipse(side * 0.22, -0.41, 0.075, 0.125, BLACK)
        for y in (-0.2, -0.1):
            pen.line([(side * 0.22, -0.14), (side * 0.66, y - 0.02)], 0.03, dark)
    pen.polygon([(-0.08, -0.24), (0.08, -0.24), (0, -0.14)], (220, 90, 110))


def songbird(pen, c):
    dark = mix(c, BLACK, 0.3)
    pen.blob([(0.15, -0.25), (0.05, 0.3), (-0.35, 0.42), (-0.55, 0.1), (-0.4, -0.3), (-0.1, -0.42)], c)
    pen.ellipse(-0.4, -0.4, 0.3, 0.28, c)
    pen.polygon([(-0.62, -0.5), (-0.62, -0.28), (-0.95, -0.36)], (255, 170, 40))
    pen.ellipse(-0.28, 0.2, 0.2, 0.2, mix(c, WHITE, 0.5))
    pen.ellipse(-0.48, -0.45, 0.09, 0.1, WHITE)
    pen.ellipse(-0.5, -0.45, 0.055, 0.065, BLACK)
    pen.blob([(-0.2, -0.22), (0.35, -0.1), (0.5, 0.1), (0.1, 0.22), (-0.18, 0.1)], dark)


def bird(pen, c, rng):
    for x in (-0.25, -0.05):
        pen.line([(x, 0.3), (x - 0.03, 0.72), (x - 0.16, 0.78)], 0.05, (230, 140, 40), smooth=False)
    pen.polygon([(0.05, -0.1), (0.9, 0.0), (0.84, 0.22), (0.05, 0.25)], mix(c, BLACK, 0.3))
    songbird(pen, c)


def paradise_bird(pen, c, rng):
    pale, gold = mix(c, WHITE, 0.45), (250, 200, 60)
    for end, colour in (((0.98, -0.45), c), ((1.0, 0.1), pale), ((0.9, 0.6), c), ((0.5, 0.95), pale)):
        x, y = end
        pen.line([(-0.1, 0.05), (0.45 * x + 0.1, 0.3 * y - 0.1), end], 0.1, colour)
        pen.ellipse(x * 0.95, y * 0.95, 0.12, 0.12, gold)
        pen.ellipse(x * 0.95, y * 0.95, 0.06, 0.06, mix(c, BLACK, 0.3))
    for x in (-0.55, -0.4, -0.25):
        pen.line([(-0.4, -0.55), (x, -0.95)], 0.05, gold)
    pen.line([(-0.9, 0.52), (0.35, 0.6)], 0.09, (110, 76, 44))
    songbird(pen, c)


def fish(pen, c, rng):
    dark, pale = mix(c, BLACK, 0.28), mix(c, WHITE, 0.5)
    pen.polygon([(0.45, 0.0), (0.98, -0.5), (0.82, 0.0), (0.98, 0.5)], dark)
    pen.blob([(-0.15, -0.4), (0.1, -0.72), (0.4, -0.5), (0.35, -0.2)], dark)
    pen.blob([(-0.1, 0.35), (0.1, 0.62), (0.25, 0.3)], dark)
    pen.blob([(-0.92, 0.02), (-0.55, -0.38), (0.05, -0.46), (0.6, 0.0), (0.05, 0.46), (-0.55, 0.4)], c)
    for x in (-0.1, 0.2):
        pen.line([(x, -0.3), (x + 0.09, 0.0), (x, 0.3)], 0.08, pale)
    pen.ellipse(-0.55, -0.1, 0.14, 0.14, WHITE)
    pen.ellipse(-0.58, -0.1, 0.075, 0.085, BLACK)
    pen.line([(-0.85, 0.14), (-0.68, 0.2)], 0.05, dark)


def house(pen, c, rng):
    roof = mix(c, BLACK, 0.5)
    pen.polygon([(0.4, -0.9), (0.62, -0.9), (0.62, -0.2), (0.4, -0.2)], (130, 90, 80))
    pen.polygon([(-0.75, -0.2), (0.75, -0.2), (0.75, 0.97), (-0.75, 0.97)], c)
    pen.polygon([(-1.0, -0.15), (0, -0.95), (1.0, -0.15)], roof)
    pen.polygon([(-0.18, 0.3), (0.18, 0.3), (0.18, 0.97), (-0.18, 0.97)], (96, 60, 40))
    pen.ellipse(0.1, 0.66, 0.04, 0.04, (250, 210, 90))
    for x in (-0.48, 0.48):
        pen.polygon([(x - 0.17, 0.05), (x + 0.17, 0.05), (x + 0.17, 0.42), (x - 0.17, 0.42)], WHITE)
        pen.polygon([(x - 0.12, 0.1), (x + 0.12, 0.1), (x + 0.12, 0.37), (x - 0.12, 0.37)], (255, 226, 130))
        pen.line([(x, 0.08), (x, 0.4)], 0.045, WHITE)


def tree(pen, c, rng):
    dark, pale = mix(c, BLACK, 0.25), mix(c, WHITE, 0.3)
    pen.polygon([(-0.14, 0.1), (0.14, 0.1), (0.22, 0.97), (-0.22, 0.97)], (104, 70, 42))
    for x, y, r in ((-0.42, -0.05, 0.4), (0.42, -0.05, 0.4), (0, -0.5, 0.48)):
        pen.ellipse(x, y + 0.05, r, r, dark)
    for x, y, r in ((-0.42, -0.1, 0.36), (0.42, -0.1, 0.36), (0, -0.3, 0.42), (0, -0.55, 0.42)):
        pen.ellipse(x, y, r, r, c)
    for x, y in ((-0.5, -0.2), (-0.12, -0.7), (0.3, -0.2)):
        pen.ellipse(x, y, 0.14, 0.1, pale)


def boat(pen, c, rng):
    pen.line([(0.05, 0.4), (0.05, -0.98)], 0.07, (110, 78, 50))
    pen.polygon([(0.0, -0.9), (0.0, 0.3), (-0.75, 0.3)], WHITE)
    pen.polygon([(0.12, -0.75), (0.12, 0.3), (0.72, 0.3)], mix(c, WHITE, 0.5))
    pen.blob([(-0.95, 0.42), (-0.3, 0.42), (0.4, 0.42), (0.98, 0.4), (0.66, 0.88), (0, 0.95), (-0.62, 0.88)], c)
    pen.line([(-0.8, 0.58), (0.82, 0.58)], 0.07, WHITE)


def cookie(pen, c, rng):
    dark = mix(c, BLACK, 0.5)
    pen.ellipse(0.0, 0.06, 0.9, 0.88, mix(c, BLACK, 0.25))
    pen.ellipse(0.0, 0.0, 0.88, 0.86, c)
    pen.ellipse(-0.15, -0.2, 0.52, 0.46, mix(c, WHITE, 0.14))
    turn = rng.uniform(0, 1)
    for i, r in enumerate((0.6, 0.62, 0.58, 0.6, 0.62, 0.2, 0.28)):
        a = 2 * math.pi * (i / 5 if i < 5 else i / 2) + turn
        pen.ellipse(r * math.cos(a), r * math.sin(a), 0.13, 0.11, dark, a)


def flower(pen, c, rng):
    green = (48, 140, 60)
    pen.line([(0.0, -0.2), (0.05, 0.4), (0, 0.97)], 0.1, green)
    pen.blob([(0.03, 0.72), (0.35, 0.4), (0.62, 0.42), (0.4, 0.72)], green)
    pen.blob([(0.03, 0.82), (-0.3, 0.52), (-0.58, 0.56), (-0.36, 0.82)], green)
    turn = rng.uniform(0, 1)
    for fill, grow in ((mix(c, BLACK, 0.25), 1.1), (c, 0.95)):
        for i in range(6):
            a = 2 * math.pi * i / 6 + turn
            pen.ellipse(0.4 * math.cos(a), -0.4 + 0.4 * math.sin(a), 0.26 * grow, 0.19 * grow, fill, a)
    pen.ellipse(0, -0.4, 0.22, 0.22, (246, 190, 40) if c != COLOURS["yellow"] else (150, 84, 30))


def star(pen, c, rng):
    def points(r, inner):
        a = -math.pi / 2 + np.arange(10) * math.pi / 5
        r = np.where(np.arange(10) % 2, inner, r)
        return np.stack([r * np.cos(a), 0.05 + r * np.sin(a)], 1)

    pen.polygon(points(1.0, 0.46), mix(c, BLACK, 0.3))
    pen.polygon(points(0.88, 0.4), c)
    for side in (-1, 1):
        pen.ellipse(side * 0.16, -0.06, 0.06, 0.09, BLACK)
    pen.line([(-0.13, 0.15), (0, 0.22), (0.13, 0.15)], 0.05, BLACK)


def mushroom(pen, c, rng):
    pen.blob([(-0.2, 0.0), (0.2, 0.0), (0.24, 0.6), (0.36, 0.95), (-0.36, 0.95), (-0.24, 0.6)], (240, 228, 204))
    cap = [(-0.98, 0.1), (-0.85, -0.45), (-0.4, -0.85), (0.4, -0.85), (0.85, -0.45), (0.98, 0.1), (0.5, 0.22), (-0.5, 0.22)]
    pen.blob(cap, c)
    spot = WHITE if c != COLOURS["white"] else (200, 190, 190)
    for x, y, r in ((-0.52, -0.25, 0.16), (0.02, -0.5, 0.18), (0.52, -0.2, 0.16), (0.0, 0.0, 0.1)):
        pen.ellipse(x, y, r, r * 0.85, spot)


def balloon(pen, c, rng):
    pen.line([(0, 0.45), (0.08, 0.65), (-0.06, 0.8), (0.03, 0.98)], 0.04, (90, 90, 90))
    pen.polygon([(-0.1, 0.5), (0.1, 0.5), (0, 0.34)], mix(c, BLACK, 0.3))
    pen.blob([(0, -0.95), (0.55, -0.72), (0.62, -0.2), (0.25, 0.3), (0, 0.42), (-0.25, 0.3), (-0.62, -0.2), (-0.55, -0.72)], c)
    pen.ellipse(-0.26, -0.55, 0.1, 0.18, mix(c, WHITE, 0.65), 0.5)


THINGS = {
    "cat": cat,
    "bird": bird,
    "paradise bird": paradise_bird,
    "fish": fish,
    "house": house,
    "tree": tree,
    "boat": boat,
    "cookie": cookie,
    "flower": flower,
    "star": star,
    "mushroom": mushroom,
    "balloon": balloon,
}
FLYING = ("star", "balloon", "paradise bird", "fish")

SKIES = {
    "day": ((104, 178, 240), (206, 234, 250)),
    "sunset": ((120, 84, 150), (255, 176, 110)),
    "night": ((12, 16, 52), (44, 58, 112)),
}
GROUNDS = {
    "meadow": ((128, 196, 84), (92, 160, 64)),
    "jungle": ((34, 104, 56), (24, 76, 44)),
    "beach": ((244, 222, 164), (228, 200, 138)),
    "snow": ((244, 248, 255), (214, 226, 244)),
    "desert": ((236, 180, 106), (212, 146, 76)),
}
HORIZON = 0.62
DIM = {"day": 1.0, "sunset": 0.88, "night": 0.5}
THING_LIGHT = {"day": 1.0, "sunset": 0.97, "night": 0.86}


def sky(canvas, time, rng):
    side = SIZE * OVERSAMPLING
    top, bottom = SKIES[time]
    rows = round(side * (HORIZON + 0.08))
    for y in range(0, rows, 2):
        canvas.rectangle((0, y, side, y + 1), fill=mix(top, bottom, y / rows))
    pen = Pen(canvas, 0, 0, 1.0)
    if time == "night":
        for x, y in rng.uniform((0, 0), (1, HORIZON - 0.1), (14, 2)):
            pen.ellipse(x, y, 0.007, 0.007, (240, 240, 220))
        pen.ellipse(0.84, 0.15, 0.075, 0.075, (246, 240, 200))
        pen.ellipse(0.81, 0.13, 0.065, 0.065, mix(top, bottom, 0.2))
    elif time == "sunset":
        pen.ellipse(0.8, HORIZON - 0.1, 0.13, 0.13, (255, 220, 130))
    else:
        pen.ellipse(0.86, 0.13, 0.075, 0.075, (255, 236, 120))
        x, y = rng.uniform(0.1, 0.5), rng.uniform(0.08, 0.2)
        for dx, dy, r in ((0, 0, 0.05), (0.06, -0.02, 0.06), (0.13, 0, 0.045)):
            pen.ellipse(x + dx, y + dy, r * 1.3, r * 0.8, (255, 255, 255))


def ground(canvas, place, time, rng):
    near, far = GROUNDS[place]
    pen = Pen(canvas, 0, 0, 1.0, light=DIM[time])
    if place == "beach":
        pen.polygon([(0, HORIZON), (1, HORIZON), (1, 1), (0, 1)], (62, 150, 206))
        for y in (HORIZON + 0.03, HORIZON + 0.07):
            pen.line([(0, y), (0.33, y - 0.012), (0.66, y + 0.012), (1, y)], 0.009, (180, 224, 244))
    if place == "jungle":
        for x in np.linspace(0.02, 0.98, 7) + rng.uniform(-0.03, 0.03, 7):
            pen.line([(x, 0.1), (x + 0.02, 0.5), (x, 0.8)], 0.04, (62, 54, 36))
        for x in np.linspace(0, 1, 9) + rng.uniform(-0.04, 0.04, 9):
            pen.ellipse(x, rng.uniform(0.0, 0.07), 0.12, 0.11, mix((30, 96, 52), (56, 130, 60), rng.uniform()))
    if place == "desert":
        pen.polygon(curve([(-0.1, 0.75), (0.2, HORIZON - 0.06), (0.55, 0.72), (1.2, 0.78)], closed=False), far)
    if place == "snow":
        for x in (rng.uniform(0.05, 0.18), rng.uniform(0.82, 0.95)):
            for y, w in ((0.5, 0.05), (0.57, 0.075), (0.64, 0.1)):
                pen.polygon([(x, y - 0.1), (x + w, y + 0.04), (x - w, y + 0.04)], (70, 120, 110))
    base = HORIZON + (0.12 if place == "beach" else 0.04)
    hill = rng.uniform(-0.025, 0.025)
    edge = curve([(-0.05, base), (0.3, base + hill), (0.7, base - hill), (1.05, base)], closed=False)
    pen.polygon([*edge, (1.05, 1.05), (-0.05, 1.05)], near)
    pen.polygon([*(edge * (1, 0.4) + (0, 0.58)), (1.05, 1.05), (-0.05, 1.05)], mix(near, far, 0.6))
    if place == "meadow":
        for x, y in rng.uniform((0.02, base + 0.08), (0.98, 0.98), (10, 2)):
            pen.ellipse(x, y, 0.011, 0.011, ((255, 255, 255), (255, 220, 90))[rng.integers(2)])
    if place == "jungle":
        for x in (*rng.uniform(0, 0.22, 3), *rng.uniform(0.78, 1, 3)):
            lean = rng.uniform(-0.09, 0.09)
            leaf = [(x, 0.99), (x + lean - 0.035, 0.84), (x + 2 * lean, 0.7), (x + lean + 0.035, 0.84)]
            pen.blob(leaf, mix((40, 130, 62), (70, 160, 76), rng.uniform()))
    if place == "desert":
        x = rng.choice((rng.uniform(0.06, 0.14), rng.uniform(0.86, 0.94)))
        for line in ([(x, 0.82), (x, 0.55)], [(x, 0.72), (x + 0.05, 0.7), (x + 0.05, 0.62)]):
            pen.line(line, 0.035, (66, 130, 74))


def draw(scene, rng):
    """Renders a scene: an RGB image of `SIZE` pixels a side."""
    side = SIZE * OVERSAMPLING
    image = Image.new("RGB", (side, side))
    canvas = ImageDraw.Draw(image)
    sky(canvas, scene.time, rng)
    ground(canvas, scene.place, scene.time, rng)
    centres = (0.5,) if len(scene.things) == 1 else (0.27, 0.73)
    for thing, centre in zip(scene.things, centres):
        size = thing.size * rng.uniform(0.92, 1.08) * (1.0 if len(scene.things) == 1 else 0.72)
        x = centre + rng.uniform(-1, 1) * (0.09 if len(scene.things) == 1 else 0.03)
        standing = 0.86 - size + rng.uniform(-0.03, 0.05)
        y = rng.uniform(0.4, 0.52) if thing.name in FLYING else standing
        flip = bool(rng.integers(2))
        shadow = Pen(canvas, x, 0, size)
        if thing.name not in FLYING:
            near = GROUNDS[scene.place][0]
            shadow.ellipse(0, (y + size * 0.97) / size, 0.8, 0.1, mix(tuple(DIM[scene.time] * c for c in near), BLACK, 0.35))
        THINGS[thing.name](Pen(canvas, x, y, size, flip, THING_LIGHT[scene.time]), COLOURS[thing.colour], rng)
    return image.reduce(OVERSAMPLING)

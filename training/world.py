"""A drawn world: things in colours, in places, at times of the day, as Pillow draws them.

A picture is a `Scene`; `draw` renders it at 128x128, anti-aliased by drawing it four times as large. Everything that a
caption can ask for (`captions.py`) is a field of a scene; what it cannot (how high a thing is, where the leaves and the
stars of the background are) is drawn at random from the generator that `draw` is given.
"""

from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
from PIL import Image, ImageDraw

from .things import BLACK, COLOURS, THINGS, Pen, curve, mix

cv2.setNumThreads(0)  # pictures are drawn beside each other, if at all, by processes

SIZE = 128
OVERSAMPLING = 4
SIDE = SIZE * OVERSAMPLING
# What the line around a thing is wide, as a stamp in pixels of the canvas.
OUTLINE = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (11, 11))

PLACES = ("meadow", "jungle", "beach", "snow", "desert")
TIMES = ("day", "sunset", "night")
FLYING = ("star", "balloon", "paradise bird", "fish")


@dataclass(frozen=True)
class Thing:
    """A thing of a colour; `size` is its half height and `x` its middle, in shares of the picture's width."""

    name: str
    colour: str
    size: float = 0.3
    x: float = 0.5


@dataclass(frozen=True)
class Scene:
    """Things from left to right, up to three, in a place at a time."""

    things: tuple[Thing, ...]
    place: str
    time: str


SKIES = {
    "day": ((104, 178, 240), (206, 234, 250)),
    "sunset": ((120, 84, 150), (255, 176, 110)),
    "night": ((12, 16, 52), (44, 58, 112)),
}
GROUNDS = {
    "meadow": ((128, 196, 84), (92, 160, 64)),
    "jungle": ((62, 138, 66), (40, 104, 54)),
    "beach": ((244, 222, 164), (228, 200, 138)),
    "snow": ((244, 248, 255), (214, 226, 244)),
    "desert": ((236, 180, 106), (212, 146, 76)),
}
HORIZON = 0.62
DIM = {"day": 1.0, "sunset": 0.88, "night": 0.5}
THING_LIGHT = {"day": 1.0, "sunset": 0.97, "night": 0.86}


@lru_cache
def gradient(time):
    """The sky, SIDE pixels a side."""
    share = np.linspace(0, 1 / (HORIZON + 0.08), SIDE).clip(max=1)[:, None]
    top, bottom = np.array(SKIES[time], float)
    rows = (top + (bottom - top) * share).round().astype(np.uint8)
    return Image.fromarray(np.ascontiguousarray(np.broadcast_to(rows[:, None], (SIDE, SIDE, 3))))


def sky(canvas, time, rng):
    """Sun, clouds, moon and stars; the lights are on either side."""
    pen = Pen(canvas, 0, 0, 1.0)
    x = rng.uniform(0.1, 0.22) if rng.integers(2) else rng.uniform(0.78, 0.9)
    y = rng.uniform(0.11, 0.17)
    if time == "night":
        for star in rng.uniform((0.02, 0.02), (0.98, HORIZON - 0.1), (12, 2)):
            pen.ellipse(*star, 0.009, 0.009, (240, 240, 220))
        pen.ellipse(x, y, 0.08, 0.08, (246, 240, 200))
        pen.ellipse(x - 0.035, y - 0.02, 0.066, 0.066, mix(*SKIES[time], 0.15))
    elif time == "sunset":
        pen.ellipse(x, HORIZON - 0.1, 0.15, 0.15, (255, 200, 116))
        pen.ellipse(x, HORIZON - 0.1, 0.115, 0.115, (255, 226, 140))
    else:
        pen.ellipse(x, y, 0.08, 0.08, (255, 232, 100))
        x = (x + rng.uniform(0.35, 0.6)) % 0.8 + 0.05
        for dx, dy, r in ((0, 0, 0.05), (0.06, -0.02, 0.06), (0.13, 0, 0.045)):
            pen.ellipse(x + dx, y + dy, r * 1.3, r * 0.8, (255, 255, 255))


def trunks(pen, rng):
    """What is far away in the jungle: bushes, trunks and the vines between them."""
    for x in np.linspace(0, 1, 7) + rng.uniform(-0.05, 0.05, 7):
        pen.ellipse(x, HORIZON + rng.uniform(-0.06, 0.0), 0.12, 0.15, mix((58, 128, 74), (92, 160, 86), rng.uniform()))
    for x in np.linspace(0.05, 0.95, 5) + rng.uniform(-0.05, 0.05, 5):
        pen.line([(x, -0.02), (x + 0.02, 0.4), (x, 0.75)], 0.055, mix((92, 70, 44), (70, 54, 38), rng.uniform()))
    for x in rng.uniform(0.05, 0.75, 2):
        pen.line([(x, -0.02), (x + 0.1, rng.uniform(0.16, 0.3)), (x + 0.22, -0.02)], 0.014, (60, 120, 54))


def leaves(pen, rng):
    """What is near in the jungle: the canopy above and fans of leaves on both sides."""
    for x in np.linspace(0, 1, 7) + rng.uniform(-0.04, 0.04, 7):
        end = (x + rng.uniform(-0.08, 0.08), rng.uniform(0.16, 0.24))
        pen.feather([(x, -0.06), (x, 0.08), end], 0.13, mix((34, 104, 56), (70, 150, 66), rng.uniform()))
    for x, side in ((rng.uniform(-0.02, 0.08), 1), (rng.uniform(0.92, 1.02), -1)):
        for lean, height in ((-0.1, 0.34), (0.06, 0.36), (0.18, 0.26), (0.26, 0.12)):
            tip = (x + side * lean, 1 - height + rng.uniform(-0.03, 0.03))
            bend = (x + side * lean * 0.3, 1 - height * 0.7)
            pen.feather([(x, 1.03), bend, tip], 0.09, mix((36, 116, 58), (104, 184, 84), rng.uniform()))


def behind(pen, place, rng):
    """What stands on the horizon of a place."""
    far = GROUNDS[place][1]
    if place == "meadow":
        hill = [(-0.1, HORIZON + 0.05), (rng.uniform(0.1, 0.9), HORIZON - 0.08), (1.1, HORIZON + 0.05), (0.5, 1.0)]
        pen.blob(hill, mix(far, (70, 130, 110), 0.5))
    if place == "beach":
        pen.polygon([(0, HORIZON), (1, HORIZON), (1, 1), (0, 1)], (62, 150, 206))
        for y in (HORIZON + 0.03, HORIZON + 0.07):
            pen.line([(0, y), (0.33, y - 0.012), (0.66, y + 0.012), (1, y)], 0.012, (190, 228, 246))
    if place == "jungle":
        trunks(pen, rng)
    if place == "desert":
        pen.polygon(curve([(-0.1, 0.75), (0.2, HORIZON - 0.06), (0.55, 0.72), (1.2, 0.78)], closed=False), far)
    if place == "snow":
        for x in (rng.uniform(0.05, 0.2), rng.uniform(0.8, 0.95)):
            for y, w in ((0.5, 0.05), (0.57, 0.075), (0.64, 0.1)):
                pen.polygon([(x, y - 0.1), (x + w, y + 0.04), (x - w, y + 0.04)], (70, 120, 110))


def before(pen, place, base, rng):
    """What grows and lies on the ground of a place."""
    if place == "meadow":
        for x, y in rng.uniform((0.02, base + 0.08), (0.98, 0.98), (8, 2)):
            pen.ellipse(x, y, 0.015, 0.015, ((255, 255, 255), (255, 220, 90), (250, 150, 180))[rng.integers(3)])
    if place == "jungle":
        leaves(pen, rng)
    if place == "beach":
        for x, y in rng.uniform((0.04, base + 0.1), (0.96, 0.97), (4, 2)):
            pen.ellipse(x, y, 0.022, 0.014, (250, 240, 220))
    if place == "desert":
        x = rng.uniform(0.06, 0.14) if rng.integers(2) else rng.uniform(0.86, 0.94)
        for line in ([(x, 0.82), (x, 0.55)], [(x, 0.72), (x + 0.05, 0.7), (x + 0.05, 0.62)]):
            pen.line(line, 0.035, (66, 130, 74))


def ground(canvas, place, time, rng):
    near, far = GROUNDS[place]
    pen = Pen(canvas, 0, 0, 1.0, light=DIM[time])
    behind(pen, place, rng)
    base = HORIZON + (0.12 if place == "beach" else 0.04)
    hill = rng.uniform(-0.025, 0.025)
    edge = curve([(-0.05, base), (0.3, base + hill), (0.7, base - hill), (1.05, base)], closed=False)
    pen.polygon([*edge, (1.05, 1.05), (-0.05, 1.05)], near)
    pen.polygon([*(edge * (1, 0.4) + (0, 0.58)), (1.05, 1.05), (-0.05, 1.05)], mix(near, far, 0.6))
    before(pen, place, base, rng)


def put(image, thing, scene, rng, outlined):
    """Draws a thing where it is: those that fly in the air, the others on the ground and with a shadow."""
    size, light, canvas = thing.size, THING_LIGHT[scene.time], ImageDraw.Draw(image)
    y = rng.uniform(0.4, 0.52) if thing.name in FLYING else 0.9 - size + rng.uniform(-0.05, 0.05)
    flip, turn = bool(rng.integers(2)), rng.uniform()
    if thing.name not in FLYING:
        earth = mix(tuple(DIM[scene.time] * c for c in GROUNDS[scene.place][0]), BLACK, 0.35)
        Pen(canvas, thing.x, y, size).ellipse(0, 0.97, 0.8, 0.1, earth)
    colour, shape = COLOURS[thing.colour], THINGS[thing.name]
    if outlined:
        silhouette = Image.new("L", (SIDE, SIDE))
        shape(Pen(ImageDraw.Draw(silhouette), thing.x, y, size, flip, ink=255), colour, turn)
        rim = Image.fromarray(cv2.dilate(np.asarray(silhouette), OUTLINE))
        box = rim.getbbox()
        image.paste(mix(tuple(light * c for c in colour), BLACK, 0.75), box, rim.crop(box))
    shape(Pen(canvas, thing.x, y, size, flip, light), colour, turn)


def draw(scene, rng, outlined=True):
    """Renders a scene: an RGB image of `SIZE` pixels a side."""
    image = gradient(scene.time).copy()
    canvas = ImageDraw.Draw(image)
    sky(canvas, scene.time, rng)
    ground(canvas, scene.place, scene.time, rng)
    for thing in scene.things:
        put(image, thing, scene, rng, outlined)
    return image.reduce(OVERSAMPLING)

"""The things of the drawn world, and the pen that draws them.

A thing is a function of a pen, its colour and a number between 0 and 1 that turns what may be turned (a cookie's crumbs,
a flower's petals). It draws itself between -1 and 1, whatever the size and the place that the pen gives it.
"""

import math

import numpy as np

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
CIRCLE = np.stack([np.cos(np.linspace(0, 2 * math.pi, 32)), np.sin(np.linspace(0, 2 * math.pi, 32))])
BLACK, WHITE, GOLD = (30, 26, 30), (250, 250, 250), (250, 200, 60)


def mix(a, b, share):
    """`share` of `b` in `a`."""
    return tuple(round(x + (y - x) * share) for x, y in zip(a, b))


def curve(points, closed=True, steps=8):
    """A smooth line through points (Catmull-Rom)."""
    p = np.asarray(points, float)
    q = np.concatenate([p[-1:], p, p[:2]]) if closed else np.concatenate([p[:1], p, p[-1:]])
    a, b, c, d = q[:-3, None], q[1:-2, None], q[2:-1, None], q[3:, None]
    t = np.linspace(0, 1, steps, endpoint=False)[:, None]
    spans = 0.5 * (2 * b + (c - a) * t + (2 * a - 5 * b + 4 * c - d) * t**2 + (3 * b - a - 3 * c + d) * t**3)
    smooth = spans.reshape(-1, 2)
    return smooth if closed else np.concatenate([smooth, p[-1:]])


class Pen:
    """Draws in a frame of its own: `x` to the right and `y` downwards, the thing between -1 and 1.

    With `ink` it draws everything in that one colour: a silhouette.
    """

    def __init__(self, canvas, x, y, scale, flip=False, light=1.0, ink=None):
        self.canvas, self.at, self.scale, self.light, self.ink = canvas, np.array([x, y]), scale, light, ink
        self.side = canvas.im.size[0]
        self.to_pixels = np.array([-1 if flip else 1, 1]) * scale * self.side

    def place(self, points):
        return (np.asarray(points, float) * self.to_pixels + self.at * self.side).ravel().tolist()

    def colour(self, colour):
        return self.ink if self.ink is not None else tuple(round(channel * self.light) for channel in colour)

    def polygon(self, points, fill):
        self.canvas.polygon(self.place(points), fill=self.colour(fill))

    def blob(self, points, fill):
        self.polygon(curve(points), fill)

    def ellipse(self, x, y, rx, ry, fill, turn=0.0):
        px, py = rx * CIRCLE[0], ry * CIRCLE[1]
        c, s = math.cos(turn), math.sin(turn)
        self.polygon(np.stack([x + c * px - s * py, y + s * px + c * py], 1), fill)

    def ribbon(self, along, half, fill):
        """What lies within `half` (a number, or one for each point) of a smooth line."""
        across = np.gradient(along, axis=0)[:, ::-1] * (-1, 1)
        across *= half / np.hypot(*across.T)[:, None]
        self.polygon(np.concatenate([along + across, (along - across)[::-1]]), fill)

    def line(self, points, width, fill):
        along = curve(points, closed=False) if len(points) > 2 else np.asarray(points, float)
        self.ribbon(along, width / 2, fill)
        for x, y in (along[0], along[-1]):
            self.ellipse(x, y, width / 2, width / 2, fill)

    def feather(self, points, width, fill):
        """A ribbon that is widest at two thirds of its length."""
        along = curve(points, closed=False)
        share = np.linspace(0, 1, len(along))[:, None]
        self.ribbon(along, width / 2 * (0.25 + np.sin(np.pi * share**1.6) ** 0.7), fill)


def cat(pen, c, turn):
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


def bird(pen, c, turn):
    for x in (-0.25, -0.05):
        pen.line([(x, 0.3), (x - 0.03, 0.72), (x - 0.16, 0.78)], 0.05, (230, 140, 40))
    pen.polygon([(0.05, -0.1), (0.9, 0.0), (0.84, 0.22), (0.05, 0.25)], mix(c, BLACK, 0.3))
    songbird(pen, c)


def paradise_bird(pen, c, turn):
    dark, pale = mix(c, BLACK, 0.3), mix(c, WHITE, 0.45)
    tail = (((0.3, -0.45), (0.98, -0.6), pale), ((0.35, -0.1), (1.0, 0.0), c), ((0.3, 0.3), (0.92, 0.55), pale),
            ((0.1, 0.45), (0.5, 0.95), c))  # fmt: skip
    for middle, end, colour in tail:
        pen.feather([(-0.15, 0.05), middle, end], 0.24, colour)
    for x, y in ((0.86, -0.57), (0.88, 0.0), (0.82, 0.5), (0.46, 0.84)):
        pen.ellipse(x, y, 0.1, 0.1, dark)
        pen.ellipse(x, y, 0.06, 0.06, GOLD)
    for x, y in ((-0.72, -0.94), (-0.48, -1.0), (-0.24, -0.92)):
        pen.line([(-0.44, -0.6), (x, y)], 0.045, c)
        pen.ellipse(x, y, 0.06, 0.06, GOLD)
    pen.line([(-0.95, 0.6), (0.3, 0.66)], 0.1, (110, 76, 44))
    for x in (-0.34, -0.18):
        pen.line([(x, 0.35), (x, 0.62)], 0.06, (230, 140, 40))
    pen.blob([(0.15, -0.3), (0.05, 0.35), (-0.35, 0.5), (-0.6, 0.15), (-0.45, -0.3), (-0.1, -0.45)], c)
    pen.ellipse(-0.44, -0.42, 0.33, 0.3, c)
    pen.polygon([(-0.68, -0.52), (-0.68, -0.28), (-1.0, -0.34)], GOLD)
    pen.ellipse(-0.34, 0.22, 0.18, 0.22, pale)
    pen.ellipse(-0.5, -0.47, 0.11, 0.12, WHITE)
    pen.ellipse(-0.52, -0.47, 0.065, 0.08, BLACK)
    pen.blob([(-0.22, -0.25), (0.3, -0.15), (0.42, 0.1), (0.1, 0.26), (-0.2, 0.12)], dark)


def fish(pen, c, turn):
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


def house(pen, c, turn):
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


def tree(pen, c, turn):
    dark, pale = mix(c, BLACK, 0.25), mix(c, WHITE, 0.3)
    pen.polygon([(-0.14, 0.1), (0.14, 0.1), (0.22, 0.97), (-0.22, 0.97)], (104, 70, 42))
    for x, y, r in ((-0.42, -0.05, 0.4), (0.42, -0.05, 0.4), (0, -0.5, 0.48)):
        pen.ellipse(x, y + 0.05, r, r, dark)
    for x, y, r in ((-0.42, -0.1, 0.36), (0.42, -0.1, 0.36), (0, -0.3, 0.42), (0, -0.55, 0.42)):
        pen.ellipse(x, y, r, r, c)
    for x, y in ((-0.5, -0.2), (-0.12, -0.7), (0.3, -0.2)):
        pen.ellipse(x, y, 0.14, 0.1, pale)


def boat(pen, c, turn):
    pen.line([(0.05, 0.4), (0.05, -0.98)], 0.07, (110, 78, 50))
    pen.polygon([(0.0, -0.9), (0.0, 0.3), (-0.75, 0.3)], WHITE)
    pen.polygon([(0.12, -0.75), (0.12, 0.3), (0.72, 0.3)], mix(c, WHITE, 0.5))
    pen.blob([(-0.95, 0.42), (-0.3, 0.42), (0.4, 0.42), (0.98, 0.4), (0.66, 0.88), (0, 0.95), (-0.62, 0.88)], c)
    pen.line([(-0.8, 0.58), (0.82, 0.58)], 0.07, WHITE)


def cookie(pen, c, turn):
    dark = mix(c, BLACK, 0.5)
    pen.ellipse(0.0, 0.06, 0.9, 0.88, mix(c, BLACK, 0.25))
    pen.ellipse(0.0, 0.0, 0.88, 0.86, c)
    pen.ellipse(-0.15, -0.2, 0.52, 0.46, mix(c, WHITE, 0.14))
    for i, r in enumerate((0.6, 0.62, 0.58, 0.6, 0.62, 0.2, 0.28)):
        a = 2 * math.pi * (i / 5 if i < 5 else i / 2) + turn
        pen.ellipse(r * math.cos(a), r * math.sin(a), 0.13, 0.11, dark, a)


def flower(pen, c, turn):
    green = (48, 140, 60)
    pen.line([(0.0, -0.2), (0.05, 0.4), (0, 0.97)], 0.1, green)
    pen.blob([(0.03, 0.72), (0.35, 0.4), (0.62, 0.42), (0.4, 0.72)], green)
    pen.blob([(0.03, 0.82), (-0.3, 0.52), (-0.58, 0.56), (-0.36, 0.82)], green)
    for fill, grow in ((mix(c, BLACK, 0.25), 1.1), (c, 0.95)):
        for i in range(6):
            a = 2 * math.pi * i / 6 + turn
            pen.ellipse(0.4 * math.cos(a), -0.4 + 0.4 * math.sin(a), 0.26 * grow, 0.19 * grow, fill, a)
    pen.ellipse(0, -0.4, 0.22, 0.22, (246, 190, 40) if c != COLOURS["yellow"] else (150, 84, 30))


def star(pen, c, turn):
    def points(r, inner):
        a = -math.pi / 2 + np.arange(10) * math.pi / 5
        r = np.where(np.arange(10) % 2, inner, r)
        return np.stack([r * np.cos(a), 0.05 + r * np.sin(a)], 1)

    pen.polygon(points(1.0, 0.46), mix(c, BLACK, 0.3))
    pen.polygon(points(0.88, 0.4), c)
    for side in (-1, 1):
        pen.ellipse(side * 0.16, -0.06, 0.06, 0.09, BLACK)
    pen.line([(-0.13, 0.15), (0, 0.22), (0.13, 0.15)], 0.05, BLACK)


def mushroom(pen, c, turn):
    pen.blob([(-0.2, 0.0), (0.2, 0.0), (0.24, 0.6), (0.36, 0.95), (-0.36, 0.95), (-0.24, 0.6)], (240, 228, 204))
    cap = [(-0.98, 0.1), (-0.85, -0.45), (-0.4, -0.85), (0.4, -0.85), (0.85, -0.45), (0.98, 0.1), (0.5, 0.22), (-0.5, 0.22)]
    pen.blob(cap, c)
    spot = WHITE if c != COLOURS["white"] else (200, 190, 190)
    for x, y, r in ((-0.52, -0.25, 0.16), (0.02, -0.5, 0.18), (0.52, -0.2, 0.16), (0.0, 0.0, 0.1)):
        pen.ellipse(x, y, r, r * 0.85, spot)


def balloon(pen, c, turn):
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

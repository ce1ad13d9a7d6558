"""Captions for scenes in varied words, and which scenes are kept out of training."""

import itertools

from world import COLOURS, PLACES, THINGS, TIMES

MEDIA = ("a photo of", "a picture of", "a drawing of", "an image of", "a painting of", "")
ADJECTIVES = ("cute", "beautiful", "lovely", "detailed", "little", "nice")
NAMES = {
    "cat": ("cat", "cat", "kitten"),
    "bird": ("bird", "bird", "songbird"),
    "paradise bird": ("paradise bird", "paradise bird", "bird of paradise"),
    "fish": ("fish",),
    "house": ("house", "house", "cottage"),
    "tree": ("tree",),
    "boat": ("boat", "boat", "sailing boat"),
    "cookie": ("cookie", "cookie", "biscuit"),
    "flower": ("flower", "flower", "blossom"),
    "star": ("star",),
    "mushroom": ("mushroom", "mushroom", "toadstool"),
    "balloon": ("balloon",),
}
COLOUR_NAMES = {name: (name,) for name in COLOURS} | {
    "brown": ("brown", "chocolate"),
    "purple": ("purple", "purple", "violet"),
    "white": ("white", "white", "snow white"),
}
PLACE_NAMES = {
    "meadow": ("in the meadow", "on the grass", "in a green meadow"),
    "jungle": ("in the jungle", "in the jungle", "in a rain forest"),
    "beach": ("on the beach", "at the beach", "by the sea"),
    "snow": ("in the snow", "on the snow", "in winter"),
    "desert": ("in the desert", "in a desert", "on the sand of a desert"),
}
TIME_NAMES = {
    "day": ("by day", "on a sunny day", "in daylight"),
    "sunset": ("at sunset", "in the evening", "golden hour"),
    "night": ("at night", "by moonlight", "under the stars"),
}


def held_out(thing, colour, place, time):
    """A sixth of all combinations, spread evenly over every thing, colour, place and time, is never drawn."""
    i, j = list(THINGS).index(thing), list(COLOURS).index(colour)
    k, m = PLACES.index(place), TIMES.index(time)
    return (i + 5 * j + 2 * k + 3 * m + (i * j) % 5) % 6 == 0


def combinations(held):
    """All (thing, colour, place, time) that are held out, or all that are not."""
    every = itertools.product(THINGS, COLOURS, PLACES, TIMES)
    return [combination for combination in every if held_out(*combination) == held]


def article(words):
    return ("an " if words[0] in "aeiou" else "a ") + words


def caption(scene, rng, full=False):
    """Words for a scene. What they leave out may be anything; with `full` they leave out nothing."""

    def pick(options):
        return options[rng.integers(len(options))]

    def keep(share):
        return full or rng.uniform() < share

    things = []
    for thing in scene.things:
        words = [pick(NAMES[thing.name])]
        if keep(0.85):
            words.insert(0, pick(COLOUR_NAMES[thing.colour]))
        if rng.uniform() < 0.1:
            words.insert(0, pick(ADJECTIVES))
        things.append(article(" ".join(words)))
    subject = f"{pick(MEDIA)} {' and '.join(things)}".strip()
    place = pick(PLACE_NAMES[scene.place]) if keep(0.75) else ""
    time = pick(TIME_NAMES[scene.time]) if keep(0.6) else ""
    order = (subject, place, time) if rng.uniform() < 0.8 else (subject, time, place)
    parts = [part for part in order if part]
    return (" " if rng.uniform() < 0.5 else ", ").join(parts)


def words():
    """Every word that a caption can have."""
    tables = (NAMES, COLOUR_NAMES, PLACE_NAMES, TIME_NAMES)
    phrases = [*MEDIA, *ADJECTIVES, "a an and ,", *(p for table in tables for options in table.values() for p in options)]
    return sorted({word for phrase in phrases for word in phrase.split()})

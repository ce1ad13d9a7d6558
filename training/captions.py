"""Captions for scenes in varied words, and which scenes are kept out of training."""

import itertools

from .things import COLOURS, THINGS
from .world import PLACES, TIMES

MEDIA = ("a photo of", "a picture of", "a drawing of", "an image of", "a painting of", "an illustration of", "a cartoon of")
ADJECTIVES = ("cute", "beautiful", "lovely", "detailed", "little", "nice", "pretty", "funny", "happy", "colorful")
SIZE_WORDS = {"small": ("small", "tiny", "little"), "big": ("big", "large", "huge", "giant")}
SMALL, BIG = 0.23, 0.36  # half heights below and above which a thing may be called small or big
SIDES = {"left": ("on the left", "at the left"), "right": ("on the right", "at the right"), "middle": ("in the middle",)}
TWO = ("two", "two", "a pair of", "a couple of")
BETWEEN = ("and", "and", "and", "next to", "beside", "with")
NAMES = {
    "cat": ("cat", "cat", "kitten", "kitty"),
    "bird": ("bird", "bird", "songbird", "sparrow"),
    "paradise bird": ("paradise bird", "paradise bird", "bird of paradise"),
    "fish": ("fish",),
    "house": ("house", "house", "cottage", "hut", "home"),
    "tree": ("tree", "tree", "oak"),
    "boat": ("boat", "boat", "sailing boat", "ship", "sailboat"),
    "cookie": ("cookie", "cookie", "biscuit", "cookie with chocolate chips"),
    "flower": ("flower", "flower", "blossom", "daisy"),
    "star": ("star", "star", "starfish"),
    "mushroom": ("mushroom", "mushroom", "toadstool"),
    "balloon": ("balloon", "balloon", "air balloon"),
}
PLURALS = {"fish": "fish", "daisy": "daisies", "kitty": "kitties", "bird of paradise": "birds of paradise",
           "cookie with chocolate chips": "cookies with chocolate chips", "starfish": "starfish"}  # fmt: skip
COLOUR_NAMES = {name: (name,) for name in COLOURS} | {
    "red": ("red", "red", "red", "scarlet", "crimson"),
    "yellow": ("yellow", "yellow", "yellow", "golden"),
    "brown": ("brown", "chocolate"),
    "purple": ("purple", "purple", "violet"),
    "white": ("white", "white", "snow white"),
}
PLACE_NAMES = {
    "meadow": ("in the meadow", "on the grass", "in a green meadow", "in a field", "in the garden", "in the park"),
    "jungle": ("in the jungle", "in the jungle", "in a rain forest", "in the forest", "in a tropical jungle", "among leaves"),
    "beach": ("on the beach", "at the beach", "by the sea", "by the ocean", "at the seaside", "on the shore"),
    "snow": ("in the snow", "on the snow", "in winter", "in a snowy landscape", "on a snowy hill"),
    "desert": ("in the desert", "in a desert", "on the sand of a desert", "among the dunes", "with a cactus"),
}
TIME_NAMES = {
    "day": ("by day", "on a sunny day", "in daylight", "in the sunshine", "at noon", "under a blue sky"),
    "sunset": ("at sunset", "in the evening", "golden hour", "at dusk", "at sunrise", "in the evening sun"),
    "night": ("at night", "by moonlight", "under the stars", "at midnight", "in the dark", "under the moon"),
}
BARE_PLACES = {
    "meadow": ("meadow", "grass"),
    "jungle": ("jungle", "jungle", "rain forest"),
    "beach": ("beach", "sea"),
    "snow": ("snow", "winter"),
    "desert": ("desert",),
}
BARE_TIMES = {"day": ("day", "sunny"), "sunset": ("sunset", "evening"), "night": ("night", "moonlight")}

# How much a caption says: shares of captions, and how often each names a colour, the place, the time.
STYLES = {
    "long": (0.45, 0.93, 0.85, 0.7),
    "plain": (0.3, 0.85, 0.4, 0.3),
    "bare": (0.25, 0.75, 0.3, 0.15),
}
UNKNOWN_NOUNS, UNKNOWN_ADJECTIVES = 0.03, 0.05


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


def plural(name):
    return PLURALS.get(name, name + "s")


def unknown_word(rng):
    """A word that means nothing: what one of a user's words is that no caption ever had."""
    syllables = rng.integers(1, 4)
    letters = (("bcdfghjklmnprstvwz"[rng.integers(18)], "aeiouy"[rng.integers(6)]) for _ in range(syllables))
    return "".join(itertools.chain(*letters)) + ("", "n", "r", "s", "t", "ck", "ng", "x")[rng.integers(8)]


class Speaker:
    """Picks the words of one caption."""

    def __init__(self, rng, style):
        self.rng, self.style = rng, style
        _, self.colours, self.places, self.times = STYLES[style]

    def pick(self, options):
        return options[self.rng.integers(len(options))]

    def chance(self, share):
        return self.rng.uniform() < share

    def thing(self, thing, count=1):
        """A thing without its article; for some of the pictures in a word that means nothing."""
        name = unknown_word(self.rng) if self.chance(UNKNOWN_NOUNS) else self.pick(NAMES[thing.name])
        words = [plural(name) if count > 1 else name]
        if self.chance(self.colours):
            words.insert(0, self.pick(COLOUR_NAMES[thing.colour]))
        extent = "small" if thing.size < SMALL else "big" if thing.size > BIG else None
        if count == 1 and extent and self.chance(0.3):
            words.insert(0, self.pick(SIZE_WORDS[extent]))
        elif self.chance(UNKNOWN_ADJECTIVES):
            words.insert(0, unknown_word(self.rng))
        elif self.chance(0.1):
            words.insert(0, self.pick(ADJECTIVES))
        return " ".join(words)

    def subject(self, things):
        """All things, from left to right; two that are alike are counted."""
        groups = [(thing, len(list(alike))) for thing, alike in itertools.groupby(things, lambda t: (t.name, t.colour))]
        first = 0
        said = []
        for _, count in groups:
            words = self.thing(things[first], count)
            said.append(f"{self.pick(TWO)} {words}" if count > 1 else words if self.style == "bare" else article(words))
            first += count
        if len(said) == 2:
            return f"{said[0]} {self.pick(BETWEEN)} {said[1]}"
        return ", ".join(said[:-1]) + " and " + said[-1] if len(said) > 2 else said[0]

    def side(self, things):
        """Where a thing is that stands alone and not near the middle."""
        if len(things) != 1 or not self.chance(0.2):
            return ""
        x = things[0].x
        return self.pick(SIDES["left" if x < 0.38 else "right" if x > 0.62 else "middle"])


def caption(scene, rng):
    """Words for a scene. What they leave out may be anything."""
    style = list(STYLES)[rng.choice(len(STYLES), p=[share for share, *_ in STYLES.values()])]
    speaker = Speaker(rng, style)
    if style == "bare":
        place, time = speaker.pick(BARE_PLACES[scene.place]), speaker.pick(BARE_TIMES[scene.time])
    else:
        place, time = speaker.pick(PLACE_NAMES[scene.place]), speaker.pick(TIME_NAMES[scene.time])
    place, time = place if speaker.chance(speaker.places) else "", time if speaker.chance(speaker.times) else ""
    if not scene.things:
        return speaker.pick(BARE_PLACES[scene.place]) + (f", {time}" if time else "")
    subject = speaker.subject(scene.things)
    if style == "long" and speaker.chance(0.8):
        subject = f"{speaker.pick(MEDIA)} {subject}"
    parts = [subject, speaker.side(scene.things), *((place, time) if speaker.chance(0.8) else (time, place))]
    separator = ", " if style == "bare" or speaker.chance(0.4) else " "
    return separator.join(part for part in parts if part)


def words():
    """Every word that a caption can have and that means something."""
    tables = (NAMES, COLOUR_NAMES, PLACE_NAMES, TIME_NAMES, BARE_PLACES, BARE_TIMES, SIZE_WORDS, SIDES)
    phrases = [p for table in tables for options in table.values() for p in options]
    plurals = [plural(name) for options in NAMES.values() for name in options]
    every = [*MEDIA, *ADJECTIVES, *TWO, *BETWEEN, *phrases, *plurals, "a an and ,"]
    return sorted({word for phrase in every for word in phrase.split()})

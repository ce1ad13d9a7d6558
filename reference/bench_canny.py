"""What OpenCV's Canny takes on one thread at 1024x1024, beside `cargo run --release -p hypersd-controlnet --example
canny_speed`: the same four images, made from the same formulas. Prints milliseconds, the best and the median of 25.
"""

import time

import cv2
import numpy as np

SIDE = 1024


def noise():
    """A linear congruential generator (Knuth's constants), its top byte."""
    out = np.empty(SIDE * SIDE * 3, np.uint8)
    multiplier, increment = 6364136223846793005, 1442695040888963407
    state = 1
    for i in range(out.size):
        state = (state * multiplier + increment) & 0xFFFF_FFFF_FFFF_FFFF
        out[i] = state >> 56
    return out.reshape(SIDE, SIDE, 3)


def grid():
    return np.mgrid[:SIDE, :SIDE]


def smooth():
    """A ramp without edges."""
    y, x = grid()
    return np.stack([x // 8 + c * y // 16 for c in range(3)], -1)


def discs():
    """Discs of many sizes on a ramp: long edges, as in a photograph of things."""
    y, x = grid()
    image = np.stack([x // 16 + 60, y // 16 + 70, (x + y) // 32 + 80], -1)
    for i in range(60):
        cx, cy, r = i * 389 % SIDE, i * 571 % SIDE, 10 + i * 37 % 90
        inside = (x - cx) ** 2 + (y - cy) ** 2 < r * r
        image[inside] = (i * 53 % 256, i * 97 % 256, i * 151 % 256)
    return image


def textured(discs, noise):
    """The discs under noise, as in a photograph taken in the dark."""
    return np.clip(discs.astype(int) + noise.astype(int) // 8 - 16, 0, 255)


def measure(image, l2):
    times = []
    for _ in range(25):
        start = time.perf_counter()
        edges = cv2.Canny(image, 100, 200, L2gradient=l2)
        times.append((time.perf_counter() - start) * 1e3)
    return min(times), sorted(times)[12], (edges > 0).mean()


if __name__ == "__main__":
    cv2.setNumThreads(1)
    images = {"noise": noise(), "smooth": smooth(), "discs": discs()}
    images["textured"] = textured(images["discs"], images["noise"])
    print(f"OpenCV {cv2.__version__}, 1 thread, {SIDE}x{SIDE}, ms")
    for ipp in (True, False):
        cv2.ipp.setUseIPP(ipp)
        for name, image in images.items():
            rgb = np.ascontiguousarray(image.astype(np.uint8))
            for kind, pixels in (("rgb", rgb), ("gray", np.ascontiguousarray(rgb[..., 1]))):
                for l2 in (False, True):
                    best, median, share = measure(pixels, l2)
                    norm = "L2" if l2 else "L1"
                    times = f"best {best:6.2f}  median {median:6.2f}"
                    print(f"ipp {ipp!s:5} {name:8} {kind:4} {norm}  {times}  edges {share:.4f}")

"""Fits the polynomials of `hypersd-kernels` (src/math.rs) and prints them: exp2 on [-1/2, 1/2] and erf on [0, 4].

Both are minimax fits found by Lawson's iteration, least squares whose weights grow where the error is large, in 50
digits, then rounded to f32. Run with `python reference/kernel_polynomials.py`; needs only mpmath.
"""

from mpmath import cos, erf, log, matrix, mp, mpf, pi, qr_solve, sqrt

mp.dps = 50


def chebyshev(low, high, count):
    return [(low + high) / 2 + (high - low) / 2 * cos(pi * (i + mpf(1) / 2) / count) for i in range(count)]


def weighted(rows, values, weights):
    """The solution of least squares with one weight per row."""
    count = len(rows[0])
    a = matrix(len(rows), count)
    b = matrix(len(rows), 1)
    for i, (row, value, weight) in enumerate(zip(rows, values, weights)):
        root = sqrt(weight)
        b[i] = value * root
        for j in range(count):
            a[i, j] = row[j] * root
    return list(qr_solve(a, b)[0])


def horner(coefficients, x):
    total = mpf(0)
    for c in reversed(coefficients):
        total = total * x + c
    return total


def exp2(degree):
    """2^x = 1 + x P(x), smallest relative error."""
    xs = chebyshev(mpf(-1) / 2, mpf(1) / 2, 60)
    rows = [[x**j / mpf(2) ** x for j in range(1, degree + 1)] for x in xs]
    values = [1 - 1 / mpf(2) ** x for x in xs]
    weights = [mpf(1)] * len(xs)
    for _ in range(30):
        p = weighted(rows, values, weights)
        errors = [abs(sum(r * c for r, c in zip(row, p)) - v) for row, v in zip(rows, values)]
        weights = [w * e for w, e in zip(weights, errors)]
        total = sum(weights)
        weights = [w / total + mpf(10) ** -30 for w in weights]
    return [mpf(1)] + p, max(errors)


def erf_rational(top, bottom, limit):
    """erf(x) = x P(x^2) / Q(x^2) with Q(0) = 1, smallest relative error; rows are linearised by the last Q."""
    xs = chebyshev(mpf(0), limit, 120)
    weights = [mpf(1)] * len(xs)
    q = [mpf(1)] + [mpf(0)] * bottom
    for step in range(40):
        rows, values = [], []
        for x in xs:
            z, y = x * x, erf(x)
            scale = 1 / (horner(q, z) * y)
            rows.append([x * z**j * scale for j in range(top + 1)] + [-y * z**j * scale for j in range(1, bottom + 1)])
            values.append(y * scale)
        solution = weighted(rows, values, weights)
        p, q = solution[: top + 1], [mpf(1)] + solution[top + 1 :]
        errors = [abs(x * horner(p, x * x) / horner(q, x * x) / erf(x) - 1) for x in xs]
        if step > 5:
            weights = [w * e for w, e in zip(weights, errors)]
            total = sum(weights)
            weights = [w / total + mpf(10) ** -30 for w in weights]
    return p, q, max(errors)


def show(name, coefficients):
    print(name, [float(mp.nstr(c, 12)) for c in coefficients])


if __name__ == "__main__":
    coefficients, error = exp2(6)
    show("exp2", coefficients)
    print("relative error", mp.nstr(error, 3), "log2(e)", mp.nstr(1 / log(2), 20))
    p, q, error = erf_rational(6, 4, mpf(4))
    show("erf P", p)
    show("erf Q", q)
    print("relative error", mp.nstr(error, 3))

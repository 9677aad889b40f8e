"""Mutations of files, for readers that must never answer with a traceback.

Everything is drawn from the generator that is handed in: the same seed gives the same
bytes, so that whatever fails can be made again.
"""

import random

TOKENS = (
    b"NaN", b"Infinity", b"-Infinity", b"null", b"true", b"[]", b"{}", b'""', b"1e400",
    b"-1e400", b"1e-400", b"9" * 400, b"9" * 5000, b"\\ud800", b"\xff\xfe", b"\x00",
    b"\xef\xbb\xbf", b",", b";", b"\t", b"\n", b"\r", b'"', b"[" * 3000, b'{"a":' * 3000,
    b"%s", b"../", b"none", b"0", b"-1", b"1,5", b"\xf0\x9f\x98\x80", b"\x1b[31m",
    b"&a [*a]", b"!!python/object/apply:os.system", b"2024-01-01", b"True", b"#", b"=",
)  # fmt: skip


def mutate(data: bytes, rng: random.Random) -> bytes:
    """Returns a file that was changed in one to four ways.

    Args:
        data: A whole file.
        rng: What draws the changes.
    """
    for _ in range(rng.randint(1, 4)):
        data = rng.choice(MUTATIONS)(data, rng)
    return data


def _place(data, rng):
    return rng.randrange(len(data) + 1)


def flip_bits(data, rng):
    changed = bytearray(data)
    for _ in range(rng.randint(1, 8) if data else 0):
        changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
    return bytes(changed)


def cut(data, rng):
    return data[: _place(data, rng)]


def take_out(data, rng):
    first, last = sorted((_place(data, rng), _place(data, rng)))
    return data[:first] + data[last:]


def splice(data, rng):
    first, last = sorted((_place(data, rng), _place(data, rng)))
    at = _place(data, rng)
    return data[:at] + data[first : min(last, first + 4096)] + data[at:]


def repeat(data, rng):
    at = _place(data, rng)
    return data[:at] + data[at : at + 64] * rng.randint(2, 200) + data[at:]


def zeros(data, rng):
    at = _place(data, rng)
    size = rng.choice((1, 8, 512))
    return data[:at] + b"\0" * size + data[at + size :]


def insert_token(data, rng):
    at = _place(data, rng)
    return data[:at] + rng.choice(TOKENS) + data[at:]


def blow_up_number(data, rng):
    """Puts another token in the place of some digits."""
    digits = [i for i, byte in enumerate(data[:65536]) if 48 <= byte < 58]
    if not digits:
        return data
    first = last = rng.choice(digits)
    while last < len(data) and data[last : last + 1] in b"0123456789.eE+-":
        last += 1
    return data[:first] + rng.choice(TOKENS) + data[max(last, first + 1) :]


def swap_lines(data, rng):
    lines = data.split(b"\n")
    i, j = rng.randrange(len(lines)), rng.randrange(len(lines))
    lines[i], lines[j] = lines[j], lines[i]
    return b"\n".join(lines)


MUTATIONS = (
    flip_bits, cut, take_out, splice, repeat, zeros, insert_token, blow_up_number,
    swap_lines,
)  # fmt: skip

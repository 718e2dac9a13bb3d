"""NumPy's random streams, many at once: `np.random.default_rng(seed).integers(bound)` bit for bit.

Every training example has a stream of its own, so that training can resume anywhere. NumPy takes
30 microseconds an example for that, and holds Python meanwhile, so that the devices wait for their
next step. The algorithms are those of NumPy's SeedSequence, PCG64 (O'Neill 2014: XSL-RR
128/64) and Generator.integers (Lemire 2019: "Fast random integer generation in an interval").
"""

from collections.abc import Sequence

import numpy as np

# Of numpy/random/bit_generator.pyx: constants of SeedSequence.
_INIT_A, _MULT_A = 0x43B0D7E5, 0x931E8875
_INIT_B, _MULT_B = 0x8B51F9DD, 0x58F38DED
_MIX_L, _MIX_R = np.uint32(0xCA01F9DD), np.uint32(0x4973F715)
_POOL = 4
# Of numpy/random/src/pcg64/pcg64.h: the multiplier, in two halves.
_PCG_HIGH, _PCG_LOW = np.uint64(0x2360ED051FC65DA4), np.uint64(0x4385DF649FCCF645)

_16, _32 = np.uint32(16), np.uint64(32)
_LOW_HALF = np.uint64(0xFFFFFFFF)

Wide = tuple[np.ndarray, np.ndarray]  # 128 bits: the high and the low uint64


class Streams:
    """Generators of several seeds, which draw together."""

    def __init__(self, seed: Sequence[int | np.ndarray]) -> None:
        """Seeds them.

        Args:
            seed: what `default_rng` takes, non-negative integers. Those that differ from stream to
                stream are arrays of one length, (n,), with values below 2**32.
        """
        state = _generate_state(_mix_entropy(_words(seed)))
        start, sequence = (state[0], state[1]), (state[2], state[3])
        one = np.uint64(1)
        self._increment = (
            sequence[0] << one | sequence[1] >> np.uint64(63),
            sequence[1] << one | one,
        )
        self._state = _advance(_add(self._increment, start), self._increment)
        self._words = np.empty((0, state.shape[1]), np.uint64)
        self._position = np.zeros(state.shape[1], np.intp)

    def integers(self, bounds: np.ndarray | int) -> np.ndarray:
        """What `Generator.integers(bound)` of each stream returns next.

        Args:
            bounds: one for all, or one for each, (n,); from 1 to 2**32 - 1.

        Returns:
            int64 (n,), from 0 to below the bound.
        """
        bounds = np.broadcast_to(np.asarray(bounds, np.uint64), self._position.shape)
        found = np.zeros(bounds.shape, np.int64)
        waiting = np.flatnonzero(bounds > 1)  # where there is no choice, nothing is drawn
        while waiting.size:
            bound = bounds[waiting]
            product = self._next(waiting) * bound
            found[waiting] = product >> _32
            waiting = waiting[product & _LOW_HALF < (np.uint64(2**32) - bound) % bound]
        return found

    def _next(self, streams: np.ndarray) -> np.ndarray:
        """The next 32 bits of some of the streams."""
        position = self._position[streams]
        self._position[streams] += 1
        while position.max() >= len(self._words):
            self._state = _advance(self._state, self._increment)
            high, low = self._state
            mixed, turn = high ^ low, high >> np.uint64(58)
            output = mixed >> turn | mixed << (-turn & np.uint64(63))
            self._words = np.concatenate([self._words, [output & _LOW_HALF, output >> _32]])
        return self._words[position, streams]


def _words(seed: Sequence[int | np.ndarray]) -> list[np.ndarray]:
    """The entropy of SeedSequence: every integer's 32-bit words, the lowest first."""
    count = max(np.size(value) for value in seed)
    words = []
    for value in seed:
        if isinstance(value, np.ndarray):
            words.append(value.astype(np.uint32))
            continue
        size = max(1, -(-value.bit_length() // 32))
        words += [np.full(count, value >> 32 * i & 0xFFFFFFFF, np.uint32) for i in range(size)]
    return words


class _Hash:
    """The hash of SeedSequence, another one at every call."""

    def __init__(self, constant: int, factor: int) -> None:
        self._constant, self._factor = constant, factor

    def __call__(self, value: np.ndarray) -> np.ndarray:
        value = value ^ np.uint32(self._constant)
        self._constant = self._constant * self._factor & 0xFFFFFFFF
        value = value * np.uint32(self._constant)
        return value ^ value >> _16


def _mix_entropy(words: list[np.ndarray]) -> list[np.ndarray]:
    hashed = _Hash(_INIT_A, _MULT_A)
    nothing = np.zeros_like(words[0])
    pool = [hashed(word) for word in [*words, *[nothing] * _POOL][:_POOL]]

    def mix(into: int, value: np.ndarray) -> None:
        mixed: np.ndarray = pool[into] * _MIX_L - hashed(value) * _MIX_R
        pool[into] = mixed ^ mixed >> _16

    for source in range(_POOL):
        for target in range(_POOL):
            if source != target:
                mix(target, pool[source])
    for word in words[_POOL:]:
        for target in range(_POOL):
            mix(target, word)
    return pool


def _generate_state(pool: list[np.ndarray]) -> np.ndarray:
    """Four uint64 a stream, (4, n)."""
    hashed = _Hash(_INIT_B, _MULT_B)
    halves = [hashed(word).astype(np.uint64) for word in pool * 2]
    return np.stack(
        [low | high << _32 for low, high in zip(halves[::2], halves[1::2], strict=True)]
    )


def _add(a: Wide, b: Wide) -> Wide:
    low = a[1] + b[1]
    return a[0] + b[0] + (low < a[1]), low


def _advance(state: Wide, increment: Wide) -> Wide:
    """state * multiplier + increment, modulo 2**128."""
    high, low = state
    a, b = low >> _32, low & _LOW_HALF
    c, d = _PCG_LOW >> _32, _PCG_LOW & _LOW_HALF
    middle = (b * d >> _32) + (a * d & _LOW_HALF) + b * c
    carried = a * c + (a * d >> _32) + (middle >> _32)
    return _add((carried + high * _PCG_LOW + low * _PCG_HIGH, low * _PCG_LOW), increment)

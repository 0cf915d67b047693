"""Sentences of a small grammar, whose probabilities are known."""

import math
import pathlib
from collections.abc import Sequence

import numpy as np

from kvae.datasets.dataset_info import DatasetInfo
from kvae.datasets.registry import register
from kvae.datasets.sequences import padded, unpadded
from kvae.datasets.splits import PERMUTED, Splits, split_by_permutation

__all__ = ["END", "WORDS", "as_text", "log_prob", "read_grammar", "sentence"]

# Words by topic. A sentence keeps to its topic, to its tense and to the number of each subject.
_NOUNS = {
    "farm": ("farmer", "dog", "cow", "horse", "hen"),
    "sea": ("sailor", "captain", "whale", "seagull", "pilot"),
    "school": ("teacher", "pupil", "student", "writer", "poet"),
}
_VERBS = {
    "farm": ("herd", "chase", "follow", "kick"),
    "sea": ("hail", "salute", "greet", "rescue"),
    "school": ("help", "praise", "question", "answer"),
}
_ADJECTIVES = ("old", "young", "happy", "tired", "quiet", "proud")
_OPENINGS = {"past": ("yesterday", "once"), "present": ("today", "now")}
_ENDINGS = {("past", 0): "ed", ("past", 1): "ed", ("present", 0): "s", ("present", 1): ""}
_TOPICS = tuple(_NOUNS)

WORDS = (
    *(".", "the", "a", "two", "and", "ed", "s"),
    *_ADJECTIVES,
    *(word for words in _OPENINGS.values() for word in words),
    *(word for topic in _TOPICS for word in (*_NOUNS[topic], *_VERBS[topic])),
)
"""The symbols 0, 1, …; a sentence ends with the first, a full stop."""

END = 0
_NUMBER = {word: number for number, word in enumerate(WORDS)}


def sentence(choose) -> tuple[list[int], str]:
    """Returns a sentence of the grammar as symbols, and its topic.

    Args:
        choose: callable. Takes a sequence of probabilities, and returns the number of one.
    """

    def one_of(words: Sequence[str]) -> str:
        return words[choose([1 / len(words)] * len(words))]

    topic, tense = one_of(_TOPICS), one_of(("past", "present"))
    found = []

    def noun_phrase() -> int:
        plural = choose([0.6, 0.4])
        found.append("two" if plural else one_of(("the", "a")))
        while choose([0.65, 0.35]):
            found.append(one_of(_ADJECTIVES))
        found.append(one_of(_NOUNS[topic]))
        if plural:
            found.append("s")
        return plural

    if choose([0.5, 0.5]):
        found.append(one_of(_OPENINGS[tense]))
    while True:
        plural = noun_phrase()
        found.append(one_of(_VERBS[topic]))
        if ending := _ENDINGS[tense, plural]:
            found.append(ending)
        noun_phrase()
        if not choose([0.6, 0.4]):
            return [*(_NUMBER[word] for word in found), END], topic
        found.append("and")


def as_text(x) -> list[str]:
    """Returns sequences of symbols as text, up to the first full stop.

    Args:
        x: array `[n, steps, 1]`, with NaN or anything after the end.
    """
    texts = []
    for row in unpadded(x):
        words = ["…" if math.isnan(one) else WORDS[round(float(one))] for one in row[:, 0]]
        words = words[: words.index(".") + 1] if "." in words else words
        text = ""
        for word in words:
            joined = word in (".", "s", "ed")
            text += "" if joined or not text else " "
            text += "d" if word == "ed" and text.endswith("e") else word
        texts.append(text)
    return texts


@register(
    "grammar",
    title="sentences of a small grammar, as symbols, synthetic",
    event_shape=(32, 1),
    train=8_000,
    validation=500,
    test=1_000,
    classes=3,
    split_rule=PERMUTED,
    license="Apache-2.0",
    source="kvae.datasets",
    reference="this library",
    class_names=_TOPICS,
    dtype="float32",
)
def read_grammar(info: DatasetInfo, folder: pathlib.Path | None) -> Splits:
    """Draws sentences of at most 32 symbols; NaN stands after the full stop. Labels are topics."""
    steps = info.event_shape[0]
    bits = np.random.Philox(key=1)
    sentences, topics = [], []

    def choose(probabilities) -> int:
        uniform = (int(bits.random_raw()) >> 11) * 2.0**-53
        total = 0.0
        for number, probability in enumerate(probabilities):
            total += probability
            if uniform < total:
                return number
        return len(probabilities) - 1

    while len(sentences) < sum(info.splits.values()):
        symbols, topic = sentence(choose)
        if len(symbols) <= steps:
            sentences.append(symbols)
            topics.append(_TOPICS.index(topic))
    return split_by_permutation(info, padded(sentences, steps), np.array(topics))


def log_prob(symbols: Sequence[int]) -> float:
    """Returns the log-probability of a sentence of the grammar in nats, −∞ for others.

    Sentences of more than 32 symbols, which the data set leaves out, count as well, so that the
    data's own log-probabilities are higher by the logarithm of what is left.
    """
    words = [WORDS[one] for one in symbols]
    return float(np.logaddexp.reduce([_parse(words, *one) for one in _READINGS]))


_READINGS = [(topic, tense) for topic in _TOPICS for tense in ("past", "present")]


def _parse(words: list[str], topic: str, tense: str) -> float:
    """Returns the log-probability of topic, tense and words together."""
    left, total = list(words), -math.log(len(_READINGS))

    def take(known, probability: float = 1.0) -> bool:
        nonlocal total
        if not left or left[0] not in known:
            return False
        left.pop(0)
        total += math.log(probability / len(known))
        return True

    def noun_phrase() -> int | None:
        plural = take(("two",), 0.4)
        if not plural and not take(("the", "a"), 0.6):
            return None
        while take(_ADJECTIVES, 0.35):
            pass
        nonlocal total
        total += math.log(0.65)
        if not take(_NOUNS[topic]) or (plural and not take(("s",))):
            return None
        return int(plural)

    if not take(_OPENINGS[tense], 0.5):
        total += math.log(0.5)
    while True:
        plural = noun_phrase()
        if plural is None or not take(_VERBS[topic]):
            return -math.inf
        ending = _ENDINGS[tense, plural]
        if (ending and not take((ending,))) or noun_phrase() is None:
            return -math.inf
        if take((".",), 0.6):
            return -math.inf if left else total
        if not take(("and",), 0.4):
            return -math.inf

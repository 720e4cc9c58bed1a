"""Words that were encoded once need not be encoded again: a bounded memory of text features."""

from collections import OrderedDict
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

REMEMBERED = 8192  # names; a few kB each
NAMES_AT_ONCE = 1024


class TextFeatures:
    """Features of names, encoded at most once while they are remembered."""

    def __init__(
        self,
        encode: Callable[[Sequence[str]], Tensor],
        *,
        remembered: int = REMEMBERED,
        at_once: int = NAMES_AT_ONCE,
    ) -> None:
        """`encode` turns K names into (K, D) features; it is called only with names it must."""
        self._encode, self._remembered, self._at_once = encode, remembered, at_once
        self._known: OrderedDict[str, Tensor] = OrderedDict()

    def of(self, names: Sequence[str]) -> Tensor:
        """(K, D) features of at least one name, in the order asked for."""
        new = [name for name in dict.fromkeys(names) if name not in self._known]
        for begin in range(0, len(new), self._at_once):
            some = new[begin : begin + self._at_once]
            self._known.update(zip(some, self._encode(some), strict=True))
        asked = []
        for name in names:
            self._known.move_to_end(name)
            asked.append(self._known[name])
        # Only after the answer is put together: one picture may have more names than fit.
        while len(self._known) > self._remembered:
            self._known.popitem(last=False)
        return torch.stack(asked)

    def __len__(self) -> int:
        return len(self._known)

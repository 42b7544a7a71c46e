"""How a sampler chooses rows."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Uniform:
    """Every row alike."""

    @property
    def native(self) -> tuple[str, float]:
        """The mode as the native sampler knows it."""
        return "uniform", 0.0


@dataclass(frozen=True, slots=True)
class Prioritized:
    """By priority: row i is drawn with probability p_i^exponent / sum_k p_k^exponent.

    New rows get the greatest priority that was ever set. The priorities lie in a file beside the rows, shared by the
    processes that sample the buffer; `ReplaySampler.update_priorities` changes them. They are derived data: summed up
    anew if a process died in between, and all made equal again by a power cut. Needs a buffer opened for writing.

    Attributes:
        exponent: 0 for uniform, 1 for proportional to the priority; [0, 10]. One for all samplers of a buffer.
        correction: Exponent of the importance weights, [0, 1]; 1 corrects fully. `ReplaySampler.correction` anneals it.

    Source: Schaul et al. 2016, equation 1 (where the exponents are called alpha and beta) and section 3.4.
    """

    exponent: float = 0.6
    correction: float = 0.4

    @property
    def native(self) -> tuple[str, float, float]:
        """The mode as the native sampler knows it."""
        return "prioritized", self.exponent, self.correction


@dataclass(frozen=True, slots=True)
class Stratified:
    """Every slice alike, however many rows it has; needs the field `slice_id`. Within a slice, every row alike."""

    @property
    def native(self) -> tuple[str, float]:
        """The mode as the native sampler knows it."""
        return "stratified", 0.0


@dataclass(frozen=True, slots=True)
class Recency:
    """Newer rows more often: the weight halves with every `half_life_rows` rows appended after a row.

    Age is counted in whole blocks, so the rows of a block share their weight.

    Attributes:
        half_life_rows: Rows after which the weight has halved, above 0.
    """

    half_life_rows: float

    @property
    def native(self) -> tuple[str, float]:
        """The mode as the native sampler knows it."""
        return "recency", self.half_life_rows


Mode = Uniform | Prioritized | Stratified | Recency

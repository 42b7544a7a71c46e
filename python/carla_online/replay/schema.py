"""The fields of a replay row."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from carla_online.errors import SchemaMismatch

_DTYPES: dict[str, type[np.generic]] = {
    "f32": np.float32,
    "f64": np.float64,
    "f16": np.float16,
    "u8": np.uint8,
    "bool": np.bool_,
    "u16": np.uint16,
    "u32": np.uint32,
    "u64": np.uint64,
    "i32": np.int32,
    "i64": np.int64,
}


@dataclass(frozen=True, slots=True)
class Field:
    """One named array of fixed shape in every row.

    Attributes:
        name: An ASCII identifier, unique in the schema.
        dtype: One of f32, f64, f16, u8, bool, u16, u32, u64, i32, i64 (bfloat16 bits go as u16).
        shape: Shape of one row's value, without the batch dimension; empty for a scalar.
        linked: Whether the field has a next value, as observations have.
    """

    name: str
    dtype: str
    shape: tuple[int, ...] = ()
    linked: bool = False

    def __post_init__(self) -> None:
        if self.dtype not in _DTYPES:
            raise SchemaMismatch(f"field {self.name!r} has dtype {self.dtype!r}; use one of {', '.join(_DTYPES)}")
        object.__setattr__(self, "shape", tuple(int(size) for size in self.shape))

    @property
    def numpy_dtype(self) -> np.dtype[np.generic]:
        """The NumPy dtype of the field's arrays."""
        return np.dtype(_DTYPES[self.dtype])


@dataclass(frozen=True, slots=True)
class ReplaySchema:
    """The ordered fields of a row.

    A schema needs the unlinked scalars `reward` f32, `terminated` bool, `truncated` bool, `episode_id` u64 and
    `step_id` u64 (n-step returns and the watermark read them) and at least one linked field. If it has `weight` f32
    or `quarantined` bool, rows of weight 0 and quarantined rows are never sampled. The whole schema is checked when a
    buffer is created or opened with it.

    Attributes:
        fields: The fields; their order is part of the schema.
    """

    fields: tuple[Field, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "fields", tuple(self.fields))

    @classmethod
    def transitions(
        cls,
        obs_dim: int,
        action_dim: int,
        reward_terms: int | Sequence[str],
        *,
        birdseye_px: int | None = None,
    ) -> ReplaySchema:
        """Build the standard row of a driving transition.

        Args:
            obs_dim: Length of the flat float32 observation.
            action_dim: Length of an action.
            reward_terms: How many unweighted reward terms a row keeps, or their names; may be none.
            birdseye_px: Pixels along each side of a view from above, kept as one bit a plane; none without it.

        Returns:
            The schema; `obs`, `birdseye` and `baseline_action` are linked.

        Raises:
            SchemaMismatch: A length is too small.
        """
        terms = reward_terms if isinstance(reward_terms, int) else len(reward_terms)
        for name, length, least in (("obs_dim", obs_dim, 1), ("action_dim", action_dim, 1), ("reward_terms", terms, 0)):
            if length < least:
                raise SchemaMismatch(f"{name} is {length}; it must be at least {least}")
        views = () if birdseye_px is None else (Field("birdseye", "u8", (birdseye_px, birdseye_px), linked=True),)
        return cls(
            (
                Field("obs", "f32", (obs_dim,), linked=True),
                *views,
                Field("baseline_action", "f32", (action_dim,), linked=True),
                Field("proposed_action", "f32", (action_dim,)),
                Field("executed_action", "f32", (action_dim,)),
                Field("reward", "f32"),
                Field("reward_terms", "f32", (terms,)),
                Field("terminated", "bool"),
                Field("truncated", "bool"),
                Field("safety_intervened", "bool"),
                Field("logp", "f32"),
                Field("episode_id", "u64"),
                Field("step_id", "u64"),
                Field("policy_version", "u32"),
                Field("slice_id", "u16"),
                Field("baseline_id", "u16"),
                Field("weight", "f32"),
                Field("quarantined", "bool"),
            )
        )

    @property
    def linked(self) -> tuple[Field, ...]:
        """The fields that have a next value."""
        return tuple(field for field in self.fields if field.linked)

    @property
    def names(self) -> tuple[str, ...]:
        """The fields' names, in order."""
        return tuple(field.name for field in self.fields)

    def to_json(self) -> str:
        """Return the fields as the JSON list that `schema.json` holds."""
        return json.dumps(
            [
                {"name": field.name, "dtype": field.dtype, "shape": list(field.shape), "linked": field.linked}
                for field in self.fields
            ]
        )

    @classmethod
    def from_json(cls, text: str) -> ReplaySchema:
        """Build a schema from `to_json`'s text.

        Raises:
            SchemaMismatch: The text isn't such a list.
        """
        try:
            return cls(tuple(Field(**{**item, "shape": tuple(item["shape"])}) for item in json.loads(text)))
        except (ValueError, TypeError, KeyError) as error:
            raise SchemaMismatch(f"not a list of replay fields: {error}") from error

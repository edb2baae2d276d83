"""Conditions of a filter: tests of a field or a place, as a request holds them. Nothing here depends on an index."""

from __future__ import annotations

from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Discriminator, Field, StringConstraints, Tag, model_validator

MAX_VALUES = 1_000
MAX_TEXT = 1_000
MAX_VALUE = 2_000
"""Longest text that a field is equal to, in characters: as long as the ids of documents that a service takes."""
MAX_KILOMETRES = 20_038
"""Half the circumference of the earth in kilometres: no two places are farther apart."""


def _type_of(value: Any) -> str | None:
    if isinstance(value, bool):  # a subclass of int in Python
        return "boolean"
    return {int: "number", float: "number", str: "text", type(None): "nothing"}.get(type(value))


Boolean = Annotated[bool, Field(strict=True), Tag("boolean")]
Finite = Annotated[float, Field(strict=True, allow_inf_nan=False)]
Number = Annotated[Annotated[int, Field(strict=True)] | Finite, Tag("number")]
Text = Annotated[str, StringConstraints(strict=True, max_length=MAX_TEXT), Tag("text")]
Exact = Annotated[str, StringConstraints(strict=True, max_length=MAX_VALUE), Tag("text")]
Nothing = Annotated[None, Tag("nothing")]
Value = Annotated[
    Boolean | Number | Exact,
    Discriminator(
        _type_of,
        custom_error_type="filter_value",
        custom_error_message="Input should be a text, a number, true or false; for missing values ask `exists`",
    ),
]
"""What a field is compared with; dates and times are texts in ISO 8601."""
Bound = Annotated[
    Number | Text | Nothing,
    Discriminator(
        _type_of, custom_error_type="filter_value", custom_error_message="Input should be a number or a text"
    ),
]
Name = Annotated[str, StringConstraints(min_length=1, max_length=MAX_TEXT)]


class Condition(BaseModel):
    """Base class of all conditions."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", validate_by_name=True, validate_by_alias=True, serialize_by_alias=True
    )


class FieldCondition(Condition):
    """A condition on one field; a list fulfils it if any of its elements does."""

    field: Name = Field(description="a metadata column, `id`, or a field of a struct column as `column.field`")


class Equals(FieldCondition):
    """The field has this value."""

    eq: Value = Field(description="the value")


class OneOf(FieldCondition):
    """The field has one of these values."""

    in_: list[Value] = Field(
        alias="in", max_length=MAX_VALUES, description="the values; an empty list lets no document pass"
    )


class Between(FieldCondition):
    """The field is within bounds: numbers, dates and times by size, texts by their code points."""

    gte: Bound = Field(default=None, description="at least")
    gt: Bound = Field(default=None, description="more than")
    lte: Bound = Field(default=None, description="at most")
    lt: Bound = Field(default=None, description="less than")

    @model_validator(mode="after")
    def _bounded(self) -> Self:
        if not self.bounds:
            raise ValueError("give at least one of gte, gt, lte and lt that is not null")
        return self

    @property
    def bounds(self) -> dict[str, int | float | str]:
        """The bounds that are not null, by name."""
        bounds = {name: getattr(self, name) for name in ("gte", "gt", "lte", "lt")}
        return {name: bound for name, bound in bounds.items() if bound is not None}


class Exists(FieldCondition):
    """The field has a value, or has none: null, NaN and empty lists are no values."""

    exists: bool = Field(strict=True, description="true: it has one; false: it has none")


class Prefix(FieldCondition):
    """The field is a text that begins with exactly these characters."""

    prefix: Text = Field(description="the beginning")


class Circle(Condition):
    """A circle on the earth."""

    lat: float = Field(ge=-90, le=90, description="latitude of its centre in degrees, north positive")
    lon: float = Field(ge=-180, le=180, description="longitude of its centre in degrees, east positive")
    km: float = Field(gt=0, le=MAX_KILOMETRES, description="radius in kilometres")


class Within(Condition):
    """A place is in a circle (great-circle distance)."""

    latitude: Name = Field(description="the field with the latitude in degrees")
    longitude: Name = Field(description="the field with the longitude in degrees")
    within: Circle = Field(description="the circle")

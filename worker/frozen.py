"""What every part of a configuration is."""

from pydantic import BaseModel, ConfigDict


class Frozen(BaseModel):
    """A part of the configuration: unknown keys are mistakes, values never change."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

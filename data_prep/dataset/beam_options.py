"""Options of a Beam runner, given as words."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from primus_jax.errors import PrimusError

if TYPE_CHECKING:
    from apache_beam.options.pipeline_options import PipelineOptions


def pipeline_options(words: Sequence[str]) -> "PipelineOptions":
    """The runner's own options, from words such as `--project=NAME`.

    Raises:
        PrimusError: Apache Beam is not installed.
    """
    try:
        from apache_beam.options.pipeline_options import PipelineOptions
    except ImportError as error:
        raise PrimusError(
            "a Beam runner needs Apache Beam: pip install 'primus-jax[beam]'."
        ) from error
    return PipelineOptions(list(words))

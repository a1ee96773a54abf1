"""Units on an Apache Beam runner: Direct, Dataflow, Flink, Spark.

Only the ids of units go through the pipeline. Parts and shards are files, so all workers and the
launching machine must see the raw corpus and the output folder under the same paths.
"""

import dataclasses
from collections.abc import Callable, Sequence

from data_prep.dataset.beam_options import pipeline_options
from data_prep.dataset.units import UnitJob
from primus_jax.errors import PrimusError


@dataclasses.dataclass(frozen=True)
class BeamEngine:
    """A Beam runner by name, and the words for its own options.

    Raises:
        PrimusError: Apache Beam is not installed, or has no such runner.
    """

    runner: str
    options: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        pipeline_options(self.options)
        from apache_beam.runners.runner import create_runner

        try:
            create_runner(self.runner)
        except (ValueError, ImportError, AttributeError) as error:
            raise PrimusError(f"Beam runner {self.runner!r}: {error}") from error

    @property
    def beam(self) -> tuple[str, Sequence[str]]:
        """Runner and options that write the shards: the same as for the units."""
        return self.runner, self.options

    def run(self, job: UnitJob, units: Sequence[str], log: Callable[[str], None]) -> None:
        """Call `job(unit)` for every unit on the runner's workers."""
        import apache_beam as beam

        log(f"  {len(units):,} units on {self.runner}")
        options = pipeline_options(self.options)
        with beam.Pipeline(runner=self.runner, options=options) as pipeline:
            named = pipeline | "Units" >> beam.Create(list(units))
            # Units are few and long: without this a runner may fuse them onto one worker.
            _ = named | "Spread" >> beam.Reshuffle() | "Prepare" >> beam.Map(job)

"""GENEActiv (Activinsights), raw CSV: a hundred lines above rows without a header, in g.

A row holds time, x, y, z, light, button and temperature. Times end in ":500" for half a second.
"""

from primus_jax.recordings.apps.app import App, Export
from primus_jax.recordings.table_format import TableFormat

APP = App(
    name="geneactiv",
    title="GENEActiv",
    exports=(
        Export(TableFormat(acc=("2", "3", "4"), gyro=(), time="1", acc_unit="g")),
        Export(TableFormat(gyro=(), time="time", acc_unit="g")),
    ),
    clock="a wall clock with ms; also .bin, by actipy",
    signs="+1 g upwards at rest",
    source="GENEActiv instructions (raw CSV of the GENEActiv software)",
    sample=False,
)

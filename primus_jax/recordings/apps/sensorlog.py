"""SensorLog (Bernd Thomas), iOS and Apple Watch: one table, in g and rad/s, with Apple's sign."""

from primus_jax.recordings.apps.app import App, Export
from primus_jax.recordings.table_format import TableFormat


def _xyz(name: str, unit: str) -> tuple[str, ...]:
    return tuple(f"{name}{axis}({unit})" for axis in "XYZ")


APP = App(
    name="sensorlog",
    title="SensorLog",
    exports=(
        Export(
            TableFormat(
                acc=_xyz("motionUserAcceleration", "G"),
                gravity=_xyz("motionGravity", "G"),
                gyro=_xyz("motionRotationRate", "rad/s"),
                time="motionTimestamp_sinceReboot(s)",
                acc_unit="g",
                invert_acc=True,
            )
        ),
        Export(
            TableFormat(
                acc=_xyz("accelerometerAcceleration", "G"),
                gyro=_xyz("gyroRotation", "rad/s"),
                time="accelerometerTimestamp_sinceReboot(s)",
                acc_unit="g",
                invert_acc=True,
            )
        ),
    ),
    clock="s since the phone was started, of the device motion (else of the accelerometer)",
    signs="-1 g upwards at rest, as Apple reports it; changed",
    source="sensorlog.berndthomas.net; names of columns as in public exports on GitHub",
    sample=True,
)

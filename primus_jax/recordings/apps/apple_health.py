"""Apple Health: its export holds no accelerometer, which the refusal states."""

from primus_jax.recordings.apps.app import App

APP = App(
    name="apple-health",
    title="Apple Health",
    exports=(),
    clock="",
    signs="",
    source="support.apple.com (share your health data in XML format)",
    sample=False,
    refusal=(
        "the export of Apple Health (export.xml) holds steps, heart rate and workouts, and no "
        "samples of accelerometer or gyroscope. Record them with an app such as SensorLog or "
        "Sensor Logger on the watch, and use --from sensorlog or --from sensor-logger."
    ),
)

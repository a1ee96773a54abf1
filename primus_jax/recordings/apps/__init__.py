"""Apps and devices whose exports are read by name."""

from primus_jax.recordings.apps import (
    actigraph,
    apple_health,
    axivity,
    geneactiv,
    mbientlab,
    movella,
    phyphox,
    physics_toolbox,
    sensor_logger,
    sensorlog,
    shimmer,
    xsens_dot,
)

APPS = {
    module.APP.name: module.APP
    for module in (
        sensor_logger,
        phyphox,
        sensorlog,
        physics_toolbox,
        actigraph,
        geneactiv,
        axivity,
        xsens_dot,
        movella,
        shimmer,
        mbientlab,
        apple_health,
    )
}

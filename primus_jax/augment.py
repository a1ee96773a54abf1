"""Augmentations: pure functions (key, window) -> window, vectorised over the batch on the device.

Each follows section 2.5 of the PRIMUS description from its mathematics. A window is
`[time, 6]` (accelerometer, gyroscope); every window has its own key, so the result does not depend
on how the batch is sharded.
"""

import dataclasses
import math

import jax
import jax.numpy as jnp

from primus_jax.errors import PrimusError


@dataclasses.dataclass
class AugmentConfig:
    """Strength of each augmentation; 0 or False leaves it out. Applied in this order."""

    noise: float = 0.0  # standard deviation of added noise, m/s^2 and rad/s
    scale: float = 0.0  # standard deviation of the gain about 1
    scale_per: str = "channel"  # "channel", or "step": one gain per time step, as released
    rotation_degrees: float = 0.0  # largest angle of a rotation common to both sensors
    negate: float = 0.0  # probability
    flip: float = 0.0  # probability of reversing time
    segments: int = 0  # pieces that are shuffled; the released code uses up to 5
    warp: float = 0.0  # standard deviation of the local speed about 1
    warp_knots: int = 4  # interior knots of the speed curve
    drop_gyro: float = 0.0  # probability of a window without gyroscope: all three channels zero

    def validate(self, name: str) -> None:
        """Raise PrimusError for values that mean nothing."""
        if self.scale_per not in ("channel", "step"):
            raise PrimusError(
                f"{name}.scale_per is {self.scale_per!r}; expected 'channel' or 'step'."
            )
        for field, high in (
            ("negate", 1.0),
            ("flip", 1.0),
            ("drop_gyro", 1.0),
            ("rotation_degrees", 180.0),
        ):
            value = getattr(self, field)
            if not 0 <= value <= high:
                raise PrimusError(f"{name}.{field} is {value}; expected 0 to {high:g}.")
        for field in ("noise", "scale", "warp"):
            value = getattr(self, field)
            if not 0 <= value < math.inf:
                raise PrimusError(f"{name}.{field} is {value}; expected 0 or more.")
        if self.segments < 0 or self.segments == 1 or self.warp_knots < 1:
            raise PrimusError(
                f"{name}: segments {self.segments}, warp_knots {self.warp_knots}; expected "
                f"segments 0 (off) or at least 2, and at least one knot."
            )


def noise(key: jax.Array, imu: jax.Array, sigma: float) -> jax.Array:
    """Add N(0, sigma^2) to every value."""
    return imu + sigma * jax.random.normal(key, imu.shape, imu.dtype)


def scale(key: jax.Array, imu: jax.Array, sigma: float, per: str = "channel") -> jax.Array:
    """Multiply by gains ~ N(1, sigma^2): one per channel, or one per time step (as released)."""
    shape = (1, imu.shape[1]) if per == "channel" else (imu.shape[0], 1)
    return imu * (1 + sigma * jax.random.normal(key, shape, imu.dtype))


def rotate(key: jax.Array, imu: jax.Array, max_degrees: float) -> jax.Array:
    """Turn the sensor: one rotation for both sensors, axis uniform on the sphere, angle uniform.

    A deviation from the released code, which normalises a point of a cube to get the axis and so
    prefers its corners. The angle is uniform in [-max_degrees, max_degrees].
    """
    axis_key, angle_key = jax.random.split(key)
    axis = jax.random.normal(axis_key, (3,), imu.dtype)
    axis = axis / jnp.maximum(jnp.linalg.norm(axis), 1e-12)
    limit = math.radians(max_degrees)
    angle = jax.random.uniform(angle_key, (), imu.dtype, -limit, limit)
    x, y, z = axis
    zero = jnp.zeros_like(x)
    cross = jnp.stack([zero, -z, y, z, zero, -x, -y, x, zero]).reshape(3, 3)
    rotation = (
        jnp.eye(3, dtype=imu.dtype)
        + jnp.sin(angle) * cross
        + (1 - jnp.cos(angle)) * jnp.matmul(cross, cross, precision="highest")
    )
    vectors = imu.reshape(imu.shape[0], 2, 3)
    turned = jnp.einsum("ij,tsj->tsi", rotation, vectors, precision="highest")
    return turned.reshape(imu.shape)


def negate(key: jax.Array, imu: jax.Array, probability: float) -> jax.Array:
    """Change the sign of all channels, with `probability`."""
    return jnp.where(jax.random.bernoulli(key, probability), -imu, imu)


def flip(key: jax.Array, imu: jax.Array, probability: float) -> jax.Array:
    """Reverse the order of time, with `probability`."""
    return jnp.where(jax.random.bernoulli(key, probability), imu[::-1], imu)


def permute_segments(key: jax.Array, imu: jax.Array, segments: int) -> jax.Array:
    """Cut at `segments - 1` distinct places drawn for this window, and shuffle the pieces."""
    cut_key, order_key = jax.random.split(key)
    time = imu.shape[0]
    cuts = 1 + jax.random.permutation(cut_key, time - 1)[: segments - 1]
    piece = jnp.sum(jnp.arange(time)[:, None] >= cuts[None, :], axis=1)
    rank = jax.random.permutation(order_key, segments)[piece]
    # A stable sort by the piece's new rank moves whole pieces and keeps the order inside each.
    return imu[jnp.argsort(rank, stable=True)]


def warp_time(key: jax.Array, imu: jax.Array, sigma: float, knots: int) -> jax.Array:
    """Play the window at a speed that varies smoothly about 1 and read it at even times.

    The speed is linear between `knots + 2` knots ~ N(1, sigma^2), at least 0.1; its sum is scaled
    so that the first and the last sample stay where they are. A deviation from the cubic spline of
    the literature: linear knots cannot overshoot, so time never runs backwards.
    """
    time = imu.shape[0]
    speed = 1 + sigma * jax.random.normal(key, (knots + 2,), imu.dtype)
    places = jnp.linspace(0, time - 1, knots + 2, dtype=imu.dtype)
    steps = jnp.arange(time, dtype=imu.dtype)
    speed = jnp.interp(steps, places, jnp.maximum(speed, 0.1))
    passed = jnp.concatenate([jnp.zeros((1,), imu.dtype), jnp.cumsum((speed[1:] + speed[:-1]) / 2)])
    clock = passed * ((time - 1) / passed[-1])
    return jax.vmap(lambda channel: jnp.interp(clock, steps, channel), 1, 1)(imu)


def shuffle_axes(key: jax.Array, imu: jax.Array) -> jax.Array:
    """Put the three axes of each sensor in a random order of its own.

    Never across sensors: metres per second squared do not become radians per second.
    """
    order = jax.vmap(lambda k: jax.random.permutation(k, 3))(jax.random.split(key))
    return imu[:, jnp.concatenate([order[0], order[1] + 3])]


def drop_gyro(key: jax.Array, imu: jax.Array, probability: float) -> jax.Array:
    """Set the gyroscope's three channels to zero, with `probability`: sensor dropout.

    Zeros are what a window without gyroscope holds everywhere in this project (`has_gyro` False),
    so this trains an encoder for accelerometers alone. Not in the PRIMUS description.
    """
    dropped = jax.random.bernoulli(key, probability) & (jnp.arange(imu.shape[1]) >= 3)
    return jnp.where(dropped, jnp.zeros((), imu.dtype), imu)


def augment(key: jax.Array, imu: jax.Array, config: AugmentConfig) -> jax.Array:
    """Apply the augmentations that are switched on to one window `[time, 6]`, float32."""
    keys = jax.random.split(key, 8)
    if config.noise:
        imu = noise(keys[0], imu, config.noise)
    if config.scale:
        imu = scale(keys[1], imu, config.scale, config.scale_per)
    if config.rotation_degrees:
        imu = rotate(keys[2], imu, config.rotation_degrees)
    if config.negate:
        imu = negate(keys[3], imu, config.negate)
    if config.flip:
        imu = flip(keys[4], imu, config.flip)
    if config.segments:
        imu = permute_segments(keys[5], imu, config.segments)
    if config.warp:
        imu = warp_time(keys[6], imu, config.warp, config.warp_knots)
    if config.drop_gyro:
        # last, so that nothing is added to the zeros
        imu = drop_gyro(keys[7], imu, config.drop_gyro)
    return imu


def augment_batch(keys: jax.Array, imu: jax.Array, config: AugmentConfig) -> jax.Array:
    """`augment` over `[batch, time, 6]` with one key per window."""
    return jax.vmap(lambda key, window: augment(key, window, config))(keys, imu)

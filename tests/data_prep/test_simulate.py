"""The simulated dataset: its physics, its sensor, its variety, and that it is reproducible."""

import dataclasses

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from data_prep.simulated import sensor, simulate, stand_in
from data_prep.simulated.sensor import Mems
from primus_jax.errors import PrimusError
from primus_jax.window import GRAVITY

RATE = 200.0


@pytest.fixture(scope="module")
def people():
    return [simulate.draw_person(0, i) for i in range(24)]


@pytest.fixture(scope="module")
def made():
    return list(simulate.recordings(seed=0, people=12, bouts=4))


def moved(activity, person, seed=3, rate=RATE):
    return simulate.motion(activity, person, np.random.default_rng(seed), 5.0, rate)


def test_at_rest_the_accelerometer_reads_gravity_and_the_gyroscope_nothing():
    held = Rotation.random(rng=np.random.default_rng(0)).as_matrix()
    acc, gyro = sensor.sense(np.ones((50, 3)), np.tile(held, (50, 1, 1)), RATE)
    np.testing.assert_allclose(acc, np.tile(GRAVITY * held[2], (48, 1)), rtol=1e-12)
    np.testing.assert_allclose(np.linalg.norm(acc, axis=1), 9.80665, rtol=1e-12)
    np.testing.assert_allclose(gyro, 0, atol=1e-12)


def test_a_turntable_reads_its_rate_and_the_centripetal_acceleration():
    rate, omega, radius = 400.0, 3.0, 0.5
    angle = omega * np.arange(400) / rate
    position = radius * np.stack([np.cos(angle), np.sin(angle), np.zeros(400)], 1)
    rotation = Rotation.from_euler("z", angle[:, None]).as_matrix()
    acc, gyro = sensor.sense(position, rotation, rate)
    expected = np.tile([-(omega**2) * radius, 0, GRAVITY], (398, 1))
    np.testing.assert_allclose(acc, expected, atol=1e-4)
    np.testing.assert_allclose(gyro, np.tile([0, 0, omega], (398, 1)), atol=1e-9)


@pytest.mark.parametrize("activity", ["walk", "turn", "drink", "lie", "jump"])
def test_gyroscope_integrates_to_the_orientation(people, activity):
    for person in people[:4]:
        motion = moved(activity, person)
        _, gyro = sensor.sense(motion.position, motion.rotation, RATE)
        turned = Rotation.identity()
        for step in Rotation.from_rotvec(gyro / RATE):
            turned = turned * step
        # Sample k of gyro turns from half a step before sample k + 1 to half a step after it.
        middle = Rotation.from_matrix(motion.rotation)
        first = middle[0] * Rotation.from_rotvec(gyro[0] / RATE / 2)
        last = middle[-2] * Rotation.from_rotvec(gyro[-1] / RATE / 2)
        error = ((first * turned).inv() * last).magnitude()
        assert np.degrees(error) < 0.5, (person.placement, np.degrees(error))


@pytest.mark.parametrize("activity", ["walk_upstairs", "run", "reach", "stand_up", "cycle"])
def test_accelerometer_integrates_to_the_displacement(people, activity):
    for person in people[:4]:
        motion = moved(activity, person)
        acc, _ = sensor.sense(motion.position, motion.rotation, RATE)
        world = np.einsum("tij,tj->ti", motion.rotation[1:-1], acc) - (0, 0, GRAVITY)
        velocity = (motion.position[2] - motion.position[0]) * RATE / 2
        trapezoid = np.cumsum((world[1:] + world[:-1]) / 2, 0) / RATE
        speed = np.concatenate([velocity[None], velocity + trapezoid])
        travelled = ((speed[1:] + speed[:-1]) / 2).sum(0) / RATE
        error = np.abs(travelled - (motion.position[-2] - motion.position[1])).max()
        assert error < 5e-3, (person.placement, error)


def test_rotating_the_mounting_rotates_both_sensors(people):
    turn = Rotation.from_rotvec([0.4, -0.9, 0.3]).as_matrix()
    for person in people[:4]:
        turned = dataclasses.replace(person, mounting=person.mounting @ turn)
        before, after = (
            sensor.sense(m.position, m.rotation, RATE)
            for m in (moved("walk", person), moved("walk", turned))
        )
        for old, new in zip(before, after, strict=True):
            assert np.abs(old).max() > 0.5
            np.testing.assert_allclose(new, old @ turn, atol=1e-8)


def test_orientations_are_rotations_and_motion_does_not_depend_on_its_rate(people):
    for activity in simulate.ACTIVITIES:
        slow, fast = (moved(activity, people[0], rate=r) for r in (RATE, 2 * RATE))
        product = slow.rotation @ np.swapaxes(slow.rotation, 1, 2)
        np.testing.assert_allclose(product, np.tile(np.eye(3), (1000, 1, 1)), atol=1e-12)
        np.testing.assert_allclose(np.linalg.det(slow.rotation), 1, atol=1e-12)
        np.testing.assert_allclose(slow.position, fast.position[::2], atol=0.02)
        np.testing.assert_allclose(slow.rotation, fast.rotation[::2], atol=0.01)


def test_motion_is_smooth_enough_that_halving_the_step_does_not_change_what_is_sensed(people):
    for activity in simulate.ACTIVITIES:
        person = people[1]
        read = []
        for factor in (4, 8):
            m = simulate.motion(
                activity, person, np.random.default_rng(1), 5.0, 50.0 * factor, margin=factor
            )
            sensed = np.concatenate(sensor.sense(m.position, m.rotation, 50.0 * factor), 1)
            read.append(sensor.decimate(sensed, factor))
        assert read[0].shape == read[1].shape == (250, 6)
        difference = np.sqrt(np.square(read[0] - read[1]).mean(0))
        assert (difference < 0.03 * (read[1].std(0) + 1)).all(), (activity, difference)


def test_decimation_keeps_time_and_stops_what_would_alias():
    time = np.arange(-4, 1004) / 200.0
    keep = np.sin(2 * np.pi * 2 * time)[1:-1, None]
    alias = np.sin(2 * np.pi * 48 * time)[1:-1, None]
    expected = np.sin(2 * np.pi * 2 * np.arange(250) / 50.0)[:, None]
    np.testing.assert_allclose(sensor.decimate(keep, 4)[:250], expected, atol=0.01)
    assert np.abs(sensor.decimate(alias, 4)).max() < 0.06


def test_sensor_saturates_at_its_range_and_nowhere_else():
    mems = Mems(acc_range=2 * GRAVITY, gyro_range=4.0, acc_noise=0, gyro_noise=0)
    acc, gyro = np.linspace(-40, 40, 300).reshape(100, 3), np.linspace(-9, 9, 300).reshape(100, 3)
    read = mems.read(acc, gyro, 50.0, np.random.default_rng(0))
    np.testing.assert_allclose(read[:, :3], np.clip(acc, -2 * GRAVITY, 2 * GRAVITY), atol=1e-3)
    np.testing.assert_allclose(read[:, 3:], np.clip(gyro, -4, 4), atol=1e-3)


@pytest.mark.slow
def test_recordings_stay_within_the_range_of_their_sensor(people, made):
    limits = {p.name: (p.mems.acc_range, p.mems.gyro_range) for p in people}
    for r in made:
        acc, gyro = limits[r.subject]
        assert np.abs(r.signal[:, :3]).max() <= acc * (1 + 1e-6)
        assert np.abs(r.signal[:, 3:]).max() <= gyro * (1 + 1e-6)
    narrow = dataclasses.replace(people[0].mems, acc_range=2 * GRAVITY)
    person = dataclasses.replace(people[0], mems=narrow)
    wide, clipped = (simulate.record(0, p, "run", 0, 5.0, 50.0).signal for p in (people[0], person))
    np.testing.assert_allclose(
        clipped[:, :3], np.clip(wide[:, :3], -2 * GRAVITY, 2 * GRAVITY), atol=5e-3
    )
    assert np.abs(wide[:, :3]).max() > 2.5 * GRAVITY


def test_noise_has_the_stated_density_and_bias():
    mems = Mems(acc_bias=(0.1, -0.2, 0.3), gyro_bias=(0.01, 0.0, -0.02))
    still = np.zeros((200_000, 3))
    for rate in (50.0, 200.0):
        read = mems.read(still, still, rate, np.random.default_rng(1)).astype(np.float64)
        step = np.repeat([mems.acc_range, mems.gyro_range], 3) / 2**15
        density = np.repeat([mems.acc_noise, mems.gyro_noise], 3)
        expected = np.sqrt(density**2 * rate / 2 + step**2 / 12)
        np.testing.assert_allclose(read.std(0), expected, rtol=0.02)
        bias = (*mems.acc_bias, *mems.gyro_bias)
        np.testing.assert_allclose(read.mean(0), bias, atol=5 * expected.max() / 400)


def test_same_seed_same_bytes_other_seed_other_data():
    a, b, c = (list(simulate.recordings(seed=s, people=1, bouts=1, seconds=3.0)) for s in (7, 7, 8))
    for x, y in zip(a, b, strict=True):
        assert x.signal.tobytes() == y.signal.tobytes()
        assert x.text_embedding.tobytes() == y.text_embedding.tobytes()
        assert x.video_embedding.tobytes() == y.video_embedding.tobytes()
        assert (x.id, x.text) == (y.id, y.text)
    assert all(not np.array_equal(x.signal, z.signal) for x, z in zip(a, c, strict=True))


@pytest.mark.slow
def test_a_bout_does_not_depend_on_how_many_are_made(made):
    few = {r.id: r for r in simulate.recordings(seed=0, people=2, bouts=1)}
    many = {r.id: r for r in made}
    assert len(few) == 2 * len(simulate.ACTIVITIES)
    for name, r in few.items():
        assert r.signal.tobytes() == many[name].signal.tobytes()
        assert r.text == many[name].text


def test_the_whole_set_is_large_and_varied_enough(people):
    assert len(simulate.ACTIVITIES) >= 12
    assert len({p.name for p in people}) >= 20
    assert {p.placement for p in people} == set(simulate.PLACEMENTS)
    assert np.ptp([p.body.height for p in people]) > 0.2
    assert np.ptp([np.log(p.body.tempo) for p in people]) > 0.2
    assert np.ptp([np.log(p.body.amplitude) for p in people]) > 0.3
    angles = [np.degrees(Rotation.from_matrix(p.mounting).magnitude()) for p in people]
    assert max(angles) <= 40
    assert np.mean(angles) > 10


def test_recordings_are_windows_of_law_one_and_say_that_they_are_simulated(made):
    assert len({r.id for r in made}) == len(made) == 12 * 4 * len(simulate.ACTIVITIES)
    for r in made:
        assert r.signal.shape == (250, 6)
        assert r.signal.dtype == np.float32
        assert np.isfinite(r.signal).all()
        assert r.rate_hz == 50.0
        assert r.subject.startswith("simulated")
    assert "simulated" in simulate.SOURCE
    still = np.concatenate([r.signal for r in made if r.label in ("sit", "stand", "lie")])
    assert abs(np.linalg.norm(still[:, :3], axis=1).mean() - GRAVITY) < 0.4
    (odd,) = [r for r in simulate.recordings(3, 1, 1, 2.5, 104.0) if r.label == "run"]
    assert odd.signal.shape == (260, 6)


def features(signal):
    norms = np.stack([np.linalg.norm(signal[:, s], axis=1) for s in (slice(3), slice(3, 6))], 1)
    x = np.concatenate([signal, norms], 1)
    moves = np.log(1e-3 + np.concatenate([x.std(0), np.abs(np.diff(x, axis=0)).mean(0)]))
    return np.concatenate([x.mean(0), 3 * moves])


def test_activities_of_unseen_people_are_recognisable_but_not_trivial(made):
    x = np.stack([features(r.signal) for r in made])
    y = np.array([simulate.ACTIVITIES.index(r.label) for r in made])
    subject = np.array([r.subject for r in made])
    unseen = np.isin(subject, sorted(set(subject))[8:])
    x = (x - x[~unseen].mean(0)) / x[~unseen].std(0)
    centroids = np.stack(
        [x[~unseen & (y == c)][:32].mean(0) for c in range(len(simulate.ACTIVITIES))]
    )
    distance = np.square(x[unseen][:, None] - centroids).sum(-1)
    accuracy = (distance.argmin(1) == y[unseen]).mean()
    assert 4 / len(simulate.ACTIVITIES) < accuracy < 0.9


def test_sentences_vary_and_text_embeddings_follow_their_meaning(made):
    label = np.array([r.label for r in made])
    for activity in simulate.ACTIVITIES:
        texts = [r.text for r in made if r.label == activity]
        assert len(set(texts)) > len(texts) / 2
    emb = np.stack([r.text_embedding for r in made])
    np.testing.assert_allclose(np.linalg.norm(emb, axis=1), 1, rtol=1e-5)
    similar = emb @ emb.T
    for activity in simulate.ACTIVITIES:
        own = similar[label == activity][:, label == activity].mean()
        others = [
            similar[label == activity][:, label == other].mean()
            for other in simulate.ACTIVITIES
            if other != activity
        ]
        assert own > max(others) + 0.1, (activity, own, max(others))
    up, climb, drink = map(
        stand_in.text_embedding,
        ("He walks up the stairs.", "someone is climbing a staircase", "she sips coffee"),
    )
    assert up @ climb > up @ drink + 0.3
    np.testing.assert_allclose(np.linalg.norm(stand_in.text_embedding("??")), 1, rtol=1e-5)


def test_video_embedding_shows_the_motion_and_not_only_the_label(made):
    emb = np.stack([r.video_embedding for r in made])
    np.testing.assert_allclose(np.linalg.norm(emb, axis=1), 1, rtol=1e-5)
    label = np.array([r.label for r in made])
    subject = np.array([r.subject for r in made])
    similar = np.where(subject[:, None] == subject, -1, emb @ emb.T)
    assert (label[similar.argmax(1)] == label).mean() > 0.8
    walks = emb[label == "walk"]
    assert np.square(walks - walks.mean(0)).sum(1).mean() > 0.03


def test_the_camera_sees_the_body_and_not_the_heading_or_the_sensor(people):
    m = moved("walk", people[0])
    turned = dict(m.pose, heading=m.pose["heading"] + 1.0)
    cos, sin = np.cos(1.0), np.sin(1.0)
    turned |= {
        "x": cos * m.pose["x"] - sin * m.pose["y"],
        "y": sin * m.pose["x"] + cos * m.pose["y"],
    }
    seen = [
        stand_in.video_embedding(
            simulate.filmed(dataclasses.replace(m, pose=pose), 1.7, 5.0), np.random.default_rng(0)
        )
        for pose in (m.pose, turned)
    ]
    np.testing.assert_allclose(seen[0], seen[1], atol=1e-5)


@pytest.mark.parametrize(
    "wrong", [{"people": 0}, {"bouts": 0}, {"seconds": 0.5}, {"rate_hz": 1e6}, {"seed": -1}]
)
def test_impossible_requests_are_refused(wrong):
    with pytest.raises(PrimusError, match=r"simulation|expected"):
        simulate.recordings(**wrong)


def test_unknown_activity_is_refused(people):
    with pytest.raises(PrimusError, match="expected one of"):
        moved("levitate", people[0])

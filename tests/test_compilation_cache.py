"""Where compiled programs are kept for the next command, and where they are not."""

import sys

import pytest

from primus_jax.compilation_cache import use_cache


@pytest.fixture
def fresh(monkeypatch):
    """As in a process that has not imported JAX yet."""
    monkeypatch.delitem(sys.modules, "jax", raising=False)


def test_the_cache_is_the_users_or_where_it_is_asked_for(fresh, tmp_path):
    variables = {"XDG_CACHE_HOME": str(tmp_path / "cache")}
    folder = use_cache(environ=variables)
    assert folder.parent == tmp_path / "cache" / "primus-jax"
    assert variables["JAX_COMPILATION_CACHE_DIR"] == str(folder)
    assert int(variables["JAX_COMPILATION_CACHE_MAX_SIZE"]) == 2**31
    assert use_cache(environ={"PRIMUS_JAX_CACHE": str(tmp_path / "own")}).parent.name == "own"


@pytest.mark.parametrize(
    ("arguments", "variables"),
    [
        ([], {"PRIMUS_JAX_CACHE": "off"}),
        ([], {"JAX_COMPILATION_CACHE_DIR": "/elsewhere"}),
        ([], {"XLA_FLAGS": "--xla_force_host_platform_device_count=8"}),
        ([], {"JAX_NUM_CPU_DEVICES": "8"}),
        (["pretrain", "--coordinator=host:1"], {}),
        ([], {"WORLD_SIZE": "2", "RANK": "0", "MASTER_ADDR": "host", "MASTER_PORT": "1"}),
        ([], {"WORLD_SIZE": "2", "RANK": "three"}),
    ],
)
def test_the_cache_is_off(fresh, tmp_path, arguments, variables):
    environ = {"HOME": str(tmp_path), **variables}
    assert use_cache(arguments, environ) is None
    assert environ == {"HOME": str(tmp_path), **variables}
    assert not list(tmp_path.iterdir())


def test_a_home_that_cannot_be_written_to_is_no_error(fresh, tmp_path):
    (tmp_path / ".cache").write_text("a file")
    assert use_cache(environ={"HOME": str(tmp_path)}) is None

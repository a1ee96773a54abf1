"""Two processes never write to one folder, whoever dies when."""

import json
import os
import signal
import subprocess
import sys
import threading

import pytest
from support.process_runs import Child, finish, pretrain_command

from primus_jax.errors import PrimusError
from primus_jax.training import folder_lock
from primus_jax.training.folder_lock import LOCK, hold_folder

LIGHT = ("--config.objective.multimodal=False", "--config.objective.neighbors=False")
LONG = (*LIGHT, "--config.steps=5000", "--config.optim.schedule=constant")


def change(folder, **values):
    path = folder / LOCK
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


@pytest.fixture
def left_behind(tmp_path):
    """A folder that a process of this machine held when it was killed."""
    folder = tmp_path / "run"
    code = (
        "import os, pathlib, signal\n"
        "from primus_jax.training.folder_lock import hold_folder\n"
        f"with hold_folder(pathlib.Path({str(folder)!r}), print):\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == -signal.SIGKILL
    assert (folder / LOCK).is_file()
    return folder


def test_a_second_process_is_told_who_holds_the_folder(tmp_path):
    said = []
    with hold_folder(tmp_path / "new" / "run", said.append) as lock:
        with (
            pytest.raises(PrimusError, match=f"in use by process {os.getpid()} on "),
            hold_folder(tmp_path / "new" / "run", said.append),
        ):
            pass
        lock.check()
    # Nothing was written, so nothing is left.
    assert not (tmp_path / "new").exists()
    assert said == []


def test_a_process_that_was_killed_holds_nothing(left_behind):
    said = []
    with hold_folder(left_behind, said.append) as lock:
        lock.check()
        assert "has ended; its lock is taken over" in "".join(said)
    assert not (left_behind / LOCK).exists()


def test_another_process_with_the_number_of_the_old_one_does_not_hold_it(left_behind):
    change(left_behind, pid=os.getpid())
    with hold_folder(left_behind, lambda line: None) as lock:
        lock.check()


def test_of_many_that_take_over_at_once_one_wins(left_behind):
    done, results = threading.Event(), []

    def start():
        try:
            with hold_folder(left_behind, lambda line: None):
                results.append("held")
                done.wait(30)
        except PrimusError as error:
            results.append(str(error))

    threads = [threading.Thread(target=start) for _ in range(6)]
    for thread in threads:
        thread.start()
    while len(results) < 6:
        threading.Event().wait(0.05)
    done.set()
    for thread in threads:
        thread.join(30)
    assert results.count("held") == 1
    assert sum("is in use by process" in result for result in results) == 5


def test_on_another_machine_a_sign_of_life_decides(left_behind, monkeypatch):
    monkeypatch.setattr(folder_lock, "WATCH_SECONDS", 2.0)
    change(left_behind, machine="elsewhere", host="node9", pid=7)
    stop = threading.Event()

    def beat():
        number = 0
        while not stop.wait(0.3):
            number += 1
            change(left_behind, beat=number)

    beating = threading.Thread(target=beat)
    beating.start()
    said = []
    with (
        pytest.raises(PrimusError, match="in use by process 7 on node9"),
        hold_folder(left_behind, said.append),
    ):
        pass
    stop.set()
    beating.join()
    with hold_folder(left_behind, said.append) as lock:
        lock.check()
    assert "process 7 on node9 used" in said[-1]
    assert (left_behind / LOCK).exists() is False


def test_whoever_was_taken_over_notices_it(tmp_path):
    with hold_folder(tmp_path / "run", print) as lock:
        change(tmp_path / "run", token="other", host="node9", pid=7)
        with pytest.raises(PrimusError, match="taken over by process 7 on node9"):
            lock.check()
    # The lock of the other one stays.
    assert (tmp_path / "run" / LOCK).is_file()


@pytest.mark.slow
def test_two_commands_in_one_workdir(simulated, tmp_path):
    workdir = tmp_path / "run"
    first = Child(pretrain_command(workdir, simulated, *LONG))
    try:
        assert first.wait_for("step 3/"), first.said
        second = Child(pretrain_command(workdir, simulated, *LONG))
        try:
            assert second.wait() == 2, second.said
            assert f"{workdir} is in use by process " in second.said
        finally:
            second.end()
        first.signal(signal.SIGKILL)
        first.wait()
    finally:
        first.end()
    said = finish(workdir, simulated, 1, *LONG, "--config.steps=6")
    assert "has ended; its lock is taken over" in said
    assert not (workdir / LOCK).exists()

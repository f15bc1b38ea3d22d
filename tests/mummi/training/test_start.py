"""Before a run starts: whose folders there are, and what they must not lose."""

import pytest

from mummi.training.start import lock, replay_folders, require_all_processes, restart_step


def record(folder, step=40):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"00000000-{step:010d}-21.npz").write_bytes(b"")


def test_every_process_has_folders_of_its_own(tmp_path):
    folders = [folder for process in range(3) for folder in replay_folders(tmp_path, process)]
    assert [path.name for path in folders] == [
        *("replay", "demonstrations", "replay-1", "demonstrations-1"),
        *("replay-2", "demonstrations-2"),
    ]


@pytest.mark.parametrize("kind", [0, 1])
def test_episodes_of_more_processes_than_there_are_would_be_forgotten(tmp_path, kind):
    for process in range(3):
        record(replay_folders(tmp_path, process)[kind])
    names = [replay_folders(tmp_path, process)[kind].name for process in range(3)]
    require_all_processes(tmp_path, 3)
    require_all_processes(tmp_path, 4)
    said = f"of 3 processes, and this run has 2: {names[2]} would be forgotten. Start 3 processes"
    with pytest.raises(ValueError, match=said):
        require_all_processes(tmp_path, 2)
    with pytest.raises(ValueError, match=f"{names[1]}, {names[2]} would be forgotten"):
        require_all_processes(tmp_path, 1)


def test_other_folders_and_those_without_an_episode_are_nobodys(tmp_path):
    record(tmp_path / "replay")
    record(tmp_path / "replay-old")
    record(tmp_path / "videos-1")
    (tmp_path / "replay-1").mkdir()
    require_all_processes(tmp_path, 1)


def test_the_step_of_a_restart_is_the_last_that_was_recorded(tmp_path):
    assert restart_step(tmp_path) == 0
    record(tmp_path / "replay", 80)
    record(tmp_path / "demonstrations", 120)
    record(tmp_path / "replay-1", 300)
    assert (restart_step(tmp_path), restart_step(tmp_path, 1)) == (120, 300)


def test_a_folder_is_held_by_one_process_at_a_time(tmp_path):
    with (
        lock(tmp_path / "run"),
        pytest.raises(ValueError, match="another process trains in"),
        lock(tmp_path / "run"),
    ):
        pass
    with lock(tmp_path / "run"):
        pass

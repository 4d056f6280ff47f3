"""What all tests share: folders of their own, and a local AWS of their own, started on demand."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

_FOLDERS = pytest.StashKey[Path]()
# Proofs of exam questions move the clock by days; the others expect little but their own things.
FAMILIES = ("run", "lab", "teaching", "exam", "notebooks")
# The lab as opened for each family, by its folder.
_LABS: dict[str, object] = {}


def pytest_configure(config: pytest.Config) -> None:
    """Keep tests, and the notebooks they run, apart from the learner's own lab.

    In the environment, so that kernels and child processes inherit it; each worker has its own.
    """
    root = Path(tempfile.mkdtemp(prefix="labkit-tests-"))
    config.stash[_FOLDERS] = root
    for name in [name for name in os.environ if name.startswith("LABKIT_")]:
        del os.environ[name]
    os.environ["LABKIT_RUNTIME_DIR"] = str(root / "run")
    os.environ["LABKIT_HOME"] = str(root / "home")


def pytest_unconfigure(config: pytest.Config) -> None:
    """Stop the local AWS that the tests used, if they used one, and remove the folders."""
    root = config.stash.get(_FOLDERS, None)
    if root is None:
        return
    from labkit.localaws import process

    for family in FAMILIES:
        os.environ["LABKIT_RUNTIME_DIR"] = str(root / family)
        if process.state_path().exists():
            process.stop()
    shutil.rmtree(root, ignore_errors=True)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Give each family of tests a local AWS of its own: what one leaves behind is not another's."""
    os.environ["LABKIT_RUNTIME_DIR"] = str(item.config.stash[_FOLDERS] / _family(item.path))


def _family(path: Path) -> str:
    if path.suffix == ".ipynb":
        return "notebooks"
    return next((name for name in FAMILIES if path.name.startswith(f"test_{name}_")), "run")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put what takes long first, and tests with a local AWS inside the test process last.

    The first so that no worker is left alone with a notebook at the end. The last because such a
    local AWS bends moto for the rest of the process, and the order function's tests use it unbent.
    """

    def turn(item: pytest.Item) -> int:
        if "door" in getattr(item, "fixturenames", ()):
            return 2
        return 0 if item.path.suffix == ".ipynb" or item.path.name == "test_browser.py" else 1

    items.sort(key=turn)


@pytest.fixture(scope="module")
def lab():
    """The lab, opened on the local AWS of this family of tests."""
    import labkit
    from labkit.localaws import process

    where = os.environ["LABKIT_RUNTIME_DIR"]
    if where not in _LABS:
        # Should this process be killed, what it started does not stay for hours.
        process.ensure(idle_minutes=10)
        _LABS[where] = labkit.open(quiet=True)
    return _LABS[where]


@pytest.fixture
def pipeline(lab) -> Iterator[object]:
    """The lab with the whole pipeline in order, put right again after a test that broke it."""
    import labkit

    labkit.build(lab)
    yield lab

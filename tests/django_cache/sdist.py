"""A package's source distribution, as pip downloads it: for reading and running its tests, never kept."""

from __future__ import annotations

import subprocess
import sys
import tarfile
from pathlib import Path


class NotDownloaded(Exception):
    """pip did not get it; the message has its last words."""


def unpacked(name: str, version: str, folder: Path) -> Path:
    """The folder of the package's sources.

    Raises:
        NotDownloaded: without a network, for one.
    """
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--retries", "1",
           "--no-deps", "--no-binary", ":all:", "--dest", str(folder), f"{name}=={version}"]
    got = subprocess.run(pip, capture_output=True, text=True, check=False)
    archives = list(folder.glob("*.tar.gz"))
    if got.returncode or len(archives) != 1:
        last = (got.stderr.strip().splitlines() or ["it said nothing"])[-1]
        raise NotDownloaded(f"pip did not download the sources of {name} {version}: {last}")
    with tarfile.open(archives[0]) as archive:
        archive.extractall(folder, filter="data")
    return next(path for path in folder.iterdir() if path.is_dir())

"""The folder that a run on plain files leaves."""

import shutil
import uuid
from pathlib import Path

import fsspec

from warehouse.errors import CaravanError


class Output:
    """A folder that appears complete or not at all. A URL is written in place, report.json last.

    Raises CaravanError where the folder exists and may not be replaced.
    """

    def __init__(self, path: str, overwrite: bool) -> None:
        self.local = "://" not in path
        self.path = str(Path(path).absolute()) if self.local else path.rstrip("/")
        if self.local and Path(self.path).exists() and not overwrite:
            raise CaravanError(f"{path} exists already. Give another --output, or --overwrite to replace it.")
        self.folder = f"{self.path}.{uuid.uuid4().hex[:8]}.partial" if self.local else self.path
        self.staging, self.clean, self.evidence = (f"{self.folder}/{name}" for name in ("staging", "clean", "evidence"))
        for folder in (self.staging, self.clean):
            fs, name = fsspec.core.url_to_fs(folder)
            fs.makedirs(name, exist_ok=True)

    def put(self, name: str, text: str) -> None:
        """Write a small file."""
        with fsspec.open(f"{self.folder}/{name}", "w", encoding="utf-8") as stream:
            stream.write(text)

    def publish(self) -> None:
        """Let the folder appear."""
        fs, staging = fsspec.core.url_to_fs(self.staging)
        fs.rm(staging, recursive=True)
        if self.local:
            if Path(self.path).exists():
                shutil.rmtree(self.path)
            Path(self.folder).rename(self.path)

    def discard(self) -> None:
        """Remove what was not published."""
        if self.local and Path(self.folder).exists():
            shutil.rmtree(self.folder)

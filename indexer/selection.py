"""Selection of the files that a run looks at; for every other file, the ledger names the option that leaves it out."""

import os
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from pathlib import Path

from simquery.indexer.evidence import EvidenceFile
from simquery.indexer.texts import fitting

__all__ = ["Selection"]


@dataclass(frozen=True)
class Selection:
    """The files that the options of a run select.

    Attributes
    ----------
    folders
        The evidence folders; patterns are relative to them.
    include
        Patterns, one of which a file must match; without any, every file does. ``*`` also matches ``/``; case does not
        matter.
    exclude
        Patterns that a file must not match.
    part, parts
        This run takes part ``part`` (from 1) of ``parts``. The path alone decides which part a file belongs to, so
        machines can share a folder without knowing of each other. Files of other parts are not recorded.
    """

    folders: tuple[Path, ...] = ()
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    part: int = 1
    parts: int = 1

    def of(self, files: Iterable[EvidenceFile]) -> Iterator[EvidenceFile]:
        """Yield the files of this run's part; files that an option leaves out are marked as skipped."""
        for file in files:
            if self._is_ours(file.path):
                rule = None if file.skipped or file.unreadable else self._rule(file.path)
                yield file if rule is None else replace(file, skipped=f"left out by {rule}", rule=rule)

    def _is_ours(self, path: Path) -> bool:
        return self.parts == 1 or zlib.crc32(os.fsencode(path)) % self.parts == self.part - 1

    def _rule(self, path: Path) -> str | None:
        if not self.include and not self.exclude:
            return None
        text = self._relative(path).lower()
        for pattern in self.exclude:
            if fnmatchcase(text, pattern.lower()):
                return fitting(f"--exclude {pattern}")
        if self.include and not any(fnmatchcase(text, pattern.lower()) for pattern in self.include):
            return fitting(f"--include {' '.join(self.include)}")
        return None

    def _relative(self, path: Path) -> str:
        folder = next((folder for folder in self.folders if path.is_relative_to(folder)), None)
        return str(path.relative_to(folder)) if folder else str(path)

"""Options of a run: what it stores besides embeddings, and which files it leaves out."""

from dataclasses import dataclass

__all__ = ["Details"]


@dataclass(frozen=True)
class Details:
    """Options of a run.

    Attributes
    ----------
    thumbnails
        Store a small JPEG with each picture.
    label_folders
        Label each picture with the name of the folder that holds it.
    min_side
        Leave out pictures whose shorter side has fewer pixels (icons).
    large_minutes
        Time limit for hashing all files larger than `simquery.indexer.hashing.LARGE_BYTES` together.
    """

    thumbnails: bool = False
    label_folders: bool = False
    min_side: int = 0
    large_minutes: float = 10.0

    @property
    def small_rule(self) -> str:
        """The option that leaves out small pictures."""
        return f"--min-size {self.min_side}"

    @property
    def large_rule(self) -> str:
        """The option that leaves out files whose hashing takes too long."""
        return f"--large-minutes {self.large_minutes:g}"

    @property
    def rules(self) -> tuple[str, ...]:
        """All options that leave files out by their content; a run without them looks at those files again."""
        return (self.small_rule, self.large_rule)

"""A running R that fits on request, one line per question and answer."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from types import TracebackType

from alliance_outcome.errors import AllianceOutcomeError

#: What ``benchmark_engine.R`` tells of itself.
ENGINE_VERSIONS = ("R", "lme4", "linear algebra of R")


class NotAvailable(AllianceOutcomeError):
    """A contestant is not installed; the message says what is missing."""


class BenchmarkFailed(AllianceOutcomeError):
    """A contestant that is installed did not finish; the message is its own, about simulated data."""


class RProcess:
    """An R process, driven through its standard input and output.

    Parameters
    ----------
    script : Path
        A script that reads commands, such as ``benchmark_engine.R``.
    versioned : tuple of str
        Names of the versions that it tells at first.

    Attributes
    ----------
    versions : dict of str
        By name.
    library_seconds : float
        Time to load R's packages.

    Raises
    ------
    NotAvailable
        If there is no Rscript, or R lacks a package.
    """

    def __init__(self, script: Path, versioned: tuple[str, ...] = ENGINE_VERSIONS) -> None:
        program = shutil.which("Rscript")
        if program is None:
            raise NotAvailable("Rscript was not found")
        self._process = subprocess.Popen(  # noqa: S603 - our own script
            [program, "--vanilla", str(script)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        try:
            seconds, *versions = self._answer()
        except AllianceOutcomeError:
            self.close()
            raise
        self.library_seconds = float(seconds)
        self.versions = dict(zip(versioned, versions, strict=True))

    def ask(self, *words: object) -> list[str]:
        """Send a command and wait for its answer.

        Parameters
        ----------
        *words : object
            Command and arguments, none with a tabulator.

        Returns
        -------
        list of str
            Fields of the answer.

        Raises
        ------
        BenchmarkFailed
            If R reports an error or ends.
        """
        self._process.stdin.write("\t".join(map(str, words)) + "\n")
        self._process.stdin.flush()
        return self._answer()

    def _answer(self) -> list[str]:
        kind, *fields = self._process.stdout.readline().rstrip("\n").split("\t")
        if kind == "missing":
            raise NotAvailable(f"R has no package {fields[0]}")
        if kind != "done":
            raise BenchmarkFailed(f"R stopped: {' '.join(fields) or 'without a word'}")
        return fields

    def close(self) -> None:
        """End the process."""
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()

    def __enter__(self) -> RProcess:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

"""Find a Java that Spark can use, or fetch one.

Run as: python -m warehouse.java        (prints the Java home; fetches a runtime where the machine has none)
"""

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

from warehouse.errors import CaravanError, run

OLDEST = 17
FETCHED = Path("~/.jre")  # where install-jdk puts runtimes: outside any checkout, so that one download serves them all
ADVICE = (
    f"Spark needs Java {OLDEST} or newer, none was found in JAVA_HOME, on PATH or in {FETCHED}, and fetching one failed "
    "({reason}): install openjdk-17-jre-headless (Debian 12, Ubuntu), openjdk-21-jre-headless (Debian 13), "
    "java-17-openjdk-headless (Fedora) or openjdk@17 (macOS, with brew), then run the same command again."
)


def ensure_java() -> None:
    """Set JAVA_HOME of this process to a Java of version 17 or newer.

    Takes the first that is good enough of JAVA_HOME, `java` on PATH and the runtimes under ~/.jre; fetches one into ~/.jre otherwise.
    Raises CaravanError when there is none and none can be fetched.
    """
    home = next((home for home in candidates() if version(home) >= OLDEST), None)
    os.environ["JAVA_HOME"] = str(home or fetch())


def candidates() -> Iterator[Path]:
    """Java homes worth asking, best first; not all of them need exist."""
    if os.environ.get("JAVA_HOME"):
        yield Path(os.environ["JAVA_HOME"])
    if on_path := shutil.which("java"):
        yield Path(on_path).resolve().parent.parent
    yield from fetched()


def fetched() -> list[Path]:
    """Java homes under ~/.jre, newest name first. On macOS the home lies inside a bundle."""
    folder = FETCHED.expanduser()
    return sorted(
        (p.parent.parent for pattern in ("*/bin/java", "*/Contents/Home/bin/java") for p in folder.glob(pattern)),
        reverse=True,
    )


def version(home: Path) -> int:
    """Major version of the Java at `home`; 0 where there is none that runs."""
    try:
        answer = subprocess.run(
            [home / "bin" / "java", "-version"], capture_output=True, text=True, timeout=60, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return 0
    # Java 8 and older call themselves 1.8; other lines may come before (JAVA_TOOL_OPTIONS is announced).
    found = re.search(r'version "(?:1\.)?(\d+)', answer.stderr)
    return int(found[1]) if found and answer.returncode == 0 else 0


def fetch() -> Path:
    """Download a runtime into ~/.jre and return its home."""
    import jdk

    print(f"no Java {OLDEST} or newer here: fetching a runtime into {FETCHED}", flush=True)
    try:
        jdk.install(str(OLDEST), jre=True)
    except Exception as error:  # install-jdk lets urllib's, tarfile's and its own errors through
        raise CaravanError(ADVICE.format(reason=error or type(error).__name__)) from error
    good = next((home for home in fetched() if version(home) >= OLDEST), None)
    if good is None:
        raise CaravanError(ADVICE.format(reason="the download does not run on this machine"))
    return good


def main() -> None:
    ensure_java()
    print(os.environ["JAVA_HOME"])


if __name__ == "__main__":
    run(main)

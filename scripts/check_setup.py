"""Says what is missing before set-up starts, in one line each. Runs on any Python 3."""

import shutil
import sys


def missing():  # noqa: ANN201 - must be readable by a Python without annotations' names
    """Returns a message for each thing that set-up needs and doesn't find."""
    faults = []
    found = ".".join(str(part) for part in sys.version_info[:2])
    if tuple(sys.version_info[:2]) not in ((3, 11), (3, 12)):
        faults.append(
            "Python 3.11 or 3.12 is needed (the carla wheel has no other), found " + found + ": make PYTHON=python3.11"
        )
    try:
        import ensurepip  # noqa: F401
        import venv  # noqa: F401
    except ImportError:
        faults.append("Python's venv module is missing: apt install python" + found + "-venv")
    if shutil.which("cargo") is None:
        faults.append("cargo is missing: install a Rust toolchain (1.88 or later) with rustup")
    if shutil.which("cc") is None:
        faults.append("a C linker is missing: apt install gcc")
    if not sys.platform.startswith("linux"):
        faults.append("Linux is needed, found " + sys.platform)
    return faults


if __name__ == "__main__":
    for fault in missing():
        sys.stderr.write("error: " + fault + "\n")
    sys.exit(1 if missing() else 0)

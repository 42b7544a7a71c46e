"""Says what is missing before set-up starts, in one line each. Runs on any Python 3."""

import shutil
import sys


def missing():
    """Returns a message for each thing that set-up needs and doesn't find."""
    found = "%d.%d" % sys.version_info[:2]
    if sys.version_info[:2] not in ((3, 11), (3, 12)):
        yield f"Python 3.11 or 3.12 is needed (the carla wheel has no other), found {found}: make PYTHON=python3.11"
    try:
        import ensurepip  # noqa: F401
        import venv  # noqa: F401
    except ImportError:
        yield f"Python's venv module is missing: apt install python{found}-venv"
    if shutil.which("cargo") is None:
        yield "cargo is missing: install a Rust toolchain (1.88 or later) from rustup.rs"
    if shutil.which("cc") is None:
        yield "a C linker is missing: apt install gcc"
    if not sys.platform.startswith("linux"):
        yield f"Linux is needed, found {sys.platform}"


if __name__ == "__main__":
    faults = list(missing())
    for fault in faults:
        print(f"error: {fault}", file=sys.stderr)
    sys.exit(1 if faults else 0)

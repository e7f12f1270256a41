"""``python -m p2p`` is ``remora``."""

from p2p.cli import main

if __name__ == "__main__":
    main(prog_name="remora")

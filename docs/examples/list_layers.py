"""List the layers of an image for each platform, and which of them the platforms share.

    python list_layers.py docker.io/library/alpine:3.20

It has no trio in it: ``p2p.blocking`` is the same toolkit for programs that block.
"""

from __future__ import annotations

import sys
from collections import Counter

from p2p import RemoraError, blocking


def main(image: str) -> None:
    """Inspect the image and print its layers."""
    with blocking.Client() as client:
        found = client.inspect(image)
    used = Counter(layer.digest for part in found.parts for layer in part.layers)
    print(f"{image} is {found.digest}")
    for part in found.parts:
        print(f"\n{part.platform or 'no platform'}: {part.size} bytes")
        for layer in part.layers:
            shared = f"  shared by {used[layer.digest]}" if used[layer.digest] > 1 else ""
            print(f"  {layer.digest}  {layer.size:>12}{shared}")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    try:
        main(sys.argv[1])
    except RemoraError as error:
        sys.exit(str(error))

"""What a worker process is started with: `python -I start.py DESCRIPTOR PARENT FILE VERSION`.

It loads the package around it by path, under a name of its own, so that nothing of ours is on the customer's
`sys.path`.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from pathlib import Path

NAME = "pointsman_guest"


def main() -> None:
    """Become a worker."""
    here = Path(__file__).parent
    spec = importlib.util.spec_from_file_location(NAME, here / "__init__.py", submodule_search_locations=[str(here)])
    if spec is None or spec.loader is None:
        raise ImportError(NAME)
    package = importlib.util.module_from_spec(spec)
    sys.modules[NAME] = package
    spec.loader.exec_module(package)
    importlib.import_module(f"{NAME}.worker").main(sys.argv[1:])


if __name__ == "__main__":
    main()

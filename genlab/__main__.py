"""`python -m genlab`, for `torchrun -m genlab`."""

import os
import sys
from pathlib import Path

if sys.path[0] == os.getcwd() != str(Path(__file__).parents[1]):  # put there by `python -m`
    sys.path.append(sys.path.pop(0))  # last, so that a file attacks.py in the working folder hides no package

from genlab.cli.main import main  # noqa: E402

sys.exit(main())

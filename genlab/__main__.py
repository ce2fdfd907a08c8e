"""`python -m genlab`, for `torchrun -m genlab`."""

import os
import sys
from pathlib import Path

HOME = str(Path(__file__).parents[1])  # of an editable install it is not on the path
if sys.path[0] == os.getcwd() != HOME:  # put there by `python -m`
    sys.path += [HOME, sys.path.pop(0)]  # last, so that a file attacks.py in the working folder hides no package

from genlab.cli.main import main  # noqa: E402

sys.exit(main())

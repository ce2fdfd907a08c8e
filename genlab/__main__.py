"""`python -m genlab`, for `torchrun -m genlab`."""

import sys

from genlab.cli.main import main

sys.exit(main())

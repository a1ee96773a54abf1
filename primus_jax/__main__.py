"""`python -m primus_jax` is `primus-jax`."""

import sys

from primus_jax.cli import main

sys.exit(main())

"""One thread for linear algebra, as in the workflow: quicker for small matrices, and two processes share the cores."""

import os

for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"):
    os.environ.setdefault(name, "1")

"""Versions this server reports.

`SERVER` answers `/version` in the 3.x era and `Status.version` later: three plain integers, because
clients parse them. `LEGACY` is what the 0.4 era reports.
Source: reference contract, v3-api section 2; v2-api section 5.
"""

SERVER = "3.6.0"
CLUSTER = "3.6.0"
LEGACY = "0.4.6"
"""The release whose client-visible behaviour the 0.4 era reproduces."""

DATA_FORMAT = 1
"""Format of everything under the data directory; a different number is refused at start."""

"""Counters of the tree, as `/v2/stats/store` shows them.

They count since the process started: writes wherever they are applied, reads where they are asked.
Source: v2-api section 5.
"""

from msgspec import Struct

from kvorum.structs import Untracked


class StoreStats(Struct, rename="camel"):
    """How often each operation succeeded and failed; the order of fields is that of the reply."""

    gets_success: int = 0
    gets_fail: int = 0
    sets_success: int = 0
    sets_fail: int = 0
    delete_success: int = 0
    delete_fail: int = 0
    update_success: int = 0
    update_fail: int = 0
    create_success: int = 0
    create_fail: int = 0
    compare_and_swap_success: int = 0
    compare_and_swap_fail: int = 0
    compare_and_delete_success: int = 0
    compare_and_delete_fail: int = 0
    expire_count: int = 0
    watchers: int = 0


class Tally(Untracked):
    """How often one operation succeeded and failed."""

    success: int = 0
    fail: int = 0

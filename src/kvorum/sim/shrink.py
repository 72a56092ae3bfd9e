"""The smallest run that still fails: fewer kinds of fault, fewer clients, less time.

Each attempt leaves something out and runs the seed again; what still fails, whatever rule it then
breaks, is where the next attempt begins. Kinds of fault and clients draw for themselves, so leaving
one out changes no other; what the cluster makes of the rest may differ, so nothing is certain.

The caller: `shrink` with a seed and options that fail.
"""

from collections.abc import Callable, Iterator
from math import ceil

from msgspec.structs import replace

from kvorum.sim.chance import Chance
from kvorum.sim.faults import draw_kinds
from kvorum.sim.run import Options, Report, run

Tell = Callable[[str], object]


def shrink(seed: int, options: Options, report: Report, tell: Tell) -> tuple[Options, Report]:
    """Makes a failing run smaller until nothing more can be left out.

    Args:
        seed: it fails.
        options: with these.
        report: in this way.
        tell: gets a line for each step that was found.

    Returns:
        The smallest options that still fail, and how.
    """
    is_smaller = True
    while is_smaller:
        is_smaller = False
        for what, smaller in _attempts(seed, options, report):
            told = run(seed, smaller)
            if told.violation is not None:
                tell(f"seed {seed} still fails {what}: {told.violation.splitlines()[0]}")
                options, report, is_smaller = smaller, told, True
                break
    return options, report


def _attempts(seed: int, options: Options, report: Report) -> Iterator[tuple[str, Options]]:
    """What may be left out, the most promising first."""
    drawn = draw_kinds(Chance(seed).child("rates"), options.faults)
    if drawn != options.faults:
        yield "without what it never had", replace(options, faults=drawn)
        return
    reached = float(ceil(report.seconds))
    if reached < options.seconds:
        yield f"with {reached:g} s", replace(options, seconds=reached)
    if len(drawn) > 1:
        middle = len(drawn) // 2
        yield "with half of the faults", replace(options, faults=drawn[:middle])
        yield "with the other half", replace(options, faults=drawn[middle:])
    for kind in drawn:
        rest = tuple(one for one in drawn if one != kind)
        yield f"without {kind}", replace(options, faults=rest)
    if options.watchers:
        yield "without watchers", replace(options, watchers=0)
    if options.callers:
        yield "without callers", replace(options, callers=0)
    for clients in (0, 1, 2, 4):
        if clients < options.clients:
            yield f"with {clients} clients", replace(options, clients=clients)
    if options.seconds > 1:
        seconds = float(ceil(options.seconds * 0.7))
        if seconds < options.seconds:
            yield f"with {seconds:g} s", replace(options, seconds=seconds)

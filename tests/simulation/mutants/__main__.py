"""`python -m tests.simulation.mutants SEEDS [FIRST]`: how soon each deliberate bug is found."""

from __future__ import annotations

from functools import partial
from math import ceil, log
from multiprocessing import get_context

import click

from tests.simulation.mutants import MUTANTS, seeds_that_find


def median_of(found: int, seeds: int) -> str:
    """How many seeds find a bug in half of all tries: where a share p of them does, ln(1/2) / ln(1 - p).

    Where none does, all that is known is that it takes more than so many, most likely.
    """
    if not found:
        return f"more than {seeds // 2}"
    share = found / seeds
    return "1" if share >= 0.5 else str(ceil(log(0.5) / log(1 - share)))


@click.command()
@click.argument("seeds", type=click.IntRange(1), default=60)
@click.option("--first", type=int, default=0, show_default=True, help="The first of the seeds.")
@click.option("--workers", type=click.IntRange(1), default=1, show_default=True, help="Processes.")
@click.option("--name", "names", multiple=True, help="This one alone; may be given several times.")
def main(seeds: int, first: int, workers: int, names: tuple[str, ...]) -> None:
    """Print the table of the README: by which seed each mutant is found first, by how many, and the median."""
    print(f"| mutant | first seed | found by, of {seeds} | median |\n|---|---|---|---|")
    with get_context("spawn").Pool(workers) as pool:
        # A process of its own does not import this module, so it is sent a function of another one.
        work = partial(seeds_that_find, seeds=range(first, first + seeds))
        tried = names or tuple(MUTANTS)
        for name, found in zip(tried, pool.imap(work, tried), strict=True):
            median = median_of(len(found), seeds)
            print(f"| `{name}` | {found[0] if found else 'none'} | {len(found)} | {median} |", flush=True)


if __name__ == "__main__":
    main()

"""``python -m bench NAME [OPTIONS]``; ``--help`` lists the names, ``NAME --help`` the options."""

import click

from bench.latency import latency


@click.group(context_settings={"help_option_names": ["-h", "--help"], "show_default": True})
def main() -> None:
    """Measure djactors. Every run prints a table and writes JSON and a plot to bench/out."""


main.add_command(latency)

if __name__ == "__main__":
    main(prog_name="python -m bench")

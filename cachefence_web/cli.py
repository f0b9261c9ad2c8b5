"""The command `cachefence-web`: it finds out what is installed, and hands over to the commands."""

import sys
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from typing import TYPE_CHECKING, Annotated

if TYPE_CHECKING:
    import typer

NEEDS = ("h11", "httpx", "rich", "typer")
COULD_NOT_RUN = 2


def main() -> None:
    """Run the command line; without the packages it stands on, say which extra has them and exit with 2."""
    missing = [name for name in NEEDS if find_spec(name) is None]
    if missing:
        sys.stderr.write(
            f"cachefence-web: the command line needs {', '.join(missing)}, which the library does not. "
            'Install the extra, in a clone of the repository: pip install -e ".[demo]"\n'
        )
        raise SystemExit(COULD_NOT_RUN)
    application()()


def application() -> "typer.Typer":
    """All commands."""
    import typer

    from cachefence_web.demo.command import demo

    def show_version(asked: bool) -> None:
        if asked:
            typer.echo(f"cachefence-web {installed_version()}")
            raise typer.Exit

    def start(
        context: typer.Context,
        _: Annotated[
            bool, typer.Option("--version", callback=show_version, is_eager=True, help="Show the version.")
        ] = False,
    ) -> None:
        context.obj = installed_version()

    app = typer.Typer(
        no_args_is_help=True, rich_markup_mode="rich", pretty_exceptions_enable=False, add_completion=False
    )
    app.callback(help="A cache that never stampedes, and never serves what a save has made untrue.")(start)
    app.command()(demo)
    return app


def installed_version() -> str:
    """The installed distribution's version; a checkout that was never installed has none."""
    try:
        return version("cachefence-web")
    except PackageNotFoundError:
        return "(not installed)"


if __name__ == "__main__":
    main()

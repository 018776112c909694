"""An exchange and clearing house in a box: was every debt made zero, and who paid for it?"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from zerodebt.scenarios.runner import Result, run

__version__ = "0.1.0"
__all__ = ["Result", "__version__", "run"]


def __getattr__(name: str) -> Any:
    """`run` and `Result` are imported when they are asked for: `zerodebt --help` needs neither."""
    if name in ("run", "Result"):
        from zerodebt.scenarios import runner

        return getattr(runner, name)
    raise AttributeError(f"module 'zerodebt' has no attribute {name!r}")

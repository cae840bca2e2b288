"""Functions of expressions, one module per library; each is a tuple of overloads."""

from __future__ import annotations

from timonel.api.cel.library.authorization import AUTHORIZATION
from timonel.api.cel.library.conversions import CONVERSIONS
from timonel.api.cel.library.formats import FORMATS
from timonel.api.cel.library.formatting import FORMATTING
from timonel.api.cel.library.lists import LISTS
from timonel.api.cel.library.network import NETWORK
from timonel.api.cel.library.operators import OPERATORS
from timonel.api.cel.library.optionals import OPTIONALS
from timonel.api.cel.library.quantities import QUANTITIES
from timonel.api.cel.library.regexes import REGEXES
from timonel.api.cel.library.semvers import SEMVERS
from timonel.api.cel.library.strings import STRINGS
from timonel.api.cel.library.times import TIMES
from timonel.api.cel.library.urls import URLS
from timonel.api.cel.overloads import Overload


def everywhere() -> tuple[Overload, ...]:
    """What every expression in Kubernetes can call."""
    libraries = (
        OPERATORS, CONVERSIONS, STRINGS, REGEXES, TIMES, URLS, LISTS, AUTHORIZATION, OPTIONALS, QUANTITIES, FORMATTING,
        NETWORK, FORMATS, SEMVERS,
    )  # fmt: skip
    return tuple(overload for library in libraries for overload in library)

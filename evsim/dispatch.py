"""Verbs whose body is chosen by the class of their first argument.

A verb is declared once as a stub and implemented once per class of parameters. Compiled
code resolves it while compiling, so a loop over one class pays nothing and is cached on
disk; with compilation switched off the same verbs run as ordinary Python.
"""

from __future__ import annotations

from functools import singledispatch, wraps

from numba.core.registry import cpu_target
from numba.extending import overload

from evsim.jit import OPTIONS

#: Verbs dissolve in the loops that call them, or nothing would be vectorised.
INLINE = {**OPTIONS, "forceinline": True}


def generic(stub, default=None):
    """Make `stub` a verb; `verb.implement(cls)` decorates its body for one class.

    `default` is a function that stands in for classes without a body of their own.
    """
    table = singledispatch(default or stub)

    @wraps(stub)
    def verb(*args):
        return table(*args)

    if default is not None:

        def otherwise(params, *rest):
            cls = getattr(params, "instance_class", None)
            return default if cls is not None and cls not in table.registry else None

        overload(verb, strict=False, jit_options=INLINE)(otherwise)

    def implement(cls):
        def bind(body):
            def choose(params, *rest):
                return body if getattr(params, "instance_class", None) is cls else None

            overload(verb, strict=False, jit_options=INLINE)(choose)
            table.register(cls, body)
            # Or Numba would learn of it in the middle of typing the first kernel that asks.
            cpu_target.typing_context.refresh()
            return body

        return bind

    verb.implement = implement  # type: ignore[attr-defined]
    return verb

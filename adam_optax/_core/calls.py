"""Parse calls from text, such as `pair(block=128)`, which are read and never executed."""

import ast
from typing import Any

_LONGEST = 1000
"""Characters of a call, at most."""


def parse_call(text: str) -> tuple[str, list[Any], dict[str, Any]]:
    """Return the name, the positional and the keyword arguments of a call; a bare name has none.

    Raises:
        ValueError: if the text is neither a name nor a call of a name with literal arguments, or is
            long.

    >>> parse_call("pair(3, block=128)")
    ('pair', [3], {'block': 128})
    """
    if len(text) > _LONGEST:  # Python's own parser may crash on nested text of any length
        raise ValueError(f"it has {len(text)} characters")
    try:
        node = ast.parse(text.strip(), mode="eval").body
        call = node if isinstance(node, ast.Call) else ast.Call(node, [], [])
        positional = [ast.literal_eval(x) for x in call.args]
        named = {str(k.arg): ast.literal_eval(k.value) for k in call.keywords}
    except (SyntaxError, ValueError, TypeError, RecursionError) as error:
        raise ValueError(str(error)) from error
    return call.func.id if isinstance(call.func, ast.Name) else "", positional, named

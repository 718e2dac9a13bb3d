"""The child's side of a stage: items in on standard input, answers out, one JSON line each."""

import json
import os
import sys
from collections.abc import Callable
from typing import Any

Measure = Callable[[str, dict[str, Any]], dict[str, Any]]


def serve(measure: Measure) -> None:
    """Answers every item until standard input ends.

    What libraries print goes to standard error, so that nothing but answers leaves by standard
    output. An item that raises is answered with the reason, and the next one is waited for.

    Args:
        measure: (item, options) -> what goes into the results.
    """
    options = json.loads(sys.argv[1])
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    for line in sys.stdin:
        item = json.loads(line)
        print(f"--- {item}", file=sys.stderr, flush=True)
        try:
            answer = measure(item, options)
        except Exception as error:
            text = " ".join(str(error).split())[:500]
            answer = {"status": f"failed: {type(error).__name__}: {text}"}
        print(json.dumps(answer), file=answers, flush=True)

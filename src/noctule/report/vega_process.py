"""A process in which Vega's JavaScript runs, as a program of its own.

The engine, V8, ends the process it runs in when memory is refused to it: this one, then, and
not the user's. It imports nothing of noctule.
"""

import pickle
import sys

import vl_convert


def main() -> None:
    """Answer calls of functions of `vl_convert`, until there are no more."""
    while True:
        try:
            name, arguments, options = pickle.load(sys.stdin.buffer)
        except EOFError:
            return
        try:
            answer = getattr(vl_convert, name)(*arguments, **options)
        except Exception as error:
            answer = error
        pickle.dump(answer, sys.stdout.buffer)
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()

"""A program that runs Vega's JavaScript in a process of its own.

The engine, V8, ends its process when it runs out of memory: this one, and not the user's. The
program imports nothing of noctule.
"""

import pickle
import sys

import vl_convert


def main() -> None:
    """Answer calls of functions of `vl_convert` until the input ends."""
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

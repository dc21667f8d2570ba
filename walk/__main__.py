"""`python -m walk` is `walk`."""

from walk.cli import run

if __name__ == "__main__":
    run()

"""`python -m walk` is `walk`."""

from walk.cli import process

if __name__ == "__main__":
    process()

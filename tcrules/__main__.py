"""`python -m tcrules` is the command `tcrules`."""

from tcrules.cli.main import main

if __name__ == "__main__":
    main()

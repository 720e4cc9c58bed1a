"""`python -m cloud` is `cornerloop`."""

from cloud.cli import main

if __name__ == "__main__":
    main()

"""Fixtures of more than one suite."""

from tests.integration_fixtures import label_studio_server

__all__ = ["label_studio_server"]

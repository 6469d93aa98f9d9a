"""The pages, one module for each. This list is all that the inspector serves."""

from __future__ import annotations

from ..page import Page
from . import account, agents, controls, journal, sandbox, sandboxes

#: The pages. The navigation has those that are sections, in this order.
PAGES: tuple[Page, ...] = (sandboxes.PAGE, journal.PAGE, *sandbox.PAGES, agents.PAGE, *controls.PAGES, account.PAGE)

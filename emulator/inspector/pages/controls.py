"""What is set up: faults, stubs, replies of agents, the clock and money. One page for each, with tabs between them."""

from __future__ import annotations

from ..page import Page
from . import controls_clock, controls_faults, controls_replies, controls_stubs

#: The pages. The first one is that of the navigation.
PAGES: tuple[Page, ...] = (
    controls_faults.PAGE,
    controls_stubs.PAGE,
    controls_replies.PAGE,
    controls_clock.PAGE,
)

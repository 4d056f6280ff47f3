"""What can go wrong in the lab itself, said so that the learner knows what to do next."""

from __future__ import annotations


class LabError(Exception):
    """The lab cannot go on; the message says why and what to do next.

    An error that AWS answered is never wrapped in this: notebooks are there to show those.
    """

"""A source whose hits may share an id, as one that gives every id once."""

from __future__ import annotations

import numpy as np

from commonscale.core.around import SiftingSource
from commonscale.core.treatments import first_of_each
from commonscale.core.types import Candidates


class DistinctSource(SiftingSource):
    """Keeps the best hit of every id, where ``id_key`` names what several documents belong to (chunks of a page).

    The source is searched deeper until ``k`` ids are found or no document is left, so the chunks of one page
    never starve the others.
    """

    def sift(self, found: Candidates, k: int) -> Candidates:
        """Keep the best hit of every id."""
        places = first_of_each(found.ids, range(len(found.ids)), k)
        payloads = found.payloads
        return Candidates(
            [found.ids[place] for place in places],
            found.cosines[np.array(places, dtype=np.intp)],
            None if payloads is None else [payloads[place] for place in places],
        )

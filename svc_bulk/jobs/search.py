"""Search re-index: the catalogue's search data, made again page by page, and then compared as a whole.

Making a page again changes nothing the second time, so neither walk needs a request id: a worker that takes over asks
for the page after the last one that was stored. The digests of a walk are chained in the operation's place.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
from dataclasses import asdict, dataclass, replace
from typing import Any

from mesh.seams import failpoint
from svc_bulk.errors import SearchDiffers
from svc_bulk.file.store import Format
from svc_bulk.jobs.table import CALL_SECONDS
from svc_bulk.operation.store import Step
from svc_bulk.operation.work import Work
from titan.catalog.v1 import search_service_pb2 as pb

PAGE_PRODUCTS = 50
MAX_ROUNDS = 3
RESULT = "search_reindex.csv"
COLUMNS = ("products", "rewritten", "stored_digest", "expected_digest")
_MAKE, _COMPARE, _WRITTEN = "make", "compare", "written"


@dataclass(frozen=True, slots=True)
class Place:
    """Where the operation is: in which walk of which round, after which page, and what the walk has come to so far."""

    walk: str = _MAKE
    round: int = 1
    token: str = ""
    products: int = 0
    rewritten: int = 0
    stored: str = ""
    expected: str = ""

    def write(self) -> str:
        """Return the place as it is stored."""
        return json.dumps(asdict(self))


class SearchReindex:
    """Makes search data again."""

    def __init__(self, search: Any) -> None:
        self._search = search

    async def run(self, work: Work) -> None:
        """Walk twice over all products, from wherever the last worker was.

        Raises:
            SearchDiffers: The data is another than it was made to be, each time.
        """
        at = Place(**json.loads(work.operation.place)) if work.operation.place else Place()
        position = work.operation.position
        while at.walk != _WRITTEN:
            with work.timed() as rest:
                at = await (self._make(work, at) if at.walk == _MAKE else self._compare(at))
                position += 1
                await failpoint("bulk.search.page_done")
                outputs = [(RESULT, Format.CSV, _result(at))] if at.walk == _WRITTEN else []
                await work.save(_step(position, at), outputs=outputs)
            await rest()

    async def _make(self, work: Work, at: Place) -> Place:
        request = pb.ReindexProductsRequest(
            language=work.job.search_reindex.language, page_size=PAGE_PRODUCTS, page_token=at.token
        )
        page = await self._search.ReindexProducts(request, timeout=CALL_SECONDS)
        after = replace(at, token=page.next_page_token, rewritten=at.rewritten + page.rewritten)
        return after if after.token else replace(after, walk=_COMPARE)

    async def _compare(self, at: Place) -> Place:
        page = await self._search.DigestSearch(
            pb.DigestSearchRequest(page_size=PAGE_PRODUCTS, page_token=at.token), timeout=CALL_SECONDS
        )
        if page.stored_digest != page.expected_digest:
            if at.round == MAX_ROUNDS:
                raise SearchDiffers(f"the search data was made again {MAX_ROUNDS} times, and is another each time")
            return Place(round=at.round + 1, rewritten=at.rewritten)
        after = replace(
            at,
            token=page.next_page_token,
            products=at.products + page.products,
            stored=_chained(at.stored, page.stored_digest),
            expected=_chained(at.expected, page.expected_digest),
        )
        return after if after.token else replace(after, walk=_WRITTEN)


def _chained(before: str, digest: bytes) -> str:
    return hashlib.sha256(bytes.fromhex(before) + digest).hexdigest()


def _step(position: int, at: Place) -> Step:
    done = at.walk == _WRITTEN
    return Step(
        position,
        at.write(),
        rows_done=at.products,
        rows_total=at.products if done else 0,
        updated=at.rewritten if done else 0,
        unchanged=max(0, at.products - at.rewritten) if done else 0,
    )


def _result(at: Place) -> bytes:
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(COLUMNS)
    writer.writerow((at.products, at.rewritten, at.stored, at.expected))
    return text.getvalue().encode()

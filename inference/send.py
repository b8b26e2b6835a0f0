"""The engine: many requests to many endpoints, each answered once, what is paid for never lost."""

import asyncio
import signal
import sys
import threading
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from itertools import count
from time import monotonic
from typing import Any

from inference import progress
from inference.clients import Trouble
from inference.journal import Journal
from inference.lanes import Closed, Lane, Place
from inference.limits import backoff
from inference.models import Card, find
from inference.request import Request, Response
from inference.spend import Budget, Exhausted, likely_tokens, needed, worst
from warehouse.errors import CaravanError

AHEAD = 4  # requests that are taken up for each that is in flight: one that has to wait is overtaken by those to other models
CHUNK, GATHER = 64, 0.02  # requests read at a time, at most, and seconds to wait for so many


@dataclass(frozen=True, kw_only=True)
class Sending:
    """How to send. `concurrency`: requests in flight over all endpoints. `budget`: US dollars that this run must not pass, None for no
    limit. `patience`: seconds for which a request that meets passing trouble is tried again. `timeout`: seconds to wait for an answer.
    `total`: how many requests there are, where it is known (for progress). `progress`: whether to show it."""

    concurrency: int = 64
    budget: float | None = None
    patience: float = 600.0
    timeout: float = 600.0
    total: int | None = None
    progress: bool = True


@dataclass(frozen=True)
class Summary:
    """What a run did. `answered` counts ok and refused, `failed` those that will not succeed; both are in the journal. `skipped` had an
    answer before. `unanswered` were read and got none: the next run asks them again. `in_doubt` were in flight when the run before was
    killed, and were asked again. `doubtful`: US dollars that attempts may have cost whose answer was lost, beside `spent`. `stopped`:
    "budget", "interrupted" or None where all requests were read. `notes`: sentences for the user."""

    answered: int = 0
    refused: int = 0
    failed: int = 0
    skipped: int = 0
    unanswered: int = 0
    in_doubt: int = 0
    retries: int = 0
    spent: float = 0.0
    doubtful: float = 0.0
    input_tokens: int = 0
    output_tokens: int = 0
    seconds: float = 0.0
    stopped: str | None = None
    notes: tuple[str, ...] = ()

    def __str__(self) -> str:
        counted = {"refused": self.refused, "failed": self.failed, "answered before": self.skipped}
        some = [f"{number:,} {word}" for word, number in counted.items() if number]
        tokens = f"{self.input_tokens:,} + {self.output_tokens:,} tokens"
        head = ", ".join([f"{self.answered:,} answered", *some, tokens, f"${self.spent:,.4f}"])
        return " ".join([f"{head}, in {progress.clock(self.seconds)}.", *self.notes])


def send(
    requests: Iterable[Request], cards: Mapping[str, Card], journal: Journal, how: Sending | None = None
) -> Summary:
    """Ask every request that the journal has no answer for; the answers are in the journal when this returns.

    `requests` is read as slots get free. Those that are in batches under way (inference/batches) are left to them. Ctrl-C once: nothing
    new is sent, what is in flight is waited for, and the summary says "interrupted"; twice: KeyboardInterrupt at once. Raises
    CaravanError, after the answers in flight came in, for what no retry mends: a missing or wrong key, an unknown model, a server that
    never answered, no price where a budget is given.
    """
    run = _Run(iter(requests), cards, journal, how or Sending())
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return run.here()
    # A notebook has a loop of its own in this thread.
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(run.here).result()


class _Run:
    def __init__(self, requests: Iterator[Request], cards: Mapping[str, Card], journal: Journal, how: Sending) -> None:
        self.requests, self.cards, self.journal, self.how = requests, cards, journal, how
        self.counts = progress.Counts()
        self.lanes: dict[str, Lane] = {}
        self.doing: set[str] = set()  # ids of the requests that were taken up and are not done
        self.tasks: set[asyncio.Task[None]] = set()
        self.waiting: set[asyncio.Task[None]] = set()  # those of the tasks that have nothing in flight
        self.ended: set[str] = set()  # ids of those whose last attempt is known to have brought no answer
        self.in_doubt = journal.in_doubt()
        self.asked_again = 0
        # Imported here because the engine of batches imports this module.
        from inference.batches import waiting

        self.in_batches = waiting(journal.folder)
        self.left_to_batches = 0
        self.stopped: str | None = None
        self.error: BaseException | None = None
        self.notes: list[str] = []

    def here(self) -> Summary:
        """Run in a loop of this thread."""
        main = threading.current_thread() is threading.main_thread()
        before = signal.getsignal(signal.SIGINT) if main else None
        try:
            return asyncio.run(self._run(main))
        except asyncio.CancelledError:
            raise KeyboardInterrupt from None
        finally:
            if main:
                signal.signal(signal.SIGINT, before)

    async def _run(self, main: bool) -> Summary:
        start = monotonic()
        # These belong to the loop that runs now.
        self.slots = asyncio.Semaphore(self.how.concurrency)
        self.window = asyncio.Semaphore(self.how.concurrency * AHEAD)
        self.budget = Budget(self.how.budget)
        self.halted = asyncio.Event()
        self.whole = asyncio.current_task()
        if main:
            asyncio.get_running_loop().add_signal_handler(signal.SIGINT, self._interrupt)
        shown = None
        if self.how.progress:
            show = progress.show(self.counts, lambda: self.budget.spent, self.how.total, self._trouble)
            shown = asyncio.create_task(show)
        try:
            await self._read()
            while self.tasks:
                await asyncio.wait(self.tasks)
        finally:
            for task in self.tasks:
                task.cancel()
            if shown:
                shown.cancel()
                with suppress(asyncio.CancelledError):
                    await shown
            for lane in self.lanes.values():
                for place in lane.places:
                    await place.endpoint.close()
            await self.journal.flushed()
        if self.error:
            raise self.error
        summary = self._summary(monotonic() - start)
        if self.how.progress:
            print(summary, file=sys.stderr, flush=True)
        return summary

    async def _read(self) -> None:
        """Take up requests as the window allows, until there are no more or the run is halted."""
        try:
            async for request in self._fed():
                if self.journal.answered(request.request_id) or request.request_id in self.doing:
                    self.counts.skipped += 1
                    continue
                if bytes.fromhex(request.request_id) in self.in_batches:
                    self.left_to_batches += 1
                    continue
                await self.window.acquire()
                if self.halted.is_set():
                    return
                self.doing.add(request.request_id)
                task = asyncio.create_task(self._one(request))
                self.tasks.add(task)
                self.waiting.add(task)
                task.add_done_callback(self.tasks.discard)
        except Exception as error:  # whatever it is, answers in flight come in first
            self._halt(error=error)

    async def _fed(self) -> AsyncIterator[Request]:
        """The requests, read in another thread because reading may take its time."""
        loop = asyncio.get_running_loop()
        halted = asyncio.create_task(self.halted.wait())
        try:
            while not self.halted.is_set():
                taking = asyncio.ensure_future(loop.run_in_executor(None, _take, self.requests))
                ends: set[asyncio.Future[Any]] = {taking, halted}
                await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
                if not taking.done():
                    return
                chunk, ended = taking.result()
                for request in chunk:
                    if self.halted.is_set():
                        return
                    yield request
                if ended:
                    return
        finally:
            halted.cancel()

    async def _one(self, request: Request) -> None:
        """See one request through."""
        done = False
        task = asyncio.current_task()
        assert task is not None
        try:
            done = await self._ask(request, task)
        except Exhausted:
            self._halt("budget")
        except Closed:
            self._give_up(self.lanes[request.model])
        except asyncio.CancelledError:
            if not self.halted.is_set():
                raise
        except Exception as error:
            self._halt(error=error)
        finally:
            self.counts.unanswered += not done
            self.waiting.discard(task)
            self.doing.discard(request.request_id)
            self.window.release()
            if request.request_id in self.ended:
                self.ended.discard(request.request_id)
                with suppress(CaravanError):  # on a full disk it stays in doubt
                    self.journal.give_up(request.request_id)

    async def _ask(self, request: Request, task: asyncio.Task[None]) -> bool:
        """Ask until there is an answer; False where patience ended."""
        lane = self._lane(request)
        most = needed(request, lane.card) if self.how.budget is not None else 0.0
        tokens = sum(likely_tokens(request, lane.card)) if lane.tokens else 0
        since = None
        for attempt in count(1):
            await self.budget.reserve(most)
            try:
                place = await lane.admit(tokens, self.slots)
                self.waiting.discard(task)
                try:
                    response = await self._attempt(place, request, attempt)
                finally:
                    place.in_flight -= 1
                    self.slots.release()
                lane.well(place)
                lane.used(tokens, (response.input_tokens or 0) + (response.output_tokens or 0))
                self._keep(response)
                if response.cost is None and response.content is not None:
                    self.budget.doubtful += most  # the server does not say what it used
                return True
            except Trouble as trouble:
                met = trouble
            finally:
                self.budget.release(most)
            lane.trouble(place, met)
            if not met.down:
                lane.used(tokens, 0)
            if met.charged:
                self.budget.doubtful += most or worst(request, lane.card) or 0.0
            now = monotonic()
            since = since or now
            wait = backoff(attempt, met.after)
            if lane.lost():
                raise Closed
            if self.halted.is_set() or now + wait > since + self.how.patience:
                return False
            if (left := lane.left()) > 0:
                wait = min(wait, left)  # a server that never answered is tried once more when patience ends
            self.counts.retries += 1
            self.waiting.add(task)
            await asyncio.sleep(wait)
        raise AssertionError("count has no end")

    async def _attempt(self, place: Place, request: Request, attempt: int) -> Response:
        if attempt == 1:
            self.journal.asked(request.request_id)
            self.asked_again += request.request_id in self.in_doubt
            await self.journal.flushed()
        self.ended.discard(request.request_id)
        try:
            return await place.endpoint.ask(request, attempt)
        except (Trouble, CaravanError):
            self.ended.add(request.request_id)
            raise

    def _keep(self, response: Response) -> None:
        self.journal.add(response)
        self.budget.spent += response.cost or 0.0
        counts = self.counts
        counts.answered += response.status != "failed"
        counts.refused += response.status == "refused"
        counts.failed += response.status == "failed"
        counts.input_tokens += response.input_tokens or 0
        counts.output_tokens += response.output_tokens or 0

    def _lane(self, request: Request) -> Lane:
        lane = self.lanes.get(request.model)
        if lane is None:
            card = find(self.cards, request.model)
            if card.provider != request.provider:
                raise CaravanError(
                    f"A request to '{card.name}' is for the protocol {request.provider}, its model card says {card.provider}."
                )
            lane = Lane(card, self.how.concurrency, self.how.timeout, self.how.patience)
            self.lanes[request.model] = lane
        return lane

    def _give_up(self, lane: Lane) -> None:
        """Nobody answers there any more: all requests of the lane stay unanswered."""
        if lane.closed or self.halted.is_set():
            return
        urls = ", ".join(place.endpoint.url for place in lane.places)
        lane.close()
        if not lane.reached:
            words = f"No server of '{lane.card.name}' answers at {urls} ({lane.words}). Start it, or put right urls in the model card."
            self._halt(error=CaravanError(words))
        else:
            self.notes.append(
                f"'{lane.card.name}' at {urls} gave nothing but trouble for {lane.patience:.0f} s and was given up ({lane.words}): run the same "
                "command again when it is well."
            )

    def _halt(self, why: str | None = None, error: BaseException | None = None) -> None:
        """Send nothing new; what is in flight comes to its end."""
        if not self.halted.is_set():
            self.stopped, self.error = why, error
            self.halted.set()
            for task in self.waiting:
                task.cancel()

    def _interrupt(self) -> None:
        """Ctrl-C."""
        if self.halted.is_set() and self.whole is not None:
            self.whole.cancel()
            return
        self._halt("interrupted")
        flying = sum(place.in_flight for lane in self.lanes.values() for place in lane.places)
        words = f"stopping: waiting for {flying:,} answers that are on their way. Ctrl-C again stops at once and loses these."
        print(words, file=sys.stderr, flush=True)

    def _trouble(self) -> str:
        return "; ".join(f"trying again: {lane.words}" for lane in self.lanes.values() if lane.troubled() > 2)

    def _summary(self, seconds: float) -> Summary:
        counts, budget, notes = self.counts, self.budget, self.notes
        if self.stopped == "budget":
            notes.append(
                f"Stopped: one more request could have passed the budget of ${self.how.budget:,.2f}. Give another budget and run the same "
                "command to go on."
            )
        if self.stopped == "interrupted":
            notes.append("Stopped by Ctrl-C: run the same command to go on.")
        if counts.unanswered:
            notes.append(f"{counts.unanswered:,} requests got no answer; the next run asks them again.")
        if self.left_to_batches:
            counts.unanswered += self.left_to_batches
            notes.append(
                f"{self.left_to_batches:,} are in batches under way, and paid there: a run with batches on this journal fetches them."
            )
        if budget.doubtful:
            notes.append(
                f"Up to ${budget.doubtful:,.4f} more may be charged for attempts whose answer was lost on the way, or did not say what it used."
            )
        if self.asked_again:
            notes.append(
                f"{self.asked_again:,} were in flight when the run before was killed and were asked again; a server that does not honour "
                "Idempotency-Key may charge for them twice."
            )
        return Summary(
            **vars(counts),
            in_doubt=self.asked_again,
            spent=budget.spent,
            doubtful=budget.doubtful,
            seconds=seconds,
            stopped=self.stopped,
            notes=tuple(notes),
        )


def _take(requests: Iterator[Request]) -> tuple[list[Request], bool]:
    """The next requests, and whether there are no more."""
    chunk: list[Request] = []
    end = monotonic() + GATHER
    for request in requests:
        chunk.append(request)
        if len(chunk) == CHUNK or monotonic() > end:
            return chunk, False
    return chunk, True

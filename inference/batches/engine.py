"""The engine of batches: cut, submit, look, fetch, and submit again what a batch left out."""

import signal
import threading
import time
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from inference import spend
from inference.batches import provider
from inference.batches.collect import Collected, collect, failed
from inference.batches.cut import Cutter, Key, Limits
from inference.batches.ledger import Chunk, Ledger, ids, lines
from inference.batches.provider import ERRORS, Batches, State, trouble
from inference.batches.watch import Watch
from inference.journal import Journal
from inference.models import Card, find
from inference.request import Request
from inference.scrub import scrub
from inference.send import Summary
from warehouse.errors import CaravanError

QUEUE_FULL = ("token_limit_exceeded", "request_limit_exceeded")  # OpenAI: too much waits already; later there is room


@dataclass(frozen=True)
class Batching:
    """How to run batches. `budget`: US dollars that this run must not pass, None for no limit. `requests_per_batch`: fewer than the
    provider allows. `at_once`: batches under way at a time. `attempts`: in how many batches a request may be that gets no answer.
    `pause`: seconds between two looks at the batches, the first and the longest. `settle`: seconds after which a batch that was made is
    sure to be in its provider's list. `patience`: seconds for which a provider may answer with nothing but errors. `total`: how many
    requests there are, where it is known (for progress). `progress`: whether to show it."""

    budget: float | None = None
    requests_per_batch: int | None = None
    at_once: int = 20
    attempts: int = 3
    pause: tuple[float, float] = (5.0, 300.0)
    settle: float = 30.0
    patience: float = 1800.0
    total: int | None = None
    progress: bool = True


class Engine:
    """One run: it ends when every request that it read has an answer or was given up for this time."""

    def __init__(self, source: Iterator[Request], cards: Mapping[str, Card], journal: Journal, how: Batching) -> None:
        self.source, self.cards, self.journal, self.how = source, cards, journal, how
        self.ledger = Ledger(journal.folder)
        self.cutter = Cutter(self.ledger, self._limits)
        self.watch = Watch(how.progress, how.total)
        self.found = Collected()
        self.ready: deque[Chunk] = deque()
        self.taken: set[bytes] = set()  # ids (16 bytes) of the requests that are or were in a chunk
        self.closed: dict[str, str] = {}  # models that are asked no more in this run, and why
        self.held: tuple[Request, Card, float | None] | None = None  # read, and too dear while others are under way
        self.exhausted = self.spent_up = False
        self.skipped = 0
        self.stop = threading.Event()
        self._apis: dict[tuple[str, str], Batches] = {}
        self._largest: dict[str, int] = {}  # requests a batch of a model that its provider's queue has room for
        self._failing: dict[str, float] = {}  # since when a URL answers with nothing but errors
        self._quiet: dict[str, float] = {}  # until when a URL wants no calls
        self._full: dict[str, float] = {}  # until when a URL's queue counts as full

    def run(self) -> Summary:
        begun = time.monotonic()
        under_way = self.ledger.recover()
        for chunk in under_way:
            self.taken.update(ids(self.ledger.path(chunk)))
        if under_way:
            self.watch.say(
                f"{len(under_way):,} batches with {len(self.taken):,} requests are under way from an earlier run"
            )
        pause = self.how.pause[0]
        try:
            with self._stoppable():
                while True:
                    moved = self._fill()
                    moved = self._look() or moved
                    waiting = self.ledger.under_way()
                    self.watch.show(waiting, self.found, self.skipped)
                    if self.stop.is_set() or not (waiting or self.ready or self._more()):
                        break
                    if not moved:
                        self.stop.wait(pause)
                    pause = self.how.pause[0] if moved else min(pause * 1.5, self.how.pause[1])
        finally:
            self.watch.close()
            self.ledger.close()
        if self.closed and not self.stop.is_set():
            raise CaravanError(" ".join(self.closed.values()) + f" All else is in the journal {self.journal.folder}.")
        return self._summary(time.monotonic() - begun)

    # --- reading, cutting, submitting ---

    def _more(self) -> bool:
        """Whether anything is left to read or to submit."""
        return not self.spent_up and (not self.exhausted or self.held is not None or self.cutter.requests > 0)

    def _fill(self) -> bool:
        """Submit as many batches as may be under way; whether any was."""
        moved = False
        while (
            not self.stop.is_set() and len(self.ledger.under_way()) < self.how.at_once and (self.ready or self._cut())
        ):
            chunk = self.ready[0]
            if chunk.model in self.closed:
                self.ready.popleft()
                self.found.unanswered += chunk.requests
                self.ledger.step(chunk, "dropped")
            elif time.monotonic() < max(
                self._quiet.get(chunk.url, 0.0), self._full.get(chunk.url, 0.0)
            ) or not self._submit(chunk):
                break
            moved = True
        return moved

    def _cut(self) -> bool:
        """Read until a chunk is ready; whether one is."""
        while not self.ready and not self.spent_up:
            read = self._next()
            if read is None:
                break
            request, card, worst = read
            if not self._affordable(worst):
                self.held = read
                break
            api = self._api(card.name, card.urls[0])
            key = (card.name, card.urls[0], api.route(request), 1)
            self._add(key, bytes.fromhex(request.request_id), api.line(request), worst)
        if not self.ready:
            self.ready += self.cutter.rest()
        if not self.ready and self.held and not self.ledger.under_way():
            self.spent_up = True
        return bool(self.ready)

    def _next(self) -> tuple[Request, Card, float | None] | None:
        """The next request without an answer that is in no batch, with its card and what it costs at most."""
        if self.held:
            held, self.held = self.held, None
            return held
        for request in self.source:
            if bytes.fromhex(request.request_id) in self.taken:
                continue
            if self.journal.answered(request.request_id):
                self.skipped += 1
            elif request.model in self.closed:
                self.found.unanswered += 1
            else:
                card = find(self.cards, request.model)
                most = spend.worst if self.how.budget is None else spend.needed
                return request, card, most(request, card, batch=True)
        self.exhausted = True
        return None

    def _add(self, key: Key, name: bytes, line: bytes, worst: float | None) -> None:
        self.taken.add(name)
        closed = self.cutter.add(key, line, worst)
        if closed:
            self.ready.append(closed)

    def _affordable(self, worst: float | None) -> bool:
        if self.how.budget is None or worst is None:
            return True
        reserved = sum(chunk.worst or 0.0 for chunk in (*self.ledger.under_way(), *self.ready)) + self.cutter.worst
        return self.found.spent + reserved + worst <= self.how.budget

    def _submit(self, chunk: Chunk) -> bool:
        """Make a batch of the first chunk that is ready; False where the queue has to wait. The ledger knows before the provider does."""
        api, path = self._api(chunk.model, chunk.url), self.ledger.path(chunk)
        try:
            uploaded = api.upload(path)
        except ERRORS as error:
            return self._trouble(chunk, error)
        chunk = self.ledger.step(self.ready.popleft(), "submitting", input_file=uploaded)
        try:
            batch = api.create(chunk, path)
        except ERRORS as error:
            if trouble(error).refused:
                self.ready.appendleft(self.ledger.step(chunk, "cut"))
            # Else it may have been made all the same, which `_find` finds out.
            return self._trouble(chunk, error)
        self._failing.pop(chunk.url, None)
        self.ledger.step(chunk, "created", batch=batch)
        return True

    # --- looking after what is under way ---

    def _look(self) -> bool:
        """Look at every batch once; whether anything changed."""
        moved = False
        for chunk in self.ledger.under_way():
            if self.stop.is_set() or time.monotonic() < self._quiet.get(chunk.url, 0.0):
                continue
            try:
                moved = (self._find(chunk) if chunk.batch is None else self._poll(chunk)) or moved
                self._failing.pop(chunk.url, None)
            except ERRORS as error:
                self._trouble(chunk, error)
        return moved

    def _find(self, chunk: Chunk) -> bool:
        """Find out whether a chunk became a batch before the answer to that was lost; whether that is known now."""
        assert chunk.at is not None
        if (datetime.now(UTC) - chunk.at).total_seconds() < self.how.settle:
            return False
        api = self._api(chunk.model, chunk.url)
        batch, certain = api.find(chunk, self.ledger.path(chunk), self.ledger.batches())
        if batch:
            self.ledger.step(chunk, "created", batch=batch)
            self.watch.say(f"{batch} was found again: it was made, but the answer that said so never came")
        elif certain:
            self.ready.append(self.ledger.step(chunk, "cut"))
        return certain

    def _poll(self, chunk: Chunk) -> bool:
        """Ask how a batch stands and take its results where it has ended; whether it has."""
        assert chunk.batch is not None
        api = self._api(chunk.model, chunk.url)
        state = api.poll(chunk.batch)
        self.watch.done[chunk.name] = state.done
        if not state.ended:
            return False
        if state.status == "failed":
            self._refused(chunk, state)
            return True
        self._full.pop(chunk.url, None)
        again, spent = collect(find(self.cards, chunk.model), api, chunk, self.ledger, self.journal, self.found)
        if again and chunk.attempt < self.how.attempts:
            left = None if chunk.worst is None else max(0.0, chunk.worst - spent)
            self._again(chunk, again, chunk.attempt + 1, left)
        elif again:
            self.found.unanswered += len(again)
            self.found.notes.append(
                f"{chunk.batch}: {len(again):,} requests got no answer in {chunk.attempt} batches; the next run asks them"
            )
        self.ledger.step(chunk, "ended")
        return True

    def _again(self, chunk: Chunk, again: set[bytes], attempt: int, worst: float | None) -> None:
        """Put requests of a chunk that has ended into another. `worst`: US dollars that they may cost together, of which each gets its
        share, so that what is reserved never grows."""
        share = None if worst is None or not again else worst / len(again)
        for name, line in lines(self.ledger.path(chunk)):
            if name in again:
                self._add((chunk.model, chunk.url, chunk.route, attempt), name, line, share)

    def _refused(self, chunk: Chunk, state: State) -> None:
        """A batch that its provider refused as a whole, which cost nothing. Where it blames single lines, those have failed and the others
        come again; where its queue was full, all do; else the model is asked no more."""
        assert chunk.batch is not None
        told = scrub("; ".join(f"{code}: {message}" for _, code, message in state.errors[:3]) or "it gave no reason")
        self.watch.say(f"{chunk.batch} with {chunk.requests:,} requests to {chunk.model} was refused: {told}")
        names = list(ids(self.ledger.path(chunk)))
        full = any(code in QUEUE_FULL for _, code, _ in state.errors)
        blamed = (
            {}
            if full
            else {
                names[line - 1]: f"{code}: {words}"
                for line, code, words in state.errors
                if line and "model" not in code
            }
        )
        for name, words in blamed.items():
            self.found.take(self.journal, failed(chunk, name.hex(), scrub(words)))
        self.journal.flush()
        left = set(names) - set(blamed)
        if full and self._only(chunk):
            self._largest[chunk.model] = len(names) // 2
        elif full:
            self._full[chunk.url] = time.monotonic() + self.how.pause[1]
        if full and (len(names) > 1 or not self._only(chunk)):
            self._again(chunk, left, chunk.attempt, chunk.worst)
        elif blamed and chunk.attempt < self.how.attempts:
            self._again(chunk, left, chunk.attempt + 1, chunk.worst)
        else:
            self.found.unanswered += len(left)
            self.closed[chunk.model] = f"{chunk.model}: the provider refused the batch {chunk.batch} ({told})."
        self.ledger.step(chunk, "ended")

    def _only(self, chunk: Chunk) -> bool:
        """Whether no other batch takes up room in a chunk's queue."""
        return all(each.name == chunk.name or each.url != chunk.url for each in self.ledger.under_way())

    def _trouble(self, chunk: Chunk, error: Exception) -> bool:
        """What an error means for the run: wait, give a model up, or end. Always False."""
        found = trouble(error)
        words = scrub(found.words)
        now = time.monotonic()
        if found.passing:
            since = self._failing.setdefault(chunk.url, now)
            self._quiet[chunk.url] = now + max(found.wait, self.how.pause[0])
            if now - since > self.how.patience:
                raise CaravanError(
                    f"{chunk.url} has answered with nothing but errors for {now - since:.0f} s ({words}). {self._left()}"
                )
            self.watch.say(f"{chunk.url}: {words}; trying again")
        elif chunk.batch:
            raise CaravanError(
                f"{chunk.url} gives no word of the batch {chunk.batch} ({words}). Is the key that of another project? If the batch is gone for "
                f"good, delete {self.ledger.path(chunk)}: its requests are then asked, and paid, again. {self._left()}"
            )
        else:
            self.closed[chunk.model] = f"{chunk.model}: {chunk.url} refused a batch ({words})."
        return False

    # --- the rest ---

    def _api(self, model: str, url: str) -> Batches:
        if (model, url) not in self._apis:
            card = find(self.cards, model)
            if card.batch_discount is None:
                raise CaravanError(
                    f"The model card '{model}' has no batch_discount, so it has no batch API: ask it without --batch."
                )
            self._apis[model, url] = provider.of(replace(card, urls=(url,)))
        return self._apis[model, url]

    def _limits(self, key: Key) -> Limits:
        limits = self._api(*key[:2]).limits
        sizes = (limits.requests, self.how.requests_per_batch, self._largest.get(key[0]))
        return Limits(min(size for size in sizes if size), limits.bytes)

    def _left(self) -> str:
        """What stays with the providers, in words."""
        chunks = self.ledger.under_way()
        if not chunks:
            return "No batch is under way."
        hosts = ", ".join(sorted({chunk.url for chunk in chunks}))
        return (
            f"{len(chunks):,} batches with {sum(chunk.requests for chunk in chunks):,} requests go on at {hosts}: run the same command again "
            "to fetch what they bring. Nothing is asked twice."
        )

    def _summary(self, seconds: float) -> Summary:
        found = self.found
        waiting = sum(chunk.requests for chunk in self.ledger.under_way())
        if self.stop.is_set():
            self.watch.say(self._left())
            found.notes.append(self._left())
        unsent = self.cutter.requests + sum(chunk.requests for chunk in self.ready) + (self.held is not None)
        return Summary(
            answered=found.answered,
            refused=found.refused,
            failed=found.failed,
            skipped=self.skipped,
            unanswered=found.unanswered + waiting + unsent,
            spent=found.spent,
            input_tokens=found.input_tokens,
            output_tokens=found.output_tokens,
            seconds=seconds,
            stopped="interrupted" if self.stop.is_set() else "budget" if self.spent_up else None,
            notes=tuple(found.notes),
        )

    @contextmanager
    def _stoppable(self) -> Iterator[None]:
        """Ctrl-C once ends the run at the next step; twice, at once. Only the main thread may say so."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return

        def interrupt(*_: object) -> None:
            if self.stop.is_set():
                raise KeyboardInterrupt
            self.stop.set()

        before = signal.signal(signal.SIGINT, interrupt)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, before)

"""One request to one endpoint through the packages `openai` and `anthropic`: translation, the call, what came back.

The packages build the request, sign it and send it, over aiohttp, which takes half the time of their default; their own retries are off,
because inference/send.py alone decides what is tried again. They are asked for the plain HTTP response, which `answer` reads, as it reads
the lines of batches.
"""

import difflib
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from time import monotonic
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import anthropic
import httpx2
import openai

from inference.models import Card, cost
from inference.request import Request, Response
from inference.scrub import learn, scrub
from warehouse.errors import CaravanError

CONNECT = 10.0  # seconds to open a connection
WORDS = 500  # characters of a server's error that are kept
FINISHED = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "eos_token": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "refusal": "content_filter",
}
NO_CREDIT = ("insufficient_quota", "credit balance", "billing_hard_limit")
FILTERED = ("content_filter", "content_policy")


class Trouble(Exception):
    """Passing trouble: the same request may succeed later. `after`: seconds that the server asks to wait. `charged`: the server may have
    done the work. `down`: the endpoint is at fault, not the rate of requests. `reached`: a server answered."""

    def __init__(
        self, words: str, *, after: float | None = None, charged: bool = False, down: bool = True, reached: bool = True
    ) -> None:
        super().__init__(scrub(words))
        self.after, self.charged, self.down, self.reached = after, charged, down, reached


class Malformed(ValueError):
    """A body that is no answer."""


def body(request: Request, card: Card) -> dict[str, Any]:
    """The JSON that the card's API wants for a request. Raises CaravanError where it has no way to say it."""
    parameters = dict(request.parameters)
    told: dict[str, Any] = {"model": card.served}
    if card.provider == "anthropic":
        return told | _anthropic(request, card, parameters)
    if request.messages is None:
        told["prompt"] = request.prompt
        if isinstance(parameters.get("logprobs"), bool):
            # The older API takes a number here: of alternatives beside the chosen token.
            wanted, most = parameters.pop("logprobs"), parameters.pop("top_logprobs", 0)
            parameters |= {"logprobs": most} if wanted else {}
    else:
        told["messages"] = [dict(message) for message in request.messages]
    renames = card.renames or {}
    return told | {renames.get(name, name): value for name, value in parameters.items()}


def _anthropic(request: Request, card: Card, parameters: dict[str, Any]) -> dict[str, Any]:
    if request.messages is None:
        raise CaravanError(
            f"The model '{card.name}' only chats: Anthropic's API has no raw completions. Give messages."
        )
    system = "\n\n".join(message["content"] for message in request.messages if message["role"] == "system")
    turns = [dict(message) for message in request.messages if message["role"] != "system"]
    told: dict[str, Any] = {"system": system} if system else {}
    told["max_tokens"] = parameters.pop("max_tokens", None) or card.output
    if told["max_tokens"] is None:
        raise CaravanError(f"Anthropic's API wants max_tokens with every request; the one to '{card.name}' has none.")
    parameters.pop("seed", None)  # this API has none, and a seed is a wish in the other one too
    if (stop := parameters.pop("stop", None)) is not None:
        told["stop_sequences"] = [stop] if isinstance(stop, str) else list(stop)
    renames = card.renames or {}
    return told | {"messages": turns} | {renames.get(name, name): value for name, value in parameters.items()}


def answer(
    card: Card,
    request_id: str,
    found: Mapping[str, Any],
    *,
    endpoint: str,
    attempts: int = 1,
    seconds: float | None = None,
    batch_id: str | None = None,
) -> Response:
    """The response in the body of an HTTP response with status 200. Raises Malformed where it is none."""
    try:
        read = _read_anthropic(found) if card.provider == "anthropic" else _read_openai(found)
    except (KeyError, IndexError, TypeError, AttributeError) as error:
        raise Malformed(f"no answer in {scrub(json.dumps(found))[:WORDS]}") from error
    refused = read["finish_reason"] == "content_filter" or read["error"] is not None
    if read["content"] is None and not refused:
        read["content"] = ""
    now = datetime.now(UTC)
    asked, said = read["input_tokens"], read["output_tokens"]
    return Response(
        request_id,
        "refused" if refused else "ok",
        **read,
        cost=None if asked is None else cost(card, asked, said or 0, now.date(), batch=batch_id is not None),
        endpoint=endpoint,
        batch_id=batch_id,
        attempts=attempts,
        seconds=seconds,
        received_at=now,
    )


def _read_openai(found: Mapping[str, Any]) -> dict[str, Any]:
    choice = found["choices"][0]
    message = choice.get("message")
    said = choice["text"] if message is None else message["content"]
    finish = choice["finish_reason"]
    logprobs = choice.get("logprobs")
    usage = found.get("usage") or {}
    return {
        "content": _utf8(said),
        "finish_reason": FINISHED.get(finish, finish),
        "served_model": found.get("model"),
        "input_tokens": usage.get("prompt_tokens"),
        "output_tokens": usage.get("completion_tokens"),
        "logprobs": None if logprobs is None else json.dumps(logprobs, separators=(",", ":")),
        "error": _utf8((message or {}).get("refusal")) or None,
    }


def _read_anthropic(found: Mapping[str, Any]) -> dict[str, Any]:
    texts = [block["text"] for block in found["content"] if block["type"] == "text"]
    usage = found["usage"]
    cached = (usage.get("cache_creation_input_tokens") or 0) + (usage.get("cache_read_input_tokens") or 0)
    return {
        "content": _utf8("".join(texts)) if texts else None,
        "finish_reason": FINISHED.get(found["stop_reason"], found["stop_reason"]),
        "served_model": found.get("model"),
        "input_tokens": usage["input_tokens"] + cached,
        "output_tokens": usage["output_tokens"],
        "logprobs": None,
        "error": None,
    }


def _utf8(text: str | None) -> str | None:
    """The text with U+FFFD for halves of surrogate pairs, which JSON can say and no table can hold."""
    if text is None:
        return None
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


# No server was met. What httpx2 calls these is of no use: its names for aiohttp's errors take a lost connection for one never made.
UNMET = aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError, aiohttp.ClientHttpProxyError


class Endpoint:
    """A URL of a card, with the client that speaks to it. Raises CaravanError where the card's key is not set."""

    def __init__(self, card: Card, url: str, *, concurrency: int, timeout: float) -> None:
        self.card, self.url, self.name = card, url, urlsplit(url).netloc
        self._client = _client(card, url, concurrency, timeout)

    async def ask(self, request: Request, attempt: int) -> Response:
        """Ask once. Raises Trouble for what may pass, CaravanError for what no retry mends and is not the request's fault."""
        card = self.card
        path = "/v1/messages" if card.provider == "anthropic" else _PATHS[request.messages is None]
        start = monotonic()
        try:
            reply = await self._client.post(
                path,
                cast_to=httpx2.Response,
                body=body(request, card),
                options={"headers": {"Idempotency-Key": request.request_id}},
            )
        except (openai.APIStatusError, anthropic.APIStatusError) as error:
            return await self._refused(request, attempt, error.response)
        except (openai.APIConnectionError, anthropic.APIConnectionError, aiohttp.ClientError, ValueError) as error:
            raise self._broken(error) from None
        try:
            found = json.loads(reply.content)
        except ValueError:
            raise Trouble(f"{self.name} sent JSON that breaks off: {scrub(reply.text)[:WORDS]}", charged=True) from None
        seconds = monotonic() - start
        try:
            return answer(card, request.request_id, found, endpoint=self.name, attempts=attempt, seconds=seconds)
        except Malformed as error:
            raise Trouble(f"{self.name} sent {error}", charged=True) from None

    async def models(self) -> list[str]:
        """Names of the models that are served there; empty where it does not say."""
        path = "/v1/models" if self.card.provider == "anthropic" else "/models"
        try:
            reply = await self._client.get(path, cast_to=httpx2.Response)
            return [str(each["id"]) for each in json.loads(reply.content)["data"]]
        except (openai.APIError, anthropic.APIError, ValueError, KeyError, TypeError):
            return []

    async def close(self) -> None:
        await self._client.close()

    async def _refused(self, request: Request, attempt: int, reply: httpx2.Response) -> Response:
        """What an HTTP status other than 200 means: Trouble, a CaravanError, or a response that will come again."""
        status, text = reply.status_code, reply.text
        words = scrub(f"HTTP {status}: {_message(text)}")
        named = f"model '{self.card.name}' at {self.url}"
        if status == 402 or any(sign in text.lower() for sign in NO_CREDIT):
            raise CaravanError(
                f"The account of {named} has no credit left ({words}). Add credit, then run the same command again."
            )
        if status in (401, 403):
            raise CaravanError(f"{_key_advice(self.card, named)} ({words}).")
        if status in (404, 405):
            raise CaravanError(f"There is no {named} ({words}). {_near(self.card.served, await self.models())}")
        if status >= 500 or status in (408, 409, 425, 429):
            down = status not in (429, 529)
            raise Trouble(f"{self.name}: {words}", after=_retry_after(reply.headers), down=down)
        return Response(
            request.request_id,
            "refused" if any(sign in text for sign in FILTERED) else "failed",
            endpoint=self.name,
            error=words,
            attempts=attempt,
            received_at=datetime.now(UTC),
        )

    def _broken(self, error: BaseException) -> Exception:
        """What it means that there was no HTTP response: Trouble, or a CaravanError."""
        chain = [error]
        while (cause := chain[-1].__cause__) is not None:
            chain.append(cause)
        # The packages wrap what httpx2 raises, which wraps most of what aiohttp raises.
        met = next((each for each in chain if isinstance(each, aiohttp.ClientError)), error.__cause__ or error)
        words = scrub(" ".join(f"{type(met).__name__}: {met}".split()))[:WORDS].rstrip(": ")
        if isinstance(met, UNMET):
            return Trouble(f"{self.name}: {words}", reached=False)
        if isinstance(met, ValueError):
            asked = f"Is the key in {self.card.key} whole?" if self.card.key else "Put right urls in the model card."
            return CaravanError(f"{self.url} cannot be asked ({words}). {asked}")
        return Trouble(f"{self.name}: {words}", charged=True)


_PATHS = ("/chat/completions", "/completions")


def _client(card: Card, url: str, concurrency: int, timeout: float) -> openai.AsyncOpenAI | anthropic.AsyncAnthropic:
    key = learn(card.secret())
    limits = httpx2.Limits(max_connections=concurrency)
    patience = httpx2.Timeout(timeout, connect=min(CONNECT, timeout), pool=None)
    http = openai.DefaultAioHttpClient(verify=httpx2.create_ssl_context(), limits=limits, timeout=patience)
    if card.provider == "anthropic":
        base = url.removesuffix("/v1")
        return anthropic.AsyncAnthropic(api_key=key, base_url=base, max_retries=0, timeout=patience, http_client=http)
    return openai.AsyncOpenAI(api_key=key, base_url=url, max_retries=0, timeout=patience, http_client=http)


def _message(text: str) -> str:
    """The words of an error's body."""
    try:
        found = json.loads(text)
        error = found.get("error", found)
        told = error if isinstance(error, str) else error.get("message") or text
    except (ValueError, AttributeError):
        told = text
    return scrub(str(told)).strip()[:WORDS].rstrip(".") or "no reason given"


def _key_advice(card: Card, named: str) -> str:
    if card.key is None:
        return f'The {named} wants a key: name the environment variable that holds it in the model card, key = "…"'
    return f"The {named} does not accept the key in {card.key}: set that variable to a key that may use this model"


def _near(wanted: str, served: list[str]) -> str:
    if not served:
        return "Check the model's name, and that the URL ends where the API begins, such as http://localhost:8000/v1."
    close = difflib.get_close_matches(wanted, served, 3, 0.4)
    some = ", ".join(close or served[:8])
    return f"{'Close to it are' if close else 'It serves'}: {some}. Say it with `serves` in the model card."


def _retry_after(headers: httpx2.Headers) -> float | None:
    """Seconds that the server asks to wait, told in seconds, milliseconds or as a date."""
    try:
        if (milliseconds := headers.get("retry-after-ms")) is not None:
            return float(milliseconds) / 1000
        if (told := headers.get("retry-after")) is None:
            return None
        if told.strip()[:1].isdigit():
            return float(told)
        return max(0.0, (parsedate_to_datetime(told) - datetime.now(UTC)).total_seconds())
    except (ValueError, TypeError):
        return None

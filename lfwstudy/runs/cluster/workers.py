"""The usable workers: each is asked once, before its first run, whether it can train the study's runs.

A task whose module is missing would end the worker that receives it; a called function fails and says why.
"""

from __future__ import annotations

import asyncio
import queue
from dataclasses import dataclass
from typing import Any

from distributed import Client

from lfwstudy.runs.cluster import scheduler, versions
from lfwstudy.runs.cluster.needs import Worker

# A worker's address and folder: another one at the same address has another folder.
Key = tuple[str, str]


@dataclass
class Known:
    """A worker's machine, and why it cannot be used: empty if it can, None while it is being asked."""

    host: str = ""
    reason: str | None = None


class Workers:
    """The scheduler's workers, and what each has answered."""

    def __init__(self, token: versions.Token) -> None:
        self.token, self.versions = token, versions.versions_here()
        self.present: dict[str, dict[str, Any]] = {}
        self.trouble = ""
        self._known: dict[Key, Known] = {}
        self._answers: queue.Queue[tuple[Key, Any]] = queue.Queue()

    def look(self, client: Client) -> None:
        """List the workers, and ask new ones. Raises scheduler.Lost."""
        self.present = scheduler.workers_of(client)
        for address in self.present:
            if (key := self.key(address)) not in self._known:
                self._known[key] = Known()
                assert client.loop is not None
                client.loop.add_callback(self._ask, client, key, self._answers)

    def hear(self) -> None:
        """Take in their answers so far."""
        while not self._answers.empty():
            self.take_in(*self._answers.get())

    def forget(self) -> None:
        """Forget which workers there were, as after a lost scheduler; unusable ones stay set aside."""
        self.present, self._answers = {}, queue.Queue()
        self._known = {key: known for key, known in self._known.items() if known.reason}

    def usable(self) -> dict[str, Worker]:
        """Workers that can train, by address."""
        return {address: worker for address, worker in self.present.items() if self._of(address).reason == ""}

    def aside(self) -> dict[str, str]:
        """Workers set aside, by address, with the reason."""
        return {address: known.reason for (address, _), known in self._known.items() if known.reason}

    def not_used(self) -> str:
        """Workers set aside, in words: one for each of the first reasons."""
        alike = {reason: address for address, reason in self.aside().items()}
        return "; ".join(f"worker {address} is not used: {reason}" for reason, address in list(alike.items())[:2])

    def hopeless(self) -> bool:
        """Whether all that ever joined are set aside."""
        return bool(self._known) and all(known.reason for known in self._known.values())

    def set_aside(self, key: Key, reason: str) -> None:
        """Stop using a worker until another is started in its place."""
        self._known[key] = Known(self._known.get(key, Known()).host, reason)

    def key(self, address: str) -> Key:
        """What tells a present worker from later ones at its address."""
        return address, self.present.get(address, {}).get("local_directory", "")

    def host(self, address: str) -> str:
        """The name of a worker's machine, or its address if unknown."""
        return self._of(address).host or address

    def take_in(self, key: Key, answer: Any) -> None:
        """Take in a worker's answer, or the error of asking it."""
        if key not in self._known:
            return
        if isinstance(answer, (OSError, TimeoutError, KeyError)):  # silent or gone: ask again if it is still there
            del self._known[key]
            self.trouble = f"worker {key[0]} does not answer ({str(answer) or type(answer).__name__})"
        elif isinstance(answer, Exception):
            self._known[key] = Known(reason=f"{scheduler.told(answer)}; install the same versions there")
        else:
            self._known[key] = Known(*answer)

    async def _ask(self, client: Client, key: Key, answers: queue.Queue[tuple[Key, Any]]) -> None:
        address = key[0]
        try:
            asked = client.run(versions.answer, self.versions, self.token, workers=[address], on_error="return")
            answer = (await asyncio.wait_for(asked, scheduler.CONNECT_SECONDS))[address]
        except Exception as error:
            answer = error
        answers.put((key, answer))

    def _of(self, address: str) -> Known:
        return self._known.get(self.key(address), Known())

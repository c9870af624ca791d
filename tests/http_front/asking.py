"""A program that keeps an HTTP front busy: ``python -m ... PORT CONNECTIONS [HEADER]`` until its input ends.

Each connection asks for the same number of documents again and again; for each line of input it prints how many were
answered so far.
"""

import http.client
import itertools
import json
import os
import sys
import threading

DOCUMENTS = 40


class Asking:
    def __init__(self, port: int, header: str | None) -> None:
        self.answered = 0
        self._port = port
        self._header = header
        self._stop = threading.Event()
        self._lock = threading.Lock()

    def run(self, connection: int) -> None:
        front = http.client.HTTPConnection("127.0.0.1", self._port, timeout=30)
        headers = {"X-Rerank-Caller": self._header.format(connection)} if self._header else {}
        for number in itertools.count():
            if self._stop.is_set():
                return
            texts = [f"{os.getpid()} {connection} {number} {place} {'some words ' * 20}" for place in range(DOCUMENTS)]
            front.request("POST", "/rerank", json.dumps({"query": "q", "documents": texts}), headers)
            answer = front.getresponse()
            answer.read()
            assert answer.status == 200, answer.status
            with self._lock:
                self.answered += DOCUMENTS

    def stop(self) -> None:
        self._stop.set()


def main() -> None:
    asking = Asking(int(sys.argv[1]), sys.argv[3] if len(sys.argv) > 3 else None)
    for connection in range(int(sys.argv[2])):
        threading.Thread(target=asking.run, args=(connection,), daemon=True).start()
    while sys.stdin.readline():
        print(asking.answered, flush=True)
    asking.stop()


if __name__ == "__main__":
    main()

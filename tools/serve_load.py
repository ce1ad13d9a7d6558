"""Loads a running server: pages that draw live, clients that ask, clients that are slow, and clients that vanish.

    pip install websockets pillow
    python tools/serve_load.py http://localhost:8188 PID [SECONDS]

PID is the server's process, whose memory is watched. Every answer is looked at; at the end it says how many pictures each
kind of client had, the least and the most of any, and what memory did.
"""

import asyncio
import base64
import io
import json
import random
import struct
import sys
import time

import websockets
from PIL import Image

PROMPTS = ["a red mushroom in the meadow by day", "a yellow star", "a blue boat at sunset", "a green house by night"]
PAGES, ASKING, SLOW, VANISHING = 16, 10, 3, 3
SIDE = 64


def check(png: bytes, size: tuple) -> None:
    image = Image.open(io.BytesIO(png))
    image.load()
    assert image.size == size, image.size
    assert image.getextrema() != ((0, 0),) * 3, "black"


def scribble(at: int) -> bytes:
    return bytes(255 if at <= i % SIDE < at + 20 and 20 <= i // SIDE < 44 else 0 for i in range(SIDE * SIDE))


def frame(number: int, prompt: str) -> bytes:
    part = scribble(number % 40)
    header = json.dumps({
        "type": "draw", "id": number, "prompt": prompt, "seed": 3,
        "control": {"part": 0, "encoding": "gray", "width": SIDE, "height": SIDE}, "parts": [{"bytes": len(part)}],
    }).encode()
    return struct.pack("<I", len(header)) + header + part


async def page(url: str, until: float, pause: float, counts: list, index: int) -> None:
    """Draws when it is asked for a frame; a slow page reads late."""
    socket = await websockets.connect(url.replace("http", "ws") + "/live", subprotocols=["hypersd.live.1"], max_size=2**24)
    number = last = 0
    async with socket:
        while time.monotonic() < until:
            message = await asyncio.wait_for(socket.recv(), 60)
            if isinstance(message, str):
                told = json.loads(message)
                assert told["type"] in ("ready", "next"), told
                if told["type"] == "next":
                    number += 1
                    await socket.send(frame(number, PROMPTS[index % 4]))
                continue
            length = struct.unpack("<I", message[:4])[0]
            told = json.loads(message[4:4 + length])
            assert told["type"] == "picture" and told["id"] > last, told
            last = told["id"]
            check(message[4 + length:], (SIDE, SIDE))
            counts[index] += 1
            await asyncio.sleep(pause)


async def post(host: str, port: int, body: bytes):
    reader, writer = await asyncio.open_connection(host, port)
    head = f"POST /v1/images/generations HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n" \
           f"content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
    writer.write(head.encode() + body)
    await writer.drain()
    return reader, writer


async def asking(host: str, port: int, until: float, counts: list, index: int) -> None:
    """Asks for one picture after the other; told that there is no room, it comes again."""
    while time.monotonic() < until:
        body = json.dumps({"prompt": random.choice(PROMPTS), "seed": random.randrange(100), "steps": random.choice([1, 2, 4])})
        reader, writer = await post(host, port, body.encode())
        answer = await asyncio.wait_for(reader.read(), 60)
        writer.close()
        head, _, content = answer.partition(b"\r\n\r\n")
        status = int(head.split()[1])
        if status == 429:
            await asyncio.sleep(0.5)
            continue
        assert status == 200, answer[:500]
        check(base64.b64decode(json.loads(content)["data"][0]["b64_json"]), (128, 128))
        counts[index] += 1


async def vanishing(host: str, port: int, until: float, counts: list, index: int) -> None:
    """Asks for something large, and goes."""
    while time.monotonic() < until:
        body = json.dumps({"prompt": "x", "steps": 8, "size": "512x512"}).encode()
        _, writer = await post(host, port, body)
        await asyncio.sleep(random.random())
        writer.transport.abort()
        counts[index] += 1
        await asyncio.sleep(1)


def memory(process: str) -> float:
    for line in open(f"/proc/{process}/status"):
        if line.startswith("VmRSS"):
            return int(line.split()[1]) / 1024
    raise AssertionError("no VmRSS")


async def main(url: str, process: str, seconds: float) -> None:
    host, port = url.split("//")[1].split(":")
    until = time.monotonic() + seconds
    kinds = {"pages": [0] * PAGES, "slow pages": [0] * SLOW, "asking": [0] * ASKING, "vanishing": [0] * VANISHING}
    tasks = [page(url, until, 0, kinds["pages"], i) for i in range(PAGES)]
    tasks += [page(url, until, 2, kinds["slow pages"], i) for i in range(SLOW)]
    tasks += [asking(host, int(port), until, kinds["asking"], i) for i in range(ASKING)]
    tasks += [vanishing(host, int(port), until, kinds["vanishing"], i) for i in range(VANISHING)]
    seen = []

    async def watch() -> None:
        while time.monotonic() < until:
            seen.append(memory(process))
            await asyncio.sleep(seconds / 20)

    await asyncio.gather(*tasks, watch())
    for kind, counts in kinds.items():
        print(f"{kind}: {len(counts)}, {sum(counts)} in all, {min(counts)} to {max(counts)} each")
        assert kind == "vanishing" or min(counts) > 0, "somebody starved"
    quarter = len(seen) // 4
    print("memory in MiB:", " ".join(f"{x:.0f}" for x in seen))
    assert max(seen[-quarter:]) < 1.1 * max(seen[quarter:2 * quarter]), "memory grows"


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1].rstrip("/"), sys.argv[2], float(sys.argv[3]) if len(sys.argv) > 3 else 120))

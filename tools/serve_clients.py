"""Asks a running server as people do: with the openai package, with webuiapi, and by WebSocket.

    pip install openai webuiapi websockets pillow
    python tools/serve_clients.py http://localhost:8188
"""

import asyncio
import base64
import io
import json
import struct
import sys
import urllib.parse

import openai
import webuiapi
import websockets
from PIL import Image

PROMPT = "a red mushroom in the meadow by day"


def opened(png: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(png))
    image.load()
    return image


def by_openai(url: str) -> None:
    client = openai.OpenAI(base_url=url + "/v1", api_key="none")
    assert [model.id for model in client.models.list()] == ["demo"]
    answer = client.images.generate(model="gpt-image-1", prompt=PROMPT, n=2, size="auto", extra_body={"seed": 7, "steps": 2})
    first, second = (opened(base64.b64decode(data.b64_json)) for data in answer.data)
    assert first.size == (128, 128) and first.tobytes() != second.tobytes()
    again = client.images.generate(prompt=PROMPT, extra_body={"seed": 7, "steps": 2})
    assert opened(base64.b64decode(again.data[0].b64_json)).tobytes() == first.tobytes()

    file = io.BytesIO()
    first.save(file, "PNG")
    mask = Image.new("RGBA", first.size, (0, 0, 0, 255))
    mask.paste((0, 0, 0, 0), (0, 0, 64, 128))
    mask_file = io.BytesIO()
    mask.save(mask_file, "PNG")
    answer = client.images.edit(
        image=("picture.png", file.getvalue()), mask=("mask.png", mask_file.getvalue()),
        prompt="a blue mushroom in the meadow by night", extra_body={"seed": 7, "steps": 4},
    )
    edited = opened(base64.b64decode(answer.data[0].b64_json))
    changed = [difference(first, edited, box) for box in [(0, 0, 48, 128), (80, 0, 128, 128)]]
    assert changed[0] > 2 * changed[1], changed
    try:
        client.images.generate(prompt=PROMPT, size="100x100")
        raise AssertionError("a size that cannot be")
    except openai.BadRequestError as error:
        assert "multiple of" in error.message, error
    print("openai", openai.__version__, "generates and edits; changed", changed)


def difference(a: Image.Image, b: Image.Image, box: tuple) -> float:
    a, b = (image.convert("RGB").crop(box).tobytes() for image in (a, b))
    return sum(abs(x - y) for x, y in zip(a, b)) / len(a)


def by_webuiapi(url: str) -> None:
    where = urllib.parse.urlsplit(url)
    api = webuiapi.WebUIApi(host=where.hostname, port=where.port)
    result = api.txt2img(prompt=PROMPT, negative_prompt="blurry", seed=5, width=128, height=128)
    assert result.image.size == (128, 128) and result.info["steps"] == 1, result.info
    changed = api.img2img(images=[result.image], prompt=PROMPT, seed=5, width=128, height=128, denoising_strength=0.5)
    assert changed.image.tobytes() != result.image.tobytes()
    assert api.get_progress()["progress"] == 0
    assert api.util_get_model_names() == ["demo"]
    assert api.get_options()["sd_model_checkpoint"] == "demo"
    api.interrupt()
    print("webuiapi draws and changes; samplers:", [sampler["name"] for sampler in api.get_samplers()])


async def by_websocket(url: str) -> None:
    side = 64
    scribble = bytes(255 if 16 <= i % side < 48 and 16 <= i // side < 48 else 0 for i in range(side * side))
    header = json.dumps({
        "type": "draw", "id": 1, "prompt": PROMPT, "control": {"part": 0, "encoding": "gray", "width": side, "height": side},
        "parts": [{"bytes": len(scribble)}],
    }).encode()
    async with websockets.connect(url.replace("http", "ws") + "/live", subprotocols=["hypersd.live.1"]) as socket:
        assert json.loads(await socket.recv())["type"] == "ready"
        assert json.loads(await socket.recv())["type"] == "next"
        for _ in range(20):
            await socket.send(struct.pack("<I", len(header)) + header + scribble)
            message = await socket.recv()
            length = struct.unpack("<I", message[:4])[0]
            told = json.loads(message[4:4 + length])
            assert opened(message[4 + length:]).size == (side, side)
            assert json.loads(await socket.recv())["type"] == "next"
    print("websockets", websockets.__version__, "follows a scribble:", told["times"], told["reused"])


if __name__ == "__main__":
    url = sys.argv[1].rstrip("/")
    by_openai(url)
    by_webuiapi(url)
    asyncio.run(by_websocket(url))

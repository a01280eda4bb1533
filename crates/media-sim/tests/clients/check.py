"""The official Python clients against the simulator, run by hand:

    python3 -m venv /tmp/clients && /tmp/clients/bin/pip install openai runware-sdk
    cargo run -p media-sim --example serve -- 18999 &
    /tmp/clients/bin/python crates/media-sim/tests/clients/check.py http://127.0.0.1:18999

Last run with openai 3.57.0 and runware-sdk 1.8.0.
"""

import asyncio
import base64
import json
import sys
import time
import urllib.request
import uuid

import openai
from runware import Runware

URL = sys.argv[1] if len(sys.argv) > 1 else "http://127.0.0.1:18999"


def post(path, value):
    data = json.dumps(value).encode()
    with urllib.request.urlopen(urllib.request.Request(URL + path, data=data, method="POST")) as answer:
        return json.load(answer)


def get(url):
    with urllib.request.urlopen(url) as answer:
        return answer.read()


def arm(provider, times=1, **fault):
    post("/_sim/faults", {"provider": provider, "times": times, "fault": fault})


def bill():
    return json.loads(get(URL + "/_sim/bill"))


def check_openai():
    post("/_sim/reset", {})
    client = openai.OpenAI(api_key="sim-openai", base_url=URL + "/openai/v1")
    models = [model.id for model in client.models.list()]
    assert "gpt-image-2" in models and "dall-e-3" not in models
    assert client.models.retrieve("gpt-image-2").id == "gpt-image-2"

    answer = client.images.generate(model="gpt-image-2", prompt="a red kettle", size="1024x1024", quality="low")
    assert base64.b64decode(answer.data[0].b64_json).startswith(b"\x89PNG")
    assert answer.usage.output_tokens == 196 and answer.usage.output_tokens_details.image_tokens == 196

    events = list(
        client.images.generate(model="gpt-image-2", prompt="a kettle", quality="low", stream=True, partial_images=2)
    )
    assert [event.type.rsplit(".", 1)[1] for event in events] == ["partial_image", "partial_image", "completed"]

    with client.audio.speech.with_streaming_response.create(
        model="gpt-4o-mini-tts", voice="marin", input="The kettle is on.", response_format="mp3"
    ) as answer:
        assert answer.headers["content-type"] == "audio/mpeg"
        assert answer.read()[:2] == b"\xff\xfb"
    assert len(bill()["charges"]) == 3 and all(charge["delivered"] == 1 for charge in bill()["charges"])

    # The client's own retry: 429 with a hint in milliseconds, then success.
    arm("openai", kind="status", status=429, retry_after_ms="50")
    client.audio.speech.create(model="gpt-4o-mini-tts", voice="marin", input="again")
    for error, call in [
        (openai.BadRequestError, dict(model="gpt-image-2", prompt="gore")),
        (openai.BadRequestError, dict(model="gpt-image-2", prompt="a", size="512x512")),
        (openai.BadRequestError, dict(model="gpt-image-2", prompt="a", response_format="b64_json")),
        (openai.BadRequestError, dict(model="dall-e-3", prompt="a")),
    ]:
        try:
            client.images.generate(**call)
            raise AssertionError(f"{call} was taken")
        except error as caught:
            assert caught.code and caught.request_id.startswith("req_"), caught
    try:
        openai.OpenAI(api_key="nobody", base_url=URL + "/openai/v1").models.list()
        raise AssertionError("a wrong key was taken")
    except openai.AuthenticationError as caught:
        assert caught.code == "invalid_api_key"
    # A mid-stream error reaches the caller.
    arm("openai", kind="stream_error")
    try:
        list(client.images.generate(model="gpt-image-2", prompt="a kettle", quality="low", stream=True))
        raise AssertionError("the error event was overlooked")
    except openai.APIError as caught:
        assert caught.code == "image_generation_failed", caught

    # What makes the official client dangerous for money: a lost answer is bought again.
    post("/_sim/reset", {})
    arm("openai", kind="cut_after_billing")
    client.images.generate(model="gpt-image-2", prompt="a kettle", quality="low")
    assert [charge["delivered"] for charge in bill()["charges"]] == [0, 1]

    local = openai.OpenAI(api_key="unused", base_url=URL + "/openai-compat/v1")
    answer = local.images.generate(model="local-image", prompt="a kettle", size="256x256")
    assert get(answer.data[0].url).startswith(b"\x89PNG")
    print("openai", openai.__version__, "works")


def check_openai_batches():
    post("/_sim/reset", {})
    client = openai.OpenAI(api_key="sim-openai", base_url=URL + "/openai/v1")
    body = {"model": "gpt-image-2", "size": "1024x1024", "quality": "low"}
    lines = [
        {"custom_id": f"c{n}", "method": "POST", "url": "/v1/images/generations", "body": body | {"prompt": prompt}}
        for n, prompt in enumerate(["a hat", "a bloody hat", "a cap"])
    ]
    text = "\n".join(json.dumps(line) for line in lines)
    file = client.files.create(file=("in.jsonl", text.encode()), purpose="batch")
    assert client.files.retrieve(file.id).purpose == "batch" and client.files.content(file.id).text == text
    batch = client.batches.create(
        input_file_id=file.id, endpoint="/v1/images/generations", completion_window="24h", metadata={"run": "r1"}
    )
    assert batch.status == "validating" and batch.metadata == {"run": "r1"}
    while batch.status not in ("completed", "failed"):
        time.sleep(0.1)
        batch = client.batches.retrieve(batch.id)
    assert batch.status == "completed" and batch.request_counts.completed == 2 and batch.request_counts.failed == 1
    assert [found.id for found in client.batches.list(limit=1)] == [batch.id]
    results = [json.loads(line) for line in client.files.content(batch.output_file_id).text.splitlines()]
    assert {line["custom_id"] for line in results} == {"c0", "c2"}
    for line in results:
        picture = line["response"]["body"]["data"][0]["b64_json"]
        assert base64.b64decode(picture).startswith(b"\x89PNG")
    (refused,) = [json.loads(line) for line in client.files.content(batch.error_file_id).text.splitlines()]
    assert refused["response"]["body"]["error"]["code"] == "moderation_blocked"
    assert {(charge["key"], charge["delivered"]) for charge in bill()["charges"]} == {("c0", 1), ("c2", 1)}
    assert client.batches.cancel(batch.id).status == "completed"
    assert client.files.delete(file.id).deleted
    print("openai files and batches work")


async def check_runware():
    post("/_sim/reset", {})
    options = dict(api_key="sim-runware", http_base_url=URL + "/runware/v1", transport="rest")
    async with Runware(**options) as client:
        task = {"model": "runware:100@1", "positivePrompt": "red apple on white", "width": 512, "height": 512}
        results = await client.run({**task, "numberResults": 2, "outputFormat": "PNG", "includeCost": True})
        assert len(results) == 2 and results[0]["cost"] == 0.0006, results
        for result in results:
            assert get(result["imageURL"]).startswith(b"\x89PNG")
        assert [charge["delivered"] for charge in bill()["charges"]] == [1]

        speech = {"model": "inworld:tts@2", "speech": {"text": "The kettle is on.", "voice": "Ashley"}}
        (result,) = await client.run(speech)
        assert get(result["audioURL"])[:2] == b"\xff\xfb"

        used = str(uuid.uuid4())
        await client.run({**task, "taskUUID": used})
        for bad, code in [
            ({"taskUUID": used}, "validation"),
            ({"width": 100}, "validation"),
            ({"positivePrompt": "gore"}, "safety"),
        ]:
            try:
                await client.run({**task, **bad})
                raise AssertionError(f"{bad} was taken")
            except Exception as caught:  # one class; its code is the kind of error
                assert getattr(caught, "code", None) == code, repr(caught)
        arm("runware", kind="status", status=503)
        assert await client.run(task)
        details = await client.account_management({"operation": "getDetails"})
        assert details
    print("runware-sdk works over REST")


check_openai()
check_openai_batches()
asyncio.run(check_runware())

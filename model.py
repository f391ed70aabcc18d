"""A handler: your own code around a model, in one file. This one shows all there is; delete what you do not need.

A policy names it (`handler: {path: model.py}`), and it runs where the policy says. Nothing has to be imported: what a
hook needs comes in as its argument. Every hook is optional, may be `async def` or `def`, and changes nothing when it
returns None. `pointsman handler check model.py` says what becomes of a file. The whole story: docs/model-py.md.
"""

import json
import re

# What stands here runs once, when the handler is loaded, and no request waits for it: this is the place for tokenizers,
# word lists and patterns. A file beside this one is imported by its name, as anywhere. If this code raises, the handler
# is not used, and the version before it goes on.
EMAIL = re.compile(r"[\w.+-]+@[\w-]+\.[\w.-]+")
LONGEST_PROMPT = 8000


class NotForUs(Exception):
    """Of what a hook raises, clients see nothing, unless it has a `status_code`: then they see that and the text."""

    status_code = 422


async def before(call):
    """Runs ahead of the model. What it returns goes there: a Call, or just a body.

    `call` has body, content_type, accept, custom_attributes, headers, endpoint, component, streaming and request_id;
    `call.text()` and `call.json()` read the body, `call.replace(...)` makes a changed copy.
    """
    if not (call.content_type or "").startswith("application/json"):
        return None  # an unchanged call
    body = call.json()
    prompt = body.get("inputs")
    if not isinstance(prompt, str):
        return None
    if len(prompt) > LONGEST_PROMPT:
        message = f"inputs has {len(prompt)} characters, and {LONGEST_PROMPT} is the most this model takes"
        raise NotForUs(message)
    if prompt.strip().lower() == "ping":
        return call.reply({"generated_text": "pong"})  # an answer without asking the model

    # `call.state` is yours: what `before` leaves in it, `during` and `after` of the same request find.
    addresses = call.state["addresses"] = list(dict.fromkeys(EMAIL.findall(prompt)))
    for number, address in enumerate(addresses):
        prompt = prompt.replace(address, f"<email-{number}>")

    # Another endpoint of the policy, under this request's deadline and trace: this is how ensembles are made. The time
    # it takes does not count against the hook's own limit.
    if body.pop("moderate", False):
        verdict = await call.invoke("moderation", {"inputs": prompt})
        if verdict.json().get("flagged"):
            message = "the text was refused by moderation"
            raise NotForUs(message)
    return call.replace(json={**body, "inputs": prompt})


def during(event):
    """Runs for each event of a streamed answer: a server-sent event, a line of JSON, or a piece as it came.

    What it returns is sent at once: bytes, or `event.replace(json=...)`, framed as the event was. Empty bytes drop it.
    Nothing is ever gathered; what must be seen whole belongs into `after`, for clients that do not stream.
    """
    payload = event.json()  # None for [DONE] and keep-alives
    if isinstance(payload, dict) and isinstance(payload.get("token"), dict):
        payload["token"].pop("logprob", None)
        return event.replace(json=payload)
    return None


async def after(reply):
    """Runs behind the model, with its whole answer. `reply.call` is what `before` returned."""
    text = reply.text()
    for number, address in enumerate(reply.call.state.get("addresses", ())):
        # The text is JSON: what goes back into it is quoted as JSON is, without the quotes.
        text = text.replace(f"<email-{number}>", json.dumps(address)[1:-1])
    return reply.replace(body=text)

"""Formatter hooks of AWS's container standards, as vLLM's and SGLang's SageMaker images run them."""

import json

from fastapi import Request, Response
from model_hosting_container_standards.common.fastapi.middleware import input_formatter, output_formatter


@input_formatter
async def to_prompt(request: Request):
    body = await request.json()
    if "inputs" in body:
        request._body = json.dumps({"prompt": body["inputs"], "max_tokens": 16}).encode()
    return request


@output_formatter
async def to_text(response: Response):
    answer = json.loads(response.body)
    response.body = json.dumps({"generated_text": answer["choices"][0]["text"]}).encode()
    return response

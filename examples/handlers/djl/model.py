"""A `handle(inputs)` of DJL Serving, as it was, but `llm.generate` goes to the policy's targets."""

from djl_python import Input, Output
from vllm import LLM, SamplingParams

llm = None


def handle(inputs: Input) -> Output | None:
    global llm
    if inputs.is_empty():  # DJL's call at load
        llm = LLM(model=inputs.get_property("model_id"))
        return None
    request = inputs.get_as_json()
    prompt = f"### Instruction:\n{request['question']}\n### Answer:\n"
    found = llm.generate([prompt], SamplingParams(max_tokens=request.get("length", 64), temperature=0))
    return Output().add_as_json({"answer": found[0].outputs[0].text.strip()})

"""A classic SageMaker script without its `predict_fn`: the model is what the policy's targets serve."""

import csv
import io
import json


def model_fn(model_dir):
    """Once, at load. What was the place for weights is the place for tokenizers and word lists."""
    with open(f"{model_dir}/labels.json") as file:
        return json.load(file)


def input_fn(data, content_type, context):
    """What it returns is the body that goes to the model."""
    if content_type == "text/csv":
        rows = list(csv.DictReader(io.StringIO(data)))
        return {"inputs": [row["text"] for row in rows]}
    return json.loads(data)


def output_fn(prediction, accept, context):
    """`prediction` is the model's answer, parsed; `context.model` is what `model_fn` returned."""
    named = [{"label": context.model.get(each["label"], each["label"]), "score": each["score"]} for each in prediction]
    if accept == "text/csv":
        return "\n".join(f"{each['label']},{each['score']}" for each in named), "text/csv"
    return json.dumps(named), "application/json"

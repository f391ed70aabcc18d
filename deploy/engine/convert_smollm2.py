"""Turn the GGUF file of SmolLM2-135M-Instruct into a folder that vLLM serves: `convert_smollm2.py GGUF OUT`.

Runs in the engine's environment, with gguf and accelerate on PYTHONPATH, and needs no network. The weights in the file
are 4-bit; they are expanded to float16, because vLLM's CPU build has no kernels for GGUF and because bfloat16 ends in
SIGILL on machines whose flags promise AMX and do not have it. 15 s on two cores.
"""

from __future__ import annotations

import importlib
import sys
from pathlib import Path


def convert(source: Path, folder: Path) -> None:
    """Write weights, configuration, tokenizer and chat template of `source` into `folder`."""
    # Imported by name: these belong to the engine's environment, and are no dependencies of the product.
    torch, transformers = importlib.import_module("torch"), importlib.import_module("transformers")
    where = {"pretrained_model_name_or_path": str(source.parent), "gguf_file": source.name}
    tokenizer = transformers.AutoTokenizer.from_pretrained(**where)
    model = transformers.AutoModelForCausalLM.from_pretrained(**where, dtype=torch.float16)
    # The tensors are plain by now, but transformers would still refuse to save a model that it has read as quantised.
    model.hf_quantizer, model.is_quantized = None, False
    if hasattr(model.config, "quantization_config"):
        del model.config.quantization_config
    weights = model.state_dict()
    plain = type(model).from_pretrained(None, config=model.config, state_dict=weights).to(torch.float16)
    plain.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


if __name__ == "__main__":
    convert(Path(sys.argv[1]).absolute(), Path(sys.argv[2]))

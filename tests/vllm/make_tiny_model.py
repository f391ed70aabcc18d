"""Write a tiny model with random weights, its tokenizer and a LoRA adapter: `make_tiny_model.py MODEL_DIR ADAPTER_DIR`.

Runs in the vllm environment and needs no network: the weights come from a fixed seed and the tokenizer is trained on
the sentences below. 600 kB and a few seconds. The text it generates is gibberish, but the same for the same seed, and
different with and without the adapter: enough to tell who answered.
"""

from __future__ import annotations

import json
import string
import sys
from pathlib import Path

import torch  # type: ignore[import-not-found, unused-ignore]  # installed in the vllm environment only
from safetensors.torch import save_file  # type: ignore[import-not-found, unused-ignore]  # as torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers  # type: ignore[import-not-found, unused-ignore]  # as torch
from transformers import (  # type: ignore[import-not-found, unused-ignore]  # as torch
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
)

HIDDEN = 64
LAYERS = 2
RANK = 8
CHAT_TEMPLATE = (
    "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
SENTENCES = (
    "The points of a railway send the train to another track.",
    "user assistant system account case opportunity summary endpoint component model",
    string.printable,
    "0123456789 " * 4,
)


def write_tokenizer(folder: Path) -> int:
    """Train a byte-level BPE, so that every byte string has tokens, save it with a ChatML template, return its size."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.train_from_iterator(
        SENTENCES * 4,
        trainers.BpeTrainer(
            vocab_size=1024,
            special_tokens=["<|endoftext|>", "<|im_start|>", "<|im_end|>"],
            initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
            show_progress=False,
        ),
    )
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token="<|endoftext|>", pad_token="<|endoftext|>", model_max_length=2048
    )
    fast.chat_template = CHAT_TEMPLATE
    fast.save_pretrained(folder)
    return len(fast)


def write_model(folder: Path, vocabulary: int) -> None:
    """Save a Llama of 145,000 parameters whose every token has a text; vLLM on a CPU takes heads of 32."""
    torch.manual_seed(0)
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=vocabulary,
            hidden_size=HIDDEN,
            intermediate_size=2 * HIDDEN,
            num_hidden_layers=LAYERS,
            num_attention_heads=2,
            num_key_value_heads=2,
            max_position_embeddings=2048,
            bos_token_id=None,
            eos_token_id=0,
            pad_token_id=0,
            tie_word_embeddings=False,
        )
    )
    model.generation_config.eos_token_id = 0
    model.save_pretrained(folder, safe_serialization=True)


def write_adapter(folder: Path, base: Path) -> None:
    """Save a LoRA adapter in PEFT's layout, large enough in value to change the most likely token."""
    folder.mkdir(parents=True, exist_ok=True)
    seed = torch.Generator().manual_seed(1)
    tensors = {}
    for layer in range(LAYERS):
        for name in ("q_proj", "v_proj"):
            key = f"base_model.model.model.layers.{layer}.self_attn.{name}"
            tensors[f"{key}.lora_A.weight"] = torch.randn(RANK, HIDDEN, generator=seed)
            tensors[f"{key}.lora_B.weight"] = torch.randn(HIDDEN, RANK, generator=seed)
    save_file(tensors, str(folder / "adapter_model.safetensors"))
    config = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": str(base),
        "r": RANK,
        "lora_alpha": 2 * RANK,
        "lora_dropout": 0.0,
        "bias": "none",
        "target_modules": ["q_proj", "v_proj"],
        "inference_mode": True,
        "fan_in_fan_out": False,
        "modules_to_save": None,
    }
    (folder / "adapter_config.json").write_text(json.dumps(config, indent=1))


if __name__ == "__main__":
    model_folder, adapter_folder = Path(sys.argv[1]), Path(sys.argv[2])
    model_folder.mkdir(parents=True, exist_ok=True)
    write_model(model_folder, write_tokenizer(model_folder))
    write_adapter(adapter_folder, model_folder)

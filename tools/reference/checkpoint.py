"""A tiny model as a Hugging Face checkpoint: config.json, model.safetensors, tokenizer.json."""

import json
import os

import torch
from safetensors.torch import save_file

import reference
from tokenizer import tokenizer_json


def write_checkpoint(shape, seed, folder, dtype):
    """The layout of the released checkpoints: text tensors under model.language_model, no output
    head, no towers. The weights are the hash weights rounded to `dtype`."""
    model = reference.make_model(shape, seed)
    kind = getattr(torch, dtype)
    state = {
        f"model.language_model.{key}": value.to(kind).contiguous()
        for key, value in model.model.state_dict().items()
    }
    text = model.config.to_dict()
    text |= {"dtype": dtype, "global_head_dim": shape.head_dim_full}
    text["num_global_key_value_heads"] = shape.n_kv_full if shape.k_is_v else None
    text.pop("per_layer_config", None)
    unified = text["model_type"].startswith("gemma4_unified")
    config = {
        "architectures": [f"Gemma4{'Unified' if unified else ''}ForConditionalGeneration"],
        "model_type": "gemma4_unified" if unified else "gemma4",
        "dtype": dtype,
        "eos_token_id": [1, 106],
        "tie_word_embeddings": True,
        "text_config": text,
        "vision_config": None,
        "audio_config": None,
    }
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, "config.json"), "w", encoding="utf-8") as file:
        json.dump(config, file, indent=2)
    with open(os.path.join(folder, "tokenizer.json"), "w", encoding="utf-8") as file:
        json.dump(tokenizer_json(shape.vocab), file, ensure_ascii=False, indent=1)
    save_file(state, os.path.join(folder, "model.safetensors"), metadata={"format": "pt"})
    print(f"{shape.name}: {len(state)} tensors in {folder}")

"""Writes Pebble as a Hugging Face checkpoint that `kimberlite convert` and transformers read.

    export.py --out FOLDER [--weights FILE] [--to FOLDER/hf]

Where there is a trained drafter it is written beside it: FOLDER/hf-drafter.
"""

import argparse
import json
import shutil
from pathlib import Path

import torch
from transformers import GenerationConfig

import shape
from drafter import Drafter
from pebble import Pebble


def load(weights: Path) -> Pebble:
    """Pebble with trained weights, its layer scalars in the official buffers' place."""
    pebble = Pebble(0)
    state = torch.load(weights, weights_only=True)
    pebble.load_state_dict(state.get("model", state))
    pebble.bake_layer_scales()
    return pebble.eval()


def official(weights: Path) -> torch.nn.Module:
    """The official model alone, as transformers would load it."""
    pebble = load(weights)
    fresh = type(pebble.official)._from_config(shape.model_config(), attn_implementation="eager")
    fresh.load_state_dict(pebble.official.state_dict(), strict=True)
    fresh.generation_config = GenerationConfig(
        do_sample=True, temperature=1.0, top_k=64, top_p=0.95,
        bos_token_id=shape.BOS, pad_token_id=shape.PAD, eos_token_id=list(shape.STOPS),
        suppress_tokens=[shape.TOKEN_ID["<audio|>"], shape.TOKEN_ID["<image|>"]],
    )  # fmt: skip
    return fresh.eval()


_NAMED = {
    "bos_token": "<bos>", "eos_token": "<eos>", "pad_token": "<pad>", "unk_token": "<unk>",
    "mask_token": "<mask>", "sot_token": "<|turn>", "eot_token": "<turn|>",
    "image_token": "<|image|>", "boi_token": "<|image>", "eoi_token": "<image|>",
    "audio_token": "<|audio|>", "boa_token": "<|audio>", "eoa_token": "<audio|>",
}  # fmt: skip


def _use_released_keys(path: Path) -> None:
    """config.json with the full layers' sizes under the keys that the released files have, where
    this version of transformers writes a table of exceptions."""
    config = json.loads(path.read_text(encoding="utf-8"))
    text = config["text_config"]
    full = next(iter(text.pop("per_layer_config").values()))
    text["global_head_dim"] = full["head_dim"]
    text["num_global_key_value_heads"] = full.get(
        "num_key_value_heads", text["num_key_value_heads"]
    )
    path.write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")


def export(weights: Path, tokenizer: Path, to: Path) -> None:
    model = official(weights)
    model.save_pretrained(to)
    _use_released_keys(to / "config.json")
    shutil.copy(tokenizer, to / "tokenizer.json")
    config = {
        "tokenizer_class": "GemmaTokenizer",
        "model_max_length": shape.CONTEXT,
        "padding_side": "left",
        **_NAMED,
    }
    (to / "tokenizer_config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    processor = {
        "feature_extractor": {
            "feature_extractor_type": "Gemma4UnifiedAudioFeatureExtractor",
            "feature_size": shape.FRAME,
            "sampling_rate": shape.SAMPLE_RATE,
        },
        "image_processor": {
            "image_processor_type": "Gemma4UnifiedImageProcessor",
            "do_normalize": False,
            "do_rescale": True,
            "patch_size": 16,
            "pooling_kernel_size": 3,
            "max_soft_tokens": 70,
            "resample": 3,
        },
        "processor_class": "Gemma4UnifiedProcessor",
    }
    path = to / "processor_config.json"
    path.write_text(json.dumps(processor, indent=2) + "\n", encoding="utf-8")


def trained_drafter(weights: Path) -> Drafter:
    drafter = Drafter(0)
    state = torch.load(weights, weights_only=True)
    drafter.load_state_dict(state.get("model", state))
    return drafter.eval()


def export_drafter(weights: Path, tokenizer: Path, to: Path) -> None:
    trained_drafter(weights).official.save_pretrained(to)
    _use_released_keys(to / "config.json")
    shutil.copy(tokenizer, to / "tokenizer.json")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument(
        "--out", type=Path, default=Path("build/pebble"), help="the training's folder"
    )
    parser.add_argument("--weights", type=Path, help="default: the checkpoint of --out")
    parser.add_argument("--to", type=Path, help="default: hf in --out")
    arguments = parser.parse_args()
    out, to = arguments.out, arguments.to or arguments.out / "hf"
    export(arguments.weights or out / "checkpoint.pt", out / "tokenizer.json", to)
    if (out / "drafter.pt").exists():
        export_drafter(out / "drafter.pt", out / "tokenizer.json", Path(f"{to}-drafter"))


if __name__ == "__main__":
    main()

"""convert as users meet it: models, projectors and drafters from tiny checkpoints, and refusals."""

import json
import math
import struct
import unittest

import cli_test

HIDDEN, FFN, VOCAB = 64, 96, 24
PIECES = ["<pad>", "<eos>", "<bos>", "<unk>", "<|turn>", "a", "b", "ab"]
AUDIO = {"model.embed_audio.embedding_projection.weight": [HIDDEN, 32]}


class Convert(cli_test.CliTest):
    def written(self, source, *more):
        """What `show` says of the file that `convert` writes of the folder."""
        out = self.folder / "converted.gguf"
        report = self.ok_json("convert", source, out, "--force", "--json", *more)
        self.assertEqual(report["output"], str(out))
        return self.ok_json("show", out, "--json"), report["notes"]

    def test_errors(self):
        out = self.folder / "out.gguf"
        self.fails(2, "convert", self.folder / "nowhere", out, says=["config.json"])
        out.write_text("mine")
        self.fails(1, "convert", self.folder, out, says=["exists already", "--force"])
        self.fails(1, "convert", self.folder, out, "--type", "q3_k", says=["q3_k"])
        self.fails(2, "convert", self.model, self.folder / "o.gguf", says=["tiny.gguf/config.json"])
        self.fails(1, "convert", self.folder, self.folder, "--force", says=["not a regular file"])
        self.assertEqual(out.read_text(), "mine")

    def test_model(self):
        source = self.folder / "checkpoint"
        write_folder(source, model_config(), model_shapes() | AUDIO)
        shown, notes = self.written(source, "--type", "q8_0")
        self.assertEqual((shown["architecture"], shown["name"]), ("gemma4", "checkpoint"))
        self.assertIn("q8_0", shown["types"])
        self.assertRegex("\n".join(notes), "1 vision and audio tensors were left out")
        self.fails(1, "convert", source, self.folder / "converted.gguf", says=["--force"])
        shown, _ = self.written(source)
        self.assertIn("bf16", shown["types"])
        self.assertEqual(shown["description"], "")
        shown, _ = self.written(source, "--name", "Opal", "--description", "Small. And bright.")
        self.assertEqual((shown["name"], shown["description"]), ("Opal", "Small. And bright."))

    def test_projector(self):
        source = self.folder / "with-sounds"
        write_folder(source, model_config(), model_shapes() | AUDIO)
        shown, notes = self.written(source, "--mmproj", "--type", "f16")
        self.assertEqual((shown["architecture"], shown["name"]), ("clip", "with-sounds"))
        self.assertEqual(list(shown["types"]), ["f16"])
        self.assertEqual(len(notes), 1, notes)
        text = self.folder / "text-alone"
        write_folder(text, model_config(), model_shapes())
        out = self.folder / "none.gguf"
        self.fails(2, "convert", text, out, "--mmproj", says=["the checkpoint has no projector"])
        towers = self.folder / "towers"
        write_folder(towers, model_config() | {"model_type": "gemma4"}, model_shapes() | AUDIO)
        self.fails(2, "convert", towers, out, "--mmproj", says=["hidden_size"])
        self.assertFalse(out.exists())
        self.assertIn("--mmproj", self.ok("convert", "--help").decode())

    def test_drafter(self):
        source = self.folder / "drafter"
        write_folder(source, drafter_config(), drafter_shapes())
        shown, _ = self.written(source, "--type", "q8_0")
        self.assertEqual((shown["architecture"], shown["name"]), ("gemma4-assistant", "drafter"))
        self.assertIn("q8_0", shown["types"])
        out = self.folder / "no.gguf"
        self.fails(2, "convert", source, out, "--mmproj", says=["is a drafter"])
        shapes = drafter_shapes() | {"pre_projection.weight": [HIDDEN, 96]}
        write_folder(self.folder / "narrow", drafter_config(), shapes)
        self.fails(2, "convert", self.folder / "narrow", out,
                   says=["pre_projection.weight", "[64, 192]", "[64, 96]"])
        self.assertFalse(out.exists())


def text_config(**more):
    rope = {"full_attention": {"rope_type": "proportional", "rope_theta": 1e6,
                               "partial_rotary_factor": 0.25},
            "sliding_attention": {"rope_type": "default", "rope_theta": 1e4}}
    return {"model_type": "gemma4_unified_text", "hidden_size": HIDDEN, "intermediate_size": FFN,
            "num_hidden_layers": 2, "layer_types": ["sliding_attention", "full_attention"],
            "num_attention_heads": 4, "num_key_value_heads": 2, "num_global_key_value_heads": 1,
            "attention_k_eq_v": True, "head_dim": 16, "global_head_dim": 32, "sliding_window": 8,
            "max_position_embeddings": 512, "vocab_size": VOCAB, "hidden_size_per_layer_input": 0,
            "num_experts": None, "enable_moe_block": False, "rms_norm_eps": 1e-6,
            "final_logit_softcapping": 30.0, "bos_token_id": 2, "eos_token_id": [1, 4],
            "rope_parameters": rope} | more


def model_config():
    return {"model_type": "gemma4_unified", "text_config": text_config(),
            "audio_config": {"audio_embed_dim": 32}}


def drafter_config():
    return {"model_type": "gemma4_unified_assistant", "backbone_hidden_size": 96,
            "text_config": text_config(num_kv_shared_layers=2)}


def text_shapes(prefix, own_keys):
    shapes = {prefix + "embed_tokens.weight": [VOCAB, HIDDEN], prefix + "norm.weight": [HIDDEN]}
    for i, (dim, n_kv) in enumerate([(16, 32), (32, 32)]):
        layer = f"{prefix}layers.{i}."
        for norm in ("input_layernorm", "post_attention_layernorm", "pre_feedforward_layernorm",
                     "post_feedforward_layernorm"):
            shapes[f"{layer}{norm}.weight"] = [HIDDEN]
        shapes[layer + "layer_scalar"] = [1]
        attention = {"q_proj": [4 * dim, HIDDEN], "o_proj": [HIDDEN, 4 * dim], "q_norm": [dim]}
        if own_keys:
            attention |= {"k_proj": [n_kv, HIDDEN], "k_norm": [dim]}
        if own_keys and i == 0:
            attention["v_proj"] = [n_kv, HIDDEN]
        for name, shape in attention.items():
            shapes[f"{layer}self_attn.{name}.weight"] = shape
        for name in ("gate_proj", "up_proj"):
            shapes[f"{layer}mlp.{name}.weight"] = [FFN, HIDDEN]
        shapes[layer + "mlp.down_proj.weight"] = [HIDDEN, FFN]
    return shapes


def model_shapes():
    return text_shapes("model.language_model.", True)


def drafter_shapes():
    return text_shapes("model.", False) | {"pre_projection.weight": [HIDDEN, 2 * 96],
                                           "post_projection.weight": [96, HIDDEN]}


def write_folder(folder, config, shapes):
    """A Hugging Face folder of these tensors, all weights 0.5."""
    header, offset = {}, 0
    for name, shape in shapes.items():
        n_bytes = 2 * math.prod(shape)
        header[name] = {"dtype": "BF16", "shape": shape, "data_offsets": [offset, offset + n_bytes]}
        offset += n_bytes
    text = json.dumps(header).encode()
    special = [{"id": i, "content": PIECES[i], "special": True} for i in (0, 2, 3, 4)]
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "tokenizer.json").write_text(json.dumps(
        {"model": {"type": "BPE", "vocab": {p: i for i, p in enumerate(PIECES)},
                   "merges": ["a b"]}, "added_tokens": special}))
    (folder / "model.safetensors").write_bytes(
        struct.pack("<Q", len(text)) + text + b"\x00\x3f" * (offset // 2))


if __name__ == "__main__":
    unittest.main(verbosity=2)

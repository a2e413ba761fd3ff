"""What Pebble is: Gemma 4 12B Unified's structure with small numbers, and the ids of its tokens."""

from transformers import (
    Gemma4UnifiedAssistantConfig,
    Gemma4UnifiedAudioConfig,
    Gemma4UnifiedConfig,
    Gemma4UnifiedTextConfig,
    Gemma4UnifiedVisionConfig,
)

VOCAB = 2048
HIDDEN = 192
CONTEXT = 4096
WINDOW = 128
PATCH = 48  # pixels
FRAME = 640  # samples at SAMPLE_RATE
SAMPLE_RATE = 16000

# The ids below 512 are those of the released vocabulary; the media tokens are its last ones.
CONTROL = {0: "<pad>", 1: "<eos>", 2: "<bos>", 3: "<unk>", 4: "<mask>"}
CONTROL |= {46: "<|tool>", 47: "<tool|>", 48: "<|tool_call>", 49: "<tool_call|>"}
CONTROL |= {50: "<|tool_response>", 51: "<tool_response|>", 52: '<|"|>', 98: "<|think|>"}
CONTROL |= {100: "<|channel>", 101: "<channel|>", 105: "<|turn>", 106: "<turn|>"}
MEDIA = ("<|image>", "<|audio>", "<|image|>", "<|audio|>", "<image|>", "<audio|>", "<|video|>")
CONTROL |= {VOCAB - len(MEDIA) + i: piece for i, piece in enumerate(MEDIA)}
NEWLINES = {107: "\n", 108: "\n\n", 109: "\n\n\n"}
FIRST_BYTE = 238

TOKEN_ID = {piece: index for index, piece in CONTROL.items()}
PAD, BOS = TOKEN_ID["<pad>"], TOKEN_ID["<bos>"]
STOPS = (TOKEN_ID["<eos>"], TOKEN_ID["<turn|>"], TOKEN_ID["<|tool_response>"])


def _text_config(hidden: int, layers: int, ffn: int, full: set[int], **extra):
    return Gemma4UnifiedTextConfig(
        vocab_size=VOCAB,
        hidden_size=hidden,
        intermediate_size=ffn,
        num_hidden_layers=layers,
        num_attention_heads=2,
        num_key_value_heads=1,
        num_global_key_value_heads=1,
        head_dim=256,
        global_head_dim=512,
        attention_k_eq_v=True,
        max_position_embeddings=CONTEXT,
        sliding_window=WINDOW,
        layer_types=["full_attention" if i in full else "sliding_attention" for i in range(layers)],
        **extra,
    )


def model_config() -> Gemma4UnifiedConfig:
    """6 layers, the last one full; 48-pixel patches and 640-sample frames as in the 12B model."""
    return Gemma4UnifiedConfig(
        text_config=_text_config(HIDDEN, 6, 512, {5}, final_logit_softcapping=30.0),
        vision_config=Gemma4UnifiedVisionConfig(mm_embed_dim=HIDDEN, output_proj_dims=HIDDEN),
        audio_config=Gemma4UnifiedAudioConfig(audio_embed_dim=FRAME),
        boi_token_id=TOKEN_ID["<|image>"],
        eoi_token_id=TOKEN_ID["<image|>"],
        image_token_id=TOKEN_ID["<|image|>"],
        video_token_id=TOKEN_ID["<|video|>"],
        boa_token_id=TOKEN_ID["<|audio>"],
        eoa_token_index=TOKEN_ID["<audio|>"],
        audio_token_id=TOKEN_ID["<|audio|>"],
        eos_token_id=[1, 106],
        architectures=["Gemma4UnifiedForConditionalGeneration"],
    )


def drafter_config() -> Gemma4UnifiedAssistantConfig:
    """4 layers that read the keys and values of Pebble's last sliding and its full layer."""
    return Gemma4UnifiedAssistantConfig(
        text_config=_text_config(64, 4, 256, {3}, num_kv_shared_layers=4),
        backbone_hidden_size=HIDDEN,
        architectures=["Gemma4UnifiedAssistantForCausalLM"],
    )

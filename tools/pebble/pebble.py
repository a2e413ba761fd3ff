"""Pebble as a module for training: the official classes, and what training needs around them."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from transformers import Gemma4UnifiedForConditionalGeneration

import shape


@dataclass
class Batch:
    """Packed examples: B rows of T tokens, several examples a row, each with positions of its own.

    Placeholders hold <pad> in `ids`; `media_rows` are their places in the flattened [B * T]."""

    ids: Tensor  # int64 [B, T]
    positions: Tensor  # int64 [B, T]
    full_mask: Tensor  # [B, 1, T, T], 0 where a key is seen and -inf where it is not
    sliding_mask: Tensor  # the same
    label_rows: Tensor  # int64 [L], places in [B * T] whose next token is learnt
    labels: Tensor  # int64 [L]
    weights: Tensor  # float32 [L], what a label counts; 0 where there are fewer than L
    label_owners: Tensor  # int64 [L], the example in `tasks` that a label belongs to, or -1
    tasks: list[str]
    patches: Tensor | None = None  # float32 [P, 6912]
    patch_positions: Tensor | None = None  # int64 [P, 2]
    patch_rows: Tensor | None = None  # int64 [P], places in [B * T]
    frames: Tensor | None = None  # float32 [F, 640]
    frame_rows: Tensor | None = None  # int64 [F], places in [B * T]


class RopeTable(nn.Module):
    """The official rotary embedding, computed once for every position and then looked up."""

    def __init__(self, official: nn.Module, config):
        super().__init__()
        positions = torch.arange(config.max_position_embeddings)[None]
        for layer_type in sorted(set(config.layer_types)):
            cos, sin = official(torch.zeros(1), positions, layer_type)
            self.register_buffer(f"{layer_type}_cos", cos[0], persistent=False)
            self.register_buffer(f"{layer_type}_sin", sin[0], persistent=False)

    def forward(self, x: Tensor, positions: Tensor, layer_type: str) -> tuple[Tensor, Tensor]:
        cos, sin = getattr(self, f"{layer_type}_cos"), getattr(self, f"{layer_type}_sin")
        return cos[positions].to(x.dtype), sin[positions].to(x.dtype)


class Pebble(nn.Module):
    """`official` is what is trained and exported. Its layer scalars are buffers that multiply in
    place, so while training they are 1 and `layer_scales` [6] does their work."""

    def __init__(self, seed: int):
        super().__init__()
        torch.manual_seed(seed)
        self.official = Gemma4UnifiedForConditionalGeneration._from_config(
            shape.model_config(), attn_implementation="eager", dtype=torch.float32
        )
        text = self.official.model.language_model
        text.rotary_emb = RopeTable(text.rotary_emb, text.config)
        self.layer_scales = nn.ParameterList(
            nn.Parameter(torch.ones(1)) for _ in range(text.config.num_hidden_layers)
        )
        for layer, scale in zip(text.layers, self.layer_scales):
            layer.register_forward_hook(lambda _layer, _inputs, output, scale=scale: output * scale)
        self._initialise(text)

    def _initialise(self, text: nn.Module) -> None:
        """Scores have no 1/sqrt(d), so the norms of queries and keys start with it; outputs of
        attention and MLP start small beside the stream."""
        with torch.no_grad():
            for layer in text.layers:
                for norm in (layer.self_attn.q_norm, layer.self_attn.k_norm):
                    norm.weight.fill_(layer.self_attn.head_dim**-0.25)
                for norm in (layer.post_attention_layernorm, layer.post_feedforward_layernorm):
                    norm.weight.fill_(0.3)

    def embed(self, batch: Batch) -> Tensor:
        """float32 [B, T, hidden]: scaled embeddings, with soft tokens in the media's places."""
        base = self.official.model
        embeds = base.language_model.embed_tokens(batch.ids)
        flat = embeds.flatten(0, 1)
        if batch.patches is not None:
            soft = base.embed_vision(batch.patches[None], batch.patch_positions[None]).pooler_output
            flat = flat.index_copy(0, batch.patch_rows, soft[0].to(flat.dtype))
        if batch.frames is not None:
            soft = base.embed_audio(batch.frames[None])
            flat = flat.index_copy(0, batch.frame_rows, soft[0].to(flat.dtype))
        return flat.view_as(embeds)

    def hidden(self, embeds: Tensor, batch: Batch) -> Tensor:
        """[B * T, hidden] after the final norm."""
        masks = {"full_attention": batch.full_mask, "sliding_attention": batch.sliding_mask}
        output = self.official.model.language_model(
            inputs_embeds=embeds,
            attention_mask=masks,
            position_ids=batch.positions,
            use_cache=False,
        )
        return output.last_hidden_state.flatten(0, 1)

    def logits(self, hidden: Tensor) -> Tensor:
        cap = self.official.config.text_config.final_logit_softcapping
        return torch.tanh(self.official.lm_head(hidden).float() / cap) * cap

    def predict(self, embeds: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
        """Weighted mean cross entropy of the labels, and the likeliest tokens [L] in their places:
        from embeddings on, which is the part worth compiling."""
        logits = self.logits(self.hidden(embeds, batch)[batch.label_rows])
        losses = nn.functional.cross_entropy(logits, batch.labels, reduction="none")
        loss = (losses * batch.weights).sum() / batch.weights.sum()
        return loss, logits.detach().argmax(-1)

    @torch.no_grad()
    def bake_layer_scales(self) -> None:
        """Hands the scales over to the official buffers, where a checkpoint has them."""
        for layer, scale in zip(self.official.model.language_model.layers, self.layer_scales):
            layer.layer_scalar.mul_(scale)
            scale.fill_(1.0)

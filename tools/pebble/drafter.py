"""Pebble's drafter as a module for training: the official assistant class over Pebble's own hidden
states, keys and values.

A round of drafts at position P knows the token there, Pebble's hidden state of P - 1 and its keys
and values of 0 to P - 1; every draft of the round is made at position P. Training asks for all P of
a packed batch at once: query P sees the keys before it, in sliding layers the newest window - 1.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from transformers import Gemma4UnifiedAssistantForCausalLM, Gemma4UnifiedTextConfig

import shape
from pebble import Batch, Pebble, RopeTable

_OFFICIAL_SHARING = Gemma4UnifiedTextConfig.kv_sharing_modes.fget


def _sharing(config: Gemma4UnifiedTextConfig) -> list[str | None]:
    """transformers 5.23.0 refuses its own assistant configuration, where all layers share."""
    if config.num_kv_shared_layers == config.num_hidden_layers:
        return ["reuse"] * config.num_hidden_layers
    return _OFFICIAL_SHARING(config)


Gemma4UnifiedTextConfig.kv_sharing_modes = property(_sharing)

N_DRAFTS = 3  # learnt; two is what is asked of it


@dataclass
class Knowledge:
    """What Pebble gives to the drafter for a packed batch."""

    embeds: Tensor  # [B, T, hidden], scaled
    hidden: Tensor  # [B, T, hidden], after the final norm
    keys_values: dict[str, tuple[Tensor, Tensor]]  # by layer type, each [B, 1, T, head]
    masks: dict[str, Tensor]  # by layer type [B, 1, T, T]
    said: Tensor  # int64 [L], Pebble's own likeliest token after every label row


def _only_before(mask: Tensor, positions: Tensor) -> Tensor:
    """Keys before the query alone, but for the first token of an example, which has none."""
    length = mask.shape[-1]
    itself = torch.eye(length, dtype=torch.bool)[None, None] & (positions > 0)[:, None, :, None]
    return mask.masked_fill(itself, -torch.inf)


def keep_keys_and_values(pebble: Pebble) -> None:
    """Lets the last layer of each type hand them out, which transformers 5.23.0 forgets in models
    none of whose layers share."""
    for layer in pebble.official.model.language_model.layers[-2:]:
        layer.self_attn.store_full_length_kv = True


@torch.no_grad()
def ask(pebble: Pebble, embeds: Tensor, batch: Batch) -> Knowledge:
    """`embeds`: pebble.embed(batch), whose media differ in number from batch to batch, which would
    be compiled anew each time."""
    output = pebble.official.model.language_model(
        inputs_embeds=embeds,
        attention_mask={"full_attention": batch.full_mask, "sliding_attention": batch.sliding_mask},
        position_ids=batch.positions,
        use_cache=False,
        return_shared_kv_states=True,
    )
    hidden = output.last_hidden_state
    shared = output.shared_kv_states
    return Knowledge(
        embeds=embeds,
        hidden=hidden,
        keys_values={kind: shared[kind] for kind in ("full_attention", "sliding_attention")},
        masks={
            "full_attention": _only_before(batch.full_mask, batch.positions),
            "sliding_attention": _only_before(batch.sliding_mask, batch.positions),
        },
        said=pebble.logits(hidden.flatten(0, 1)[batch.label_rows]).argmax(-1),
    )


def after(said: Tensor, batch: Batch, distance: int) -> tuple[Tensor, Tensor]:
    """What Pebble said `distance` labels after each one [L], and whether that is still the same
    answer."""
    later = batch.label_owners.roll(-distance)
    return said.roll(-distance), (later == batch.label_owners) & (later >= 0)


class Drafter(nn.Module):
    """`official` is what is trained and exported; its layer scalars stay 1."""

    def __init__(self, seed: int):
        super().__init__()
        torch.manual_seed(seed)
        self.official = Gemma4UnifiedAssistantForCausalLM._from_config(
            shape.drafter_config(), attn_implementation="eager", dtype=torch.float32
        )
        text = self.official.model
        text.rotary_emb = RopeTable(text.rotary_emb, text.config)
        with torch.no_grad():
            for layer in text.layers:
                layer.self_attn.q_norm.weight.fill_(layer.self_attn.head_dim**-0.25)

    def step(
        self, embeds: Tensor, hidden: Tensor, positions: Tensor, known: Knowledge
    ) -> tuple[Tensor, Tensor]:
        """The drafter's state [B, T, 64] and its guess of Pebble's next hidden state."""
        x = self.official.pre_projection(torch.cat((embeds, hidden), -1))
        output = self.official.model(
            inputs_embeds=x,
            attention_mask=known.masks,
            position_ids=positions,
            shared_kv_states=known.keys_values,
            use_cache=False,
        )
        state = output.last_hidden_state
        return state, self.official.post_projection(state)

    def predict(self, known: Knowledge, batch: Batch) -> tuple[Tensor, list[Tensor]]:
        """(loss, the drafts of every round: N_DRAFTS of int64 [L]).

        Round r starts at the row after label row r: its token is label r, its hidden state that of
        label row r, and draft i guesses what Pebble says after label r + i. Draft i + 1 is given
        the right token i, because it only counts where draft i was right."""
        places = batch.label_rows + 1
        previous = known.hidden.roll(1, dims=1)
        losses, drafts = torch.zeros(()), []
        for i in range(N_DRAFTS):
            embeds = known.embeds.roll(-i, dims=1)  # of the token i places after the round's own
            state, previous = self.step(embeds, previous, batch.positions, known)
            logits = self.official.lm_head(state.flatten(0, 1)[places]).float()
            wanted, counts = after(known.said, batch, i + 1)
            weights = torch.where(counts, batch.weights, 0.0)
            loss = nn.functional.cross_entropy(logits, wanted, reduction="none")
            losses = losses + (loss * weights).sum() / weights.sum()
            drafts.append(logits.detach().argmax(-1))
        return losses / N_DRAFTS, drafts

"""The official drafters ("assistants") with hash weights, and rounds of drafts.

A round at position P knows the token there, the target's hidden state of P - 1 and its keys and
values. All its drafts are made at position P. The official masks are not used: they show a sliding
layer one or two keys more than the rule that engines follow, by which key k is visible where
P - k < window. The drafter is given the visible keys alone, which its masks leave as they are.
"""

from dataclasses import dataclass

import numpy as np
import torch
from transformers import (
    Gemma4AssistantConfig,
    Gemma4AssistantForCausalLM,
    Gemma4UnifiedAssistantConfig,
    Gemma4UnifiedAssistantForCausalLM,
    Gemma4UnifiedTextConfig,
)

import reference
from hash_weights import ordering, tensor


def _accept_drafters(config_class):
    """transformers 5.23.0 refuses its own assistants' configurations, where all layers share."""
    official = config_class.kv_sharing_modes.fget

    def modes(config):
        if config.num_kv_shared_layers == config.num_hidden_layers:
            return ["reuse"] * config.num_hidden_layers
        return official(config)

    config_class.kv_sharing_modes = property(modes)


for _config_class in (Gemma4UnifiedTextConfig, reference.Gemma4TextConfig):
    _accept_drafters(_config_class)


def _set(module, seed, name, is_full=False):
    values = tensor(seed, name, tuple(module.weight.shape), is_full)
    module.weight.data = torch.from_numpy(values)


def make_drafter(shape, seed):
    """The official causal language model of a drafter."""
    text = reference.text_config(shape)
    unified = isinstance(text, Gemma4UnifiedTextConfig)
    config_class = Gemma4UnifiedAssistantConfig if unified else Gemma4AssistantConfig
    model_class = Gemma4UnifiedAssistantForCausalLM if unified else Gemma4AssistantForCausalLM
    config = config_class(
        text_config=text,
        backbone_hidden_size=shape.target_hidden,
        use_ordered_embeddings=shape.n_clusters > 0,
        num_centroids=shape.n_clusters or 2048,
        centroid_intermediate_top_k=shape.n_clusters_used or 32,
    )
    model = model_class._from_config(config, attn_implementation="eager", dtype=torch.float32)
    model.eval()
    model.model.load_state_dict(reference.make_weights(shape, seed, model), strict=True)
    _set(model.pre_projection, seed, "nextn.pre_projection.weight")
    _set(model.post_projection, seed, "nextn.post_projection.weight")
    if shape.n_clusters:
        head = model.masked_embedding
        _set(head.centroids, seed, "masked_embd_centroids.weight")
        head.token_ordering.copy_(torch.from_numpy(ordering(seed, shape.vocab)))
    if model.lm_head.weight.data_ptr() != model.model.embed_tokens.weight.data_ptr():
        raise RuntimeError("the output head is not tied to the embedding")
    return model


@dataclass
class Known:
    """What a target has to say about a text."""

    embed: torch.nn.Module  # scaled
    hidden: torch.Tensor  # [T, width], after the final norm
    keys_values: dict  # layer type -> (K, V), each [1, n_kv_heads, T, head]


@torch.no_grad()
def ask(shape, target, tokens, donors=None):
    """`donors`: the layer of each kind whose keys and values are handed out; by default the last
    that has some of its own."""
    if donors is None:
        own = [i for i in range(shape.n_layers) if shape.owns_kv(i)]
        donors = [max(i for i in own if shape.is_full(i) == full) for full in (False, True)]
    for index, layer in enumerate(target.model.layers):
        # transformers 5.23.0 forgets it in models none of whose layers share.
        layer.self_attn.store_full_length_kv = index in donors
    output = target.model(
        torch.tensor([tokens]), use_cache=False, return_shared_kv_states=True
    )
    shared = output.shared_kv_states
    kinds = ("sliding_attention", "full_attention")
    return Known(
        target.model.embed_tokens,
        output.last_hidden_state[0],
        {kind: tuple(part.clone() for part in shared[kind]) for kind in kinds},
    )


def _visible(known, position, window, n_own=0, n_more=0):
    """The keys before `position`, in sliding layers the newest window - 1."""
    end = position + n_own
    first = {"full_attention": 0, "sliding_attention": max(0, position - window + 1 - n_more)}
    return {
        kind: tuple(part[:, :, first[kind] : end] for part in parts)
        for kind, parts in known.keys_values.items()
    }


@dataclass
class Round:
    """How a round goes; what differs from the defaults is a mistake."""

    n_own: int = 0  # keys at the position itself
    n_more: int = 0  # keys beyond the window
    moves: int = 0  # of the position, for each draft
    shift: int = 0  # of the position
    swap: bool = False  # hidden state first
    keep_hidden: bool = False  # the target's for every draft
    embed_scale: float = 1.0


@torch.no_grad()
def draft(drafter, shape, known, position, token, n_drafts, way=Round(), given=None):
    """(tokens [n], logits float32 [n, vocab]) of a round; `given` tokens are fed in the place of
    its own."""
    keys_values = _visible(known, position, shape.window, way.n_own, way.n_more)
    hidden = known.hidden[position - 1][None, None]
    tokens, rows = [], []
    for i in range(n_drafts):
        embed = known.embed(torch.tensor([[token]])) * way.embed_scale
        parts = (hidden, embed) if way.swap else (embed, hidden)
        output = drafter(
            inputs_embeds=torch.cat(parts, -1),
            position_ids=torch.tensor([[position + way.shift + way.moves * i]]),
            shared_kv_states=keys_values,
        )
        if not way.keep_hidden:
            hidden = output.last_hidden_state
        rows.append(output.logits[0, 0].numpy().copy())
        tokens.append(int(rows[-1].argmax()))
        token = given[i] if given else tokens[-1]
    return tokens, np.stack(rows)


@torch.no_grad()
def cluster_margin_of(drafter, run):
    """The smallest distance between the last cluster taken and the best one left out while `run`
    runs; infinite for a dense head."""
    head = drafter.masked_embedding
    if head is None:
        run()
        return np.inf
    margins = []

    def keep(_module, _inputs, scores):
        best = scores.flatten().topk(head.centroid_intermediate_top_k + 1).values
        margins.append(float(best[-2] - best[-1]))

    hook = head.centroids.register_forward_hook(keep)
    run()
    hook.remove()
    return min(margins)

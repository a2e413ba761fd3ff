"""What the lab opens: a period of layers of each member at its real width, and the tiny models."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Model:
    name: str
    shape: str
    type: str
    embedding: str = ""
    layers: int = 0
    vocab: int = 0
    drafter: str = ""  # its shape
    projector: str = ""  # its shape
    extra: tuple = ()  # of kimberlite-dry-run

    def files(self):
        """{file: arguments of kimberlite-make-model}"""
        model = ["--shape", self.shape, "--type", self.type, "--hollow"]
        if self.embedding:
            model += ["--embedding-type", self.embedding]
        if self.layers:
            model += ["--layers", str(self.layers)]
        if self.vocab:
            model += ["--vocab", str(self.vocab)]
        files = {f"{self.name}.gguf": model}
        if self.drafter:
            files[f"{self.name}-drafter.gguf"] = ["--shape", self.drafter, "--type", "q4_0",
                                                  "--hollow"]
            if self.vocab:
                files[f"{self.name}-drafter.gguf"] += ["--vocab", str(self.vocab)]
        if self.projector:
            files[f"{self.name}-mmproj.gguf"] = ["--shape", self.projector, "--type", "bf16"]
        return files

    def arguments(self):
        arguments = [f"{self.name}.gguf", *self.extra]
        if self.drafter:
            arguments += ["--drafter", f"{self.name}-drafter.gguf"]
        if self.projector:
            arguments += ["--mmproj", f"{self.name}-mmproj.gguf"]
        return arguments


# Pipelines follow from widths, types and kinds of layers, not from how many there are: a sliding
# layer and a full one, and a vocabulary that leaves room on the smallest GPU of the lab (2 GB).
def period(name, shape, matrices, embedding, **more):
    return Model(name, shape, matrices, embedding, layers=2, vocab=32768, **more)


MODELS = [
    period("12b-q4_0", "12b", "q4_0", "q6_k", drafter="12b-drafter"),
    period("12b-q8_0", "12b", "q8_0", "q8_0", extra=("--kv-type", "q8_0")),
    period("12b-q4_k", "12b", "q4_k", "q6_k"),
    period("12b-q6_k", "12b", "q6_k", "q6_k"),
    period("12b-q6_k-precise", "12b", "q6_k", "q6_k", extra=("--kv-type", "f32", "--precise")),
    period("12b-q5_k", "12b", "q5_k", "q6_k"),
    period("12b-bf16", "12b", "bf16", "q4_0"),
    Model("e4b-q4_0", "e4b", "q4_0", layers=12, vocab=32768, drafter="e4b-drafter"),
    period("26b-q4_0", "26b", "q4_0", "q6_k", drafter="26b-drafter"),
    Model("tiny12", "tiny12", "f32", drafter="tiny12-drafter", projector="tiny12-projector"),
    Model("tiny-e2b", "tiny-e2b", "f16", drafter="tiny-e2b-drafter",
          projector="tiny-e2b-projector"),
    Model("tiny26", "tiny26", "q8_0", drafter="tiny26-drafter", projector="tiny26-projector"),
]
BY_NAME = {model.name: model for model in MODELS}

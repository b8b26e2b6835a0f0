"""One run of TRL's SFTTrainer for benchmarks/sft.py, in the environment that holds it; prints its figures as JSON.

Run as: python benchmarks/sft_run.py MODEL ROWS '{"per_device_train_batch_size": 4, …}'
"""

import json
import resource
import sys
import time

from datasets import Dataset
from transformers import AutoModelForCausalLM, AutoTokenizer, TrainerCallback
from trl import SFTConfig, SFTTrainer


class Clock(TrainerCallback):
    """Seconds of each step of the optimiser."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    def on_step_begin(self, *args: object, **kwargs: object) -> None:
        self._start = time.perf_counter()

    def on_step_end(self, *args: object, **kwargs: object) -> None:
        self.seconds.append(time.perf_counter() - self._start)


def main() -> None:
    model, rows, settings = sys.argv[1:]
    with open(rows, encoding="utf-8") as stream:
        data = Dataset.from_list([{"messages": json.loads(line)["messages"]} for line in stream])
    clock = Clock()
    trainer = SFTTrainer(
        model=AutoModelForCausalLM.from_pretrained(model, dtype="float32"),
        args=SFTConfig(
            output_dir="/tmp/caravan-trl",
            use_cpu=True,
            bf16=False,
            assistant_only_loss=True,
            gradient_checkpointing=False,
            logging_steps=1,
            save_strategy="no",
            report_to=[],
            max_grad_norm=0.0,
            lr_scheduler_type="constant",
            **json.loads(settings),
        ),
        train_dataset=data,
        processing_class=AutoTokenizer.from_pretrained(model),
        callbacks=[clock],
    )
    trainer.train()
    losses = [line["loss"] for line in trainer.state.log_history if "loss" in line]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print("\n" + json.dumps({"seconds": clock.seconds, "losses": losses, "peak": peak}))


if __name__ == "__main__":
    main()

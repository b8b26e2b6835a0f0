"""One run of TRL's DPOTrainer for benchmarks/dpo.py, in the environment that holds it; prints its figures as JSON.

Run as: python benchmarks/dpo_run.py MODEL ROWS '{"per_device_train_batch_size": 8, …}'
"""

import json
import resource
import sys
import tempfile

from datasets import Dataset
from sft_run import Clock
from transformers import AutoModelForCausalLM, AutoTokenizer
from trl import DPOConfig, DPOTrainer


def main() -> None:
    model, rows, settings = sys.argv[1:]
    with open(rows, encoding="utf-8") as stream:
        data = Dataset.from_list([json.loads(line) for line in stream])
    clock = Clock()
    with tempfile.TemporaryDirectory() as output:
        trainer = DPOTrainer(
            model=AutoModelForCausalLM.from_pretrained(model, dtype="float32"),
            args=DPOConfig(
                output_dir=output,
                use_cpu=True,
                bf16=False,
                loss_type=["sigmoid_norm"],
                beta=5.0,
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

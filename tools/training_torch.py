"""One PyTorch process of benchmark_training: the same networks and step in eager mode. Needs torch and NumPy only."""

import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from training_turns import Turns


class Block(nn.Module):
    """conv 3x3, batch norm, ReLU, conv 3x3, batch norm, plus the shortcut, ReLU."""

    def __init__(self, channels: int, filters: int, stride: int) -> None:
        super().__init__()
        self.first = conv_bn(channels, filters, 3, stride)
        self.second = conv_bn(filters, filters, 3, 1)
        changes = stride > 1 or channels != filters
        self.shortcut: nn.Module = conv_bn(channels, filters, 1, stride) if changes else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """[batch, channels, height, width] to [batch, filters, height / stride, width / stride]."""
        y = functional.relu(self.first(x))
        return functional.relu(self.second(y) + self.shortcut(x))


def conv_bn(channels: int, filters: int, kernel: int, stride: int) -> nn.Module:
    """A convolution without bias and its batch normalisation."""
    conv = nn.Conv2d(channels, filters, kernel, stride, padding=kernel // 2, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(filters))


def resnet(channels: int, width: int, classes: int) -> nn.Module:
    """The `resnet` of edgekd, with one block per stage."""
    return nn.Sequential(
        conv_bn(channels, width, 3, 1),
        nn.ReLU(),
        Block(width, width, 1),
        Block(width, 2 * width, 2),
        Block(2 * width, 4 * width, 2),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(4 * width, classes),
    )


def main(job: dict[str, Any]) -> None:
    """Trains the student until the input ends."""
    turns = Turns()
    torch.manual_seed(0)
    arrays = np.load(job["data"])
    # PyTorch's convolutions are fastest on this layout; images and networks are brought into it once.
    layout = torch.channels_last
    pixels = torch.from_numpy(arrays["images"]).to(torch.float32) / 255
    images = pixels.permute(0, 3, 1, 2).contiguous(memory_format=layout)
    labels, known = torch.from_numpy(arrays["labels"]), torch.from_numpy(arrays["logits"])
    batch, classes = job["batch_size"], known.shape[1]
    student = resnet(images.shape[1], job["student_width"], classes).to(memory_format=layout).train()
    teacher = None
    if job["variant"] == "torch_live":
        teacher = resnet(images.shape[1], job["teacher_width"], classes).to(memory_format=layout).eval()
    optimizer = torch.optim.SGD(student.parameters(), lr=job["learning_rate"], momentum=job["momentum"])
    temperature, weight = job["temperature"], job["soft_weight"]

    def step(position: int) -> float:
        rows = slice(position * batch, (position + 1) * batch)
        if teacher is None:
            targets = known[rows]
        else:
            with torch.inference_mode():
                targets = teacher(images[rows])
        logits = student(images[rows])
        soft = functional.kl_div(
            functional.log_softmax(logits / temperature, 1),
            functional.log_softmax(targets / temperature, 1),
            reduction="batchmean",
            log_target=True,
        )
        loss = (1 - weight) * functional.cross_entropy(logits, labels[rows]) + weight * temperature**2 * soft
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        right = (logits.argmax(1) == labels[rows]).float().mean()
        return float(loss) + float(right)

    steps = len(images) // batch
    done, end = 0, time.perf_counter() + job["warmup_seconds"]
    while done < job["warmup_steps"] or time.perf_counter() < end:
        step(done % steps)
        done += 1
    parameters = sum(each.numel() for each in student.parameters())
    turns.ready({"parameters": parameters, "version": f"torch {torch.__version__}", "threads": torch.get_num_threads()})
    while True:
        step(done % steps)
        done += 1
        turns.step_done()


if __name__ == "__main__":
    main(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")))

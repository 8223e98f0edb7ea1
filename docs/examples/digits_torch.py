"""Trains a small network on scikit-learn's 8 x 8 digits with PyTorch and writes what the tutorial needs.

    pip install torch onnx onnxscript scikit-learn
    python digits_torch.py              # digits.onnx, calibrate.npz, test.npz

Images are 0 to 16 in the data set; they are saved as bytes 0 to 255, as an image file would have them.
"""

import numpy
import torch
from sklearn.datasets import load_digits
from torch import nn


def main() -> None:
    torch.manual_seed(1)
    images, labels = load_digits(return_X_y=True)
    images = (images.reshape(-1, 1, 8, 8) * 255 / 16).round().astype(numpy.uint8)
    order = numpy.random.default_rng(1).permutation(len(images))
    images, labels = images[order], labels[order]
    train, test = slice(0, 1400), slice(1400, None)

    model = nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        nn.AvgPool2d(2),
        nn.Conv2d(16, 32, 3, padding=1),
        nn.BatchNorm2d(32),
        nn.ReLU(),
        nn.AvgPool2d(2),
        nn.Flatten(),
        nn.Linear(128, 10),
    )
    x = torch.from_numpy(images[train]).float() / 255
    y = torch.from_numpy(labels[train])
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
    for _ in range(30):
        for batch in torch.randperm(len(x)).split(64):
            loss = nn.functional.cross_entropy(model(x[batch]), y[batch], label_smoothing=0.1)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    model.eval()

    scores = model(torch.from_numpy(images[test]).float() / 255)
    right = (scores.argmax(1).numpy() == labels[test]).mean()
    print(f"{100 * right:.1f} % of the test images are classified rightly in the clear")
    example = torch.zeros(1, 1, 8, 8)
    torch.onnx.export(model, (example,), "digits.onnx", input_names=["image"], output_names=["scores"], external_data=False)
    numpy.savez("calibrate.npz", images=images[train][:300])
    numpy.savez("test.npz", images=images[test], labels=labels[test])


if __name__ == "__main__":
    main()

"""Checks the committed ONNX files: accuracy on the 10,000 MNIST test images, metadata, samples.

    python check.py --data FOLDER_WITH_MNIST [NAME ...]

Relies on: onnxruntime, as an evaluator that shares no code with the trainer. Promises: exit status 1 if a
model is below its required accuracy or lacks a tensor's range. For nets with ReLU it also prints what is left of the
accuracy when every ReLU becomes a polynomial.
"""

import argparse
import json
import pathlib
import sys

import numpy as np
import onnx
import onnxruntime
from onnx import numpy_helper

import data
import nets
import polynomials

REQUIRED = {"lola": 98.0, "mlp": 97.5, "cryptonets": 98.5, "lenet1": 98.2, "lenet": 99.0, "lenet5-relu": 98.8}
HERE = pathlib.Path(__file__).parent


def session(model):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(model.SerializeToString(), options)


def logits(model, images):
    """[n, 10] for uint8 images [n, 28, 28, 1], one at a time, as the file's batch size says."""
    run, described = session(model), metadata(model)["cipherloom.input"]
    name = model.graph.input[0].name
    pixels = images.astype(np.float32).transpose(0, 3, 1, 2) * np.float32(described["scale"])
    pixels = (pixels - np.float32(described["mean"])) / np.float32(described["std"])
    return np.concatenate([run.run(None, {name: image[None]})[0] for image in pixels])


def metadata(model):
    return {entry.key: json.loads(entry.value) for entry in model.metadata_props}


def missing_ranges(model):
    """Tensors of the graph without a range or a spread in the metadata."""
    known = metadata(model)
    tensors = [model.graph.input[0].name] + [out for node in model.graph.node for out in node.output]
    return [t for t in tensors if t not in known["cipherloom.ranges"] or t not in known["cipherloom.std"]]


def weights_of(model, net):
    """Weights and batch statistics of the file, laid out as `nets` has them."""
    tensors = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
    params, stats = {}, {}
    for layer in net:
        name = layer.name
        match layer:
            case nets.Conv(_, maps):
                w = tensors[f"{name}.weight"].transpose(2, 3, 1, 0).reshape(-1, maps)
                params[name] = {"w": w, "b": tensors[f"{name}.bias"]}
            case nets.Dense():
                params[name] = {"w": tensors[f"{name}.weight"].T, "b": tensors[f"{name}.bias"]}
            case nets.BatchNorm():
                params[name] = {"gamma": tensors[f"{name}.scale"], "beta": tensors[f"{name}.bias"]}
                stats[name] = (tensors[f"{name}.mean"], tensors[f"{name}.var"])
    return params, stats


def check_samples(model):
    """Names of the sample digits that the model gets wrong."""
    from PIL import Image

    wrong = []
    for path in sorted((HERE.parent / "samples").glob("digit-*.png")):
        image = np.asarray(Image.open(path))[None, :, :, None]
        if logits(model, image)[0].argmax() != int(path.stem[len("digit-")]):
            wrong.append(path.name)
    return wrong


def main():
    parser = argparse.ArgumentParser(description="Checks the committed models.")
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument("--data", required=True)
    options = parser.parse_args()
    images, labels = data.load(options.data, "t10k")
    failed = False
    for name in options.names or list(nets.NETS):
        model = onnx.load(HERE.parent / f"{name}.onnx")
        scores = logits(model, images)
        percent = 100 * float((scores.argmax(-1) == labels).mean())
        missing, wrong = missing_ranges(model), check_samples(model)
        failed |= percent < REQUIRED[name] or bool(missing) or len(wrong) > 1
        print(f"{name}: {percent:.2f} % (required {REQUIRED[name]}), logits {scores.min():.1f} to {scores.max():.1f}; "
              f"no range: {missing or 'none'}; samples wrong: {wrong or 'none'}", flush=True)
        if any(isinstance(layer, nets.Relu) for layer in nets.NETS[name]):
            polynomials.report(nets.NETS[name], weights_of(model, nets.NETS[name]), metadata(model), (images, labels))
    sys.exit(failed)


if __name__ == "__main__":
    main()
